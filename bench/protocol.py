"""What the benchmark's program says, line by line, read from a stream that others write to as well.

    bench<TAB>1                                  the version; the first line
    rows<TAB>COUNT
    clock<TAB>tsc|monotonic
    group<TAB>NAME
    row<TAB>GROUP<TAB>NAME<TAB>UNIT<TAB>SAMPLES  integers with spaces between; none with --list
    failed<TAB>GROUP<TAB>NAME<TAB>REASON
    end

On a serial console the firmware and the kernel speak too, and lines end in CR LF. What is no line of
the program's is kept as noise; only a line that begins as one of its own and goes on differently is
called malformed. Our own init on Linux adds `linux<TAB>KEY<TAB>VALUE`.
"""

import dataclasses
import re
from collections.abc import Callable

VERSION = "1"
UNITS = ("ticks", "KiB", "runs_per_billion")

_ANSI = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]")
# A word of the protocol, possibly behind something that had no end of line.
_WORD = re.compile(r"(?:^|[^A-Za-z\t])((?:bench|rows|clock|group|row|failed|linux)\t.*)$")
_NOISE_LINES = 200


@dataclasses.dataclass(frozen=True)
class Row:
    group: str
    name: str
    unit: str
    samples: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.group, self.name


class Reader:
    """Feed it what comes; look at its fields at any time."""

    def __init__(self, on_line: Callable[[], None] = lambda: None) -> None:
        self.started = False
        self.ended = False
        self.count: int | None = None
        self.clock = ""
        self.group = ""
        self.rows: list[Row] = []
        self.failed: dict[tuple[str, str], str] = {}
        self.facts: dict[str, str] = {}  # of `linux` lines
        self.malformed: list[str] = []
        self.noise: list[str] = []  # the last lines that were nobody's
        self._pending = b""
        self._on_line = on_line

    @property
    def done(self) -> int:
        return len(self.rows) + len(self.failed)

    def feed(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._take(line)
        if lines:
            self._on_line()

    def finish(self) -> None:
        """There will be no more; a last line without an end counts as noise."""
        if self._pending:
            self._add_noise(_clean(self._pending))
            self._pending = b""

    def _take(self, raw: bytes) -> None:
        line = _clean(raw)
        if line == "end" and self.started:
            self.ended = True
            return
        match = _WORD.search(line)
        if match is None:
            self._add_noise(line)
            return
        word, *fields = match[1].split("\t")
        if word != "linux" and word != "bench" and not self.started:
            self._add_noise(line)
        elif not self._take_word(word, fields):
            self.malformed.append(line)
            self._add_noise(line)

    def _take_word(self, word: str, fields: list[str]) -> bool:
        if word == "bench" and len(fields) == 1:
            self.started = fields[0] == VERSION
            return self.started
        if word == "rows" and len(fields) == 1 and fields[0].isdecimal():
            self.count = int(fields[0])
            return True
        if word == "clock" and fields in (["tsc"], ["monotonic"]):
            self.clock = fields[0]
            return True
        if word == "group" and len(fields) == 1:
            self.group = fields[0]
            return True
        if word == "failed" and len(fields) == 3:
            self.failed[fields[0], fields[1]] = fields[2]
            return True
        if word == "linux" and len(fields) == 2:
            self.facts[fields[0]] = fields[1].strip()
            return True
        return word == "row" and self._take_row(fields)

    def _take_row(self, fields: list[str]) -> bool:
        if len(fields) not in (3, 4) or fields[2] not in UNITS:
            return False
        samples = fields[3].split() if len(fields) == 4 else []
        if not all(sample.isdecimal() for sample in samples):
            return False
        self.rows.append(Row(fields[0], fields[1], fields[2], tuple(map(int, samples))))
        return True

    def _add_noise(self, line: str) -> None:
        if line:
            self.noise.append(line)
            del self.noise[:-_NOISE_LINES]


def _clean(raw: bytes) -> str:
    return _ANSI.sub("", raw.decode("utf-8", "replace")).replace("\r", "").rstrip()
