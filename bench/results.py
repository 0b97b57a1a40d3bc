"""What was measured on each system, and what follows from it."""

import dataclasses
import math
import re
import statistics

from bench.protocol import Reader, Row

# The program's word for a row that the guest has not enough memory for: left out, not failed.
_LEFT_OUT = re.compile(r"^needs \d")
# Of a row that says how many instructions it executes.
_KNOWN_COUNT = re.compile(r"(?:^|-)(\d{4,})-instructions$")
CALIBRATION = "calibration"
_CALIBRATION_TOLERANCE = 0.005

Key = tuple[str, str]  # group, name


@dataclasses.dataclass
class Run:
    """One boot of one system."""
    qemu: list[str]
    kernel_command_line: str = ""
    seconds: float = 0.0
    problem: str = ""  # in a line, where it did not come to its end
    last_words: list[str] = dataclasses.field(default_factory=list)
    malformed: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class SystemResult:
    name: str
    title: str
    kernel: dict[str, str] = dataclasses.field(default_factory=dict)  # what identifies it
    runs: list[Run] = dataclasses.field(default_factory=list)
    rows: dict[Key, Row] = dataclasses.field(default_factory=dict)
    failed: dict[Key, str] = dataclasses.field(default_factory=dict)
    clock: str = ""

    def add(self, run: Run, reader: Reader) -> None:
        """Takes in another boot; the samples of a row that was measured before get more."""
        run.malformed = list(reader.malformed)
        run.facts = dict(reader.facts)
        self.runs.append(run)
        self.clock = reader.clock or self.clock
        for row in reader.rows:
            old = self.rows.get(row.key)
            samples = (old.samples if old is not None else ()) + row.samples
            self.rows[row.key] = dataclasses.replace(row, samples=samples)
        self.failed.update(reader.failed)

    @property
    def problems(self) -> list[str]:
        return list(dict.fromkeys(run.problem for run in self.runs if run.problem))

    def median(self, key: Key) -> float | None:
        row = self.rows.get(key)
        return statistics.median(row.samples) if row is not None and row.samples else None

    def percentile(self, key: Key, percent: float) -> int | None:
        """The smallest sample that so many per cent of the samples do not exceed."""
        row = self.rows.get(key)
        if row is None or not row.samples:
            return None
        ordered = sorted(row.samples)
        return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]

    def why_not(self, key: Key) -> str:
        """Why there is no figure for a row; empty where there is one."""
        if self.median(key) is not None:
            return ""
        if key in self.failed:
            return self.failed[key]
        if key in self.rows:
            return "no samples"
        return "; ".join(self.problems) or "not reported"

    def is_left_out(self, key: Key) -> bool:
        return _LEFT_OUT.match(self.failed.get(key, "")) is not None


@dataclasses.dataclass
class Comparison:
    """All systems, and the rows that the program has (without samples), in its order."""
    expected: list[Row]
    measure: str  # "instructions" or "time"
    systems: list[SystemResult]

    def system(self, name: str) -> SystemResult | None:
        return next((system for system in self.systems if system.name == name), None)

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(row.group for row in self.expected))

    def ratio(self, row: Row, other: SystemResult) -> float | None:
        """How many times better Holstein is than `other`; None where that cannot be said."""
        holstein = self.system("holstein")
        if holstein is None or other is holstein or row.group == CALIBRATION:
            return None
        ours, theirs = holstein.median(row.key), other.median(row.key)
        if row.unit == "runs_per_billion":
            ours, theirs = theirs, ours
        if ours is None or theirs is None:
            return None
        if ours == 0:
            return 1.0 if theirs == 0 else math.inf
        return theirs / ours

    def slower(self) -> list[Row]:
        """The rows in which Holstein is worse than Linux with default settings."""
        linux = self.system("linux")
        if linux is None:
            return []
        return [row for row in self.expected
                if (ratio := self.ratio(row, linux)) is not None and ratio < 1]

    def not_run(self) -> list[tuple[SystemResult, Row, str]]:
        """What has no figure, without what was left out for want of memory."""
        return [(system, row, why) for system in self.systems for row in self.expected
                if (why := system.why_not(row.key)) and not system.is_left_out(row.key)]

    def left_out(self) -> list[tuple[SystemResult, Row, str]]:
        return [(system, row, system.failed[row.key]) for system in self.systems
                for row in self.expected if system.is_left_out(row.key)]

    def clock_problems(self) -> list[str]:
        """Where a loop of known length did not take as many ticks: then no figure is worth much."""
        problems = []
        if self.measure != "instructions":
            return problems
        for system in self.systems:
            for row in self.expected:
                known = _KNOWN_COUNT.search(row.name) if row.group == CALIBRATION else None
                if known is None or system.median(row.key) is None or row.unit != "ticks":
                    continue
                # The least: an interrupt is a few thousand instructions of the kernel's own.
                least, count = min(system.rows[row.key].samples), int(known[1])
                if abs(least - count) > count * _CALIBRATION_TOLERANCE:
                    problems.append(f"{system.title}: {row.name}: {count:,} instructions took "
                                    f"{least:,} ticks; its clock does not count instructions")
        return problems
