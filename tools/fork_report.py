"""What tools/inside/fork_report.cc writes, as objects."""

import dataclasses

from tools import page_tables

# The moments in their order: proc/fork_watch.h.
BEFORE, AFTER, APART = "before", "after", "apart"
MOMENTS = (BEFORE, AFTER, APART)

_LONGEST_LINE = 8192


class ReportError(ValueError):
    """A report that breaks off or is none."""


@dataclasses.dataclass
class View:
    """One process at one moment. `root` is None where it had no memory any more."""
    pid: int
    text: str
    root: page_tables.Table | None
    regions: list[page_tables.Region]


@dataclasses.dataclass
class Moment:
    name: str
    parent: View
    child: View | None
    who: str = ""  # APART only: "parent" or "child"
    how: str = ""  # "exec" or "exit"

    @property
    def is_complete(self) -> bool:
        """False where a process was killed before it could be looked at."""
        return self.parent.root is not None and (
            self.name == BEFORE or self.child is not None and self.child.root is not None)


@dataclasses.dataclass
class Report:
    moments: list[Moment]
    wait_status: int | None = None  # None: the program was still running when the report ended
    error: tuple[int, str] | None = None  # the program was not started: errno and what

    @property
    def has_fork(self) -> bool:
        names = [moment.name for moment in self.moments]
        return BEFORE in names and AFTER in names


def parse(data: bytes) -> Report:
    """Raises ReportError. Where the run was ended by force the report breaks off; what is complete of
    it counts."""
    report = Report([])
    rest = memoryview(data)
    texts: dict[tuple[str, str], str] = {}
    heads: list[tuple[list[str], dict[tuple[str, str], str]]] = []
    while rest:
        head, newline, _ = bytes(rest[:_LONGEST_LINE]).partition(b"\n")
        if not newline and len(rest) < _LONGEST_LINE:
            break
        words, rest = head.decode("utf-8", "replace").split() or [""], rest[len(head) + 1:]
        if words[0] == "moment" and len(words) > 2 and words[1] in MOMENTS:
            texts = {}
            heads.append((words[1:], texts))
        elif words[0] == "text" and len(words) == 4 and heads and words[3].isdigit():
            size = int(words[3])
            if size > len(rest):
                heads.pop()  # the run was ended in the middle of this moment
                break
            texts[words[1], words[2]] = bytes(rest[:size]).decode("utf-8", "replace")
            rest = rest[size:]
        elif words[0] == "status" and len(words) == 2 and words[1].isdigit():
            report.wait_status = int(words[1])
        elif words[0] == "error" and len(words) > 2 and words[1].isdigit():
            report.error = int(words[1]), " ".join(words[2:])
        else:
            raise ReportError(f"not a line of a fork's report: {' '.join(words)!r}")
    report.moments = _last_attempt([_moment(words, texts) for words, texts in heads])
    return report


def _moment(words: list[str], texts: dict[tuple[str, str], str]) -> Moment:
    try:
        child = _view(int(words[2]), "child", texts) if len(words) > 2 else None
        parent = _view(int(words[1]), "parent", texts)
    except (page_tables.FormatError, ValueError) as error:
        raise ReportError(str(error)) from None
    return Moment(words[0], parent, child, *words[3:5])


def _view(pid: int, role: str, texts: dict[tuple[str, str], str]) -> View:
    text = texts.get((role, "pagetables"), "")
    return View(pid, text, page_tables.parse(text) if text else None,
                page_tables.parse_maps(texts.get((role, "maps"), "")))


def _last_attempt(moments: list[Moment]) -> list[Moment]:
    """A fork that failed (out of memory, a signal) was begun again: what came before is void."""
    starts = [index for index, moment in enumerate(moments) if moment.name == BEFORE]
    return moments[starts[-1]:] if starts else moments
