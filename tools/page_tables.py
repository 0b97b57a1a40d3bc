"""Page tables from /proc/<pid>/pagetables (vm/dump.h has the format) as objects, and what they add
up to.

A table belongs to a process alone where it and every table above it have one reference; any other
is shared, however many references it has itself: one entry that leads to it is itself shared.
"""

import dataclasses
import re
from collections.abc import Iterator

PAGE_BYTES = 4096
TABLE_BYTES = 4096
LEVEL_NAMES = {4: "PML4", 3: "PDPT", 2: "PD", 1: "PT"}
# What one table of a level spans.
LEVEL_BYTES = {4: 1 << 48, 3: 1 << 39, 2: 1 << 30, 1: 1 << 21}
_LEVELS = {name: level for level, name in LEVEL_NAMES.items()}

_ROOT = re.compile(r"root frame 0x(?P<frame>[0-9a-f]+):")
_RANGE = r"(?P<indent> *)(?P<start>[0-9a-f]{12})-(?P<end>[0-9a-f]{12}) "
_TABLE = re.compile(_RANGE + r"(?P<level>PDPT|PD|PT) frame 0x(?P<frame>[0-9a-f]+) "
                    r"(?P<rights>rw|r-) refs (?P<refs>\d+)(?P<cow> copy-on-write)?, "
                    r"(?P<entries>\d+) entries\b")
_RUN = re.compile(_RANGE + r"(?P<rights>[r-][w-][x-]) (?P<kind>[a-z]+)\b.* pages?\b.*, "
                  r"refs (?P<refs>\d+)(?P<cow> copy-on-write)?(?P<shared> shared mapping)?")
_REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)")


class FormatError(ValueError):
    """A text that is no /proc/<pid>/pagetables."""


@dataclasses.dataclass
class Run:
    """Neighbouring pages that are alike."""
    start: int
    end: int
    rights: str  # "rw-"
    kind: str  # "anonymous", "file", "zero"
    refs: int
    is_cow: bool
    is_shared_mapping: bool
    is_huge: bool  # leaves of a PD: 2 MiB each

    @property
    def pages(self) -> int:
        return (self.end - self.start) // PAGE_BYTES

    @property
    def leaves(self) -> int:
        return (self.end - self.start) // (LEVEL_BYTES[1] if self.is_huge else PAGE_BYTES)

    @property
    def is_shared(self) -> bool:
        """Several entries lead to each of the pages; the page cache holds a reference of its own."""
        return self.refs > (2 if self.kind == "file" else 1)

    @property
    def is_resident(self) -> bool:
        """The zero frame is nobody's memory."""
        return self.kind != "zero"


@dataclasses.dataclass
class Table:
    level: int
    frame: int
    start: int
    refs: int
    is_writable: bool  # the entry that leads here
    is_cow: bool
    entries: int
    tables: list["Table"] = dataclasses.field(default_factory=list)
    runs: list[Run] = dataclasses.field(default_factory=list)

    def walk(self) -> Iterator["Table"]:
        yield self
        for table in self.tables:
            yield from table.walk()

    def all_runs(self) -> Iterator[Run]:
        for table in self.walk():
            yield from table.runs

    @property
    def pages(self) -> int:
        """Resident ones, of 4 KiB."""
        return sum(run.pages for run in self.all_runs() if run.is_resident)


def parse(text: str) -> Table:
    """The root table of a process. Raises FormatError."""
    lines = text.splitlines()
    first = _ROOT.match(lines[0]) if lines else None
    if first is None:
        raise FormatError("no page tables: the first line does not begin with `root frame`")
    root = Table(4, int(first["frame"], 16), 0, 1, True, False, 0)
    path = [(-1, root)]
    for line in lines[1:]:
        table, run = _TABLE.match(line), _RUN.match(line)
        match = table or run
        if match is None:
            raise FormatError(f"no line of a page-table text: {line!r}")
        while path[-1][0] >= len(match["indent"]):
            path.pop()
        above = path[-1][1]
        if table is not None:
            child = _table(table)
            if child.level != above.level - 1:
                raise FormatError(f"a {LEVEL_NAMES[child.level]} in a {LEVEL_NAMES[above.level]}: "
                                  f"{line!r}")
            above.tables.append(child)
            path.append((len(match["indent"]), child))
        else:
            if above.level > 2:
                raise FormatError(f"pages in a {LEVEL_NAMES[above.level]}: {line!r}")
            above.runs.append(_run(run, above.level == 2))
    root.entries = len(root.tables)
    return root


def _table(match: re.Match) -> Table:
    return Table(_LEVELS[match["level"]], int(match["frame"], 16), int(match["start"], 16),
                 int(match["refs"]), match["rights"] == "rw", match["cow"] is not None,
                 int(match["entries"]))


def _run(match: re.Match, is_huge: bool) -> Run:
    return Run(int(match["start"], 16), int(match["end"], 16), match["rights"], match["kind"],
               int(match["refs"]), match["cow"] is not None, match["shared"] is not None, is_huge)


@dataclasses.dataclass(frozen=True)
class Region:
    start: int
    end: int
    name: str  # base name of a file, "[heap]", "" for anonymous memory


def parse_maps(text: str) -> list[Region]:
    """The regions of /proc/<pid>/maps; lines that are none are passed over."""
    regions = []
    for line in text.splitlines():
        match = _REGION.match(line)
        if match is not None:
            regions.append(Region(int(match[1], 16), int(match[2], 16),
                                  match[3].rsplit("/", 1)[-1]))
    return regions


@dataclasses.dataclass(frozen=True)
class Figures:
    """What one process has. Tables include the root."""
    tables: int
    own_tables: int
    pages: int
    shared_pages: int  # that the other process maps as well

    @property
    def own_table_bytes(self) -> int:
        return self.own_tables * TABLE_BYTES

    @property
    def shared_tables(self) -> int:
        return self.tables - self.own_tables


def figures(root: Table, other: Table | None) -> Figures:
    return Figures(sum(1 for _ in root.walk()), _own_tables(root, True), root.pages,
                   0 if other is None else _shared_pages(root, other))


def _own_tables(table: Table, is_own: bool) -> int:
    is_own = is_own and table.refs == 1
    return is_own + sum(_own_tables(below, is_own) for below in table.tables)


def _shared_pages(one: Table, other: Table) -> int:
    """Resident pages that both map at the same address.

    The same table maps the same pages. In two tables it is the same page where it is of the same
    kind and several entries lead to it: a page that one of the two wrote to has been copied, and a
    file's copy is anonymous. A 2 MiB page that only one of the two has split is whole for the other:
    there its pages have a reference more.
    """
    if one.frame == other.frame:
        return one.pages
    others = {table.start: table for table in other.tables}
    shared = _same_pages(one.runs, other.runs)
    for table in one.tables:
        match = others.pop(table.start, None)
        shared += _same_pages(table.runs, other.runs) if match is None else \
            _shared_pages(table, match)
    return shared + sum(_same_pages(one.runs, table.runs) for table in others.values())


def _same_pages(runs: list[Run], others: list[Run]) -> int:
    same = 0
    for run in runs:
        for other in others:
            overlap = min(run.end, other.end) - max(run.start, other.start)
            if overlap > 0 and run.is_resident and run.kind == other.kind and (
                    run.is_shared or run.is_huge and not other.is_huge) and (
                    other.is_shared or other.is_huge and not run.is_huge):
                same += overlap // PAGE_BYTES
    return same
