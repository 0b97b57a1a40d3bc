"""Where the tables of a fork's picture stand: the trees of parent and child laid over each other.

A slot is a place of the address space with the parent's table, the child's, or one that is both.
Slots that are alike are folded into one line, so that a picture of any process fits a page.
"""

import dataclasses

from tools.page_tables import Run, Table

PARENT, CHILD, BOTH = "parent", "child", "both"
_MOST_ROWS = 15


@dataclasses.dataclass
class Slot:
    parent: Table | None
    child: Table | None
    below: list["Slot | Fold"] = dataclasses.field(default_factory=list)

    @property
    def is_shared(self) -> bool:
        return self.parent is not None and self.child is not None and \
            self.parent.frame == self.child.frame

    @property
    def owners(self) -> tuple[str, ...]:
        if self.is_shared:
            return (BOTH,)
        return tuple(owner for owner, table in ((PARENT, self.parent), (CHILD, self.child))
                     if table is not None)

    def table_of(self, owner: str) -> Table:
        return self.child if owner == CHILD else self.parent

    def below_of(self, owner: str) -> list[tuple["Slot | Fold", str]]:
        """What the table of `owner` leads to, and whose that is."""
        return [(below, whose) for below in self.below for whose in below.owners
                if owner == BOTH or whose in (owner, BOTH)]

    def needs_row(self, owner: str) -> bool:
        """Whether the table itself has a line: its pages', or because nothing is below it."""
        return bool(self.level == 1 or self.table_of(owner).runs or not self.below_of(owner))

    @property
    def level(self) -> int:
        return (self.parent or self.child).level

    @property
    def start(self) -> int:
        return (self.parent or self.child).start


@dataclasses.dataclass
class Fold:
    """Neighbouring slots that are not drawn one by one."""
    slots: list[Slot]
    is_alike: bool  # each is like the one drawn before it

    @property
    def owners(self) -> tuple[str, ...]:
        """Of all of them; BOTH where some are shared and some are not."""
        owners = {slot.owners for slot in self.slots}
        return owners.pop() if len(owners) == 1 else (BOTH,)

    def table_of(self, owner: str) -> Table | None:
        """The first one of `owner`."""
        tables = (slot.child if owner == CHILD else slot.parent for slot in self.slots)
        return next((table for table in tables if table is not None), None)

    @property
    def level(self) -> int:
        return self.slots[0].level

    @property
    def start(self) -> int:
        return self.slots[0].start


def combine(parent: Table, child: Table | None) -> Slot:
    """The slots of a whole address space, folded so that they need at most some 15 lines."""
    for limit in (10, 7, 5, 4, 3, 2):
        root = _combine(parent, child)
        _fold(root, limit)
        if count_rows(root) <= _MOST_ROWS:
            break
    return root


def count_rows(slot: Slot | Fold) -> int:
    """How many lines of pages it needs."""
    if isinstance(slot, Fold):
        return 1
    return sum(1 for owner in slot.owners if slot.needs_row(owner)) + \
        sum(count_rows(below) for below in slot.below)


def _combine(parent: Table | None, child: Table | None) -> Slot:
    slot = Slot(parent, child)
    places: dict[int, list[Table | None]] = {}
    for index, table in enumerate((parent, child)):
        for below in table.tables if table is not None else ():
            places.setdefault(below.start, [None, None])[index] = below
    slot.below = [_combine(*places[start]) for start in sorted(places)]
    return slot


def _fold(slot: Slot, limit: int) -> None:
    items: list[Slot | Fold] = []
    last_shape = None
    for below in slot.below:
        shape = (below.owners, _shape(below.parent), _shape(below.child))
        if shape != last_shape:
            items.append(below)
        elif isinstance(items[-1], Fold):
            items[-1].slots.append(below)
        else:
            items.append(Fold([below], True))
        last_shape = shape
    # A line that says "1 more" saves nothing.
    items = [item.slots[0] if isinstance(item, Fold) and len(item.slots) == 1 else item
             for item in items]
    while len(items) > limit:
        pairs = range(len(items) - 1)
        pairs = [index for index in pairs
                 if items[index].owners == items[index + 1].owners] or pairs
        at = min(pairs, key=lambda index: _weight(items[index]) + _weight(items[index + 1]))
        items[at:at + 2] = [Fold(_slots(items[at]) + _slots(items[at + 1]), False)]
    slot.below = items
    for item in items:
        if isinstance(item, Slot):
            _fold(item, limit)


def _slots(item: Slot | Fold) -> list[Slot]:
    return item.slots if isinstance(item, Fold) else [item]


def _weight(item: Slot | Fold) -> int:
    """What is folded first is small, and is what parent and child still have in common."""
    return len(_slots(item)) + (1000 if len(item.owners) > 1 else 0)


def _shape(table: Table | None):
    """Equal for tables that differ in their addresses only."""
    if table is None:
        return None
    return (table.level, table.refs, table.is_writable, table.is_cow, table.entries,
            tuple((run.pages, *_look(run)) for run in table.runs),
            tuple(_shape(below) for below in table.tables))


def _look(run: Run):
    return (run.kind, run.rights[1] == "w", run.is_cow, run.is_shared_mapping, run.is_huge,
            run.is_shared)


@dataclasses.dataclass
class Bar:
    """Pages of one kind in a table, with or without holes between them."""
    kind: str  # "anonymous", "file", "zero", "shared"
    leaves: int
    is_writable: bool
    is_cow: bool
    is_huge: bool
    is_shared: bool  # several entries lead to each page


def bars(table: Table, most: int) -> tuple[list[Bar], int]:
    """The runs of a table, neighbours that look alike made one; and the leaves that are left out
    because there are more than `most`."""
    made: list[Bar] = []
    last = None
    for run in table.runs:
        look = _look(run)
        if look == last:
            made[-1].leaves += run.leaves
            continue
        last = look
        made.append(Bar("shared" if run.is_shared_mapping else run.kind, run.leaves,
                        run.rights[1] == "w", run.is_cow, run.is_huge, run.is_shared))
    return made[:most], sum(bar.leaves for bar in made[most:])
