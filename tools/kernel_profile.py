"""What the profiler counted, as the plugin writes it, and what can be asked of it.

A profile is a tree: a node is a function that was called by its parent's. Instructions are a
node's own; those of the functions that it calls are theirs.
"""

import dataclasses
import re

from tools.kernel_functions import Functions, short_name

USER_MODE = "(user mode)"
_HEAD = "holstein-profile 1"


class ProfileError(Exception):
    """Why a profile cannot be read, in one line."""


@dataclasses.dataclass
class Node:
    function: int  # its address; 0: the root
    name: str
    instructions: int = 0
    calls: int = 0
    children: list["Node"] = dataclasses.field(default_factory=list)

    def total(self) -> int:
        """With all that it called."""
        return sum(node.instructions for node in self.walk())

    def walk(self):
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending += node.children


@dataclasses.dataclass(frozen=True)
class Block:
    """Code that runs from its first instruction on, to its end where no fault comes between."""
    address: int
    length: int  # instructions
    executions: int
    instructions: int  # that were executed


@dataclasses.dataclass
class Profile:
    root: Node
    user_instructions: int
    was_marked: bool  # the program came by a mark where counting begins
    blocks: list[Block]


@dataclasses.dataclass
class Row:
    """All of one function."""
    name: str
    instructions: int = 0
    inclusive: int = 0
    calls: int = 0


def parse(text: str, functions: Functions) -> Profile:
    lines = text.splitlines()
    if not lines or lines[0] != _HEAD:
        raise ProfileError("it does not begin as a profile" if lines else "it is empty")
    if lines[-1] != "end":
        raise ProfileError("it breaks off")
    root = Node(0, "")
    nodes = {0: root}
    profile = Profile(root, 0, False, [])
    for line in lines[1:-1]:
        try:
            kind, *words = line.split(" ")
            if kind == "node":
                number, parent, function = int(words[0]), int(words[1]), int(words[2], 16)
                nodes[number] = Node(function, functions.name_of(function), int(words[3]),
                                     int(words[4]))
                nodes[parent].children.append(nodes[number])
            elif kind == "block":
                profile.blocks.append(Block(int(words[0], 16), *map(int, words[1:])))
            elif kind == "user":
                profile.user_instructions = int(words[0])
            elif kind == "marked":
                profile.was_marked = words[0] == "1"
            else:
                raise ValueError
        except (ValueError, IndexError, KeyError, TypeError):
            raise ProfileError(f"a line makes no sense: {line!r}") from None
    return profile


def under(profile: Profile, name: str) -> Profile | None:
    """Only what ran while a function of that name was on the stack; None where none ever was.
    `name` is the short name, or its last part."""
    tops: list[Node] = []
    pending = [profile.root]
    while pending:
        node = pending.pop()
        if node.name == name or node.name.rpartition("::")[2] == name:
            tops.append(node)
        else:
            pending += node.children
    if not tops:
        return None
    return Profile(Node(0, "", children=_merged(tops)), 0, profile.was_marked, [])


def similar_names(profile: Profile, name: str) -> list[str]:
    pattern = re.compile(re.escape(name.rpartition("::")[2]), re.IGNORECASE)
    return sorted({node.name for node in profile.root.walk() if pattern.search(node.name)})


def _merged(nodes: list[Node]) -> list[Node]:
    """One node for each function among `nodes`, and so below."""
    result: dict[int, Node] = {}
    for node in nodes:
        made = result.setdefault(node.function, Node(node.function, node.name))
        made.instructions += node.instructions
        made.calls += node.calls
        made.children += node.children
    for made in result.values():
        made.children = _merged(made.children)
    return list(result.values())


def rows(profile: Profile) -> list[Row]:
    """By function, most instructions of its own first."""
    found: dict[int, Row] = {}

    def visit(node: Node, above: frozenset[int]) -> int:
        row = found.setdefault(node.function, Row(node.name))
        row.instructions += node.instructions
        row.calls += node.calls
        below = above | {node.function}
        total = node.instructions + sum(visit(child, below) for child in node.children)
        if node.function not in above:  # a recursive call is in there already
            row.inclusive += total
        return total

    for node in profile.root.children:
        visit(node, frozenset())
    return sorted(found.values(), key=lambda row: (-row.instructions, -row.inclusive, row.name))


def table(profile: Profile, most: int) -> str:
    """`most` rows and a line for the others; 0: all rows."""
    listed = [row for row in rows(profile) if row.instructions or row.calls]
    shown = listed[:most] if most else listed
    rest = sum(row.instructions for row in listed[len(shown):])
    total = sum(row.instructions for row in listed) + profile.user_instructions
    lines = [f"{'instructions':>14} {'share':>6} {'with callees':>14} {'calls':>10} {'per call':>10}"
             "  function"]

    def line(instructions: int, inclusive: str, calls: str, per_call: str, name: str) -> None:
        share = 100 * instructions / total if total else 0
        lines.append(f"{instructions:>14,} {share:>5.1f}% {inclusive:>14} {calls:>10} "
                     f"{per_call:>10}  {name}")

    for row in shown:
        line(row.instructions, f"{row.inclusive:,}", f"{row.calls:,}",
             f"{row.instructions / row.calls:,.1f}" if row.calls else "", row.name)
    if len(shown) < len(listed):
        line(rest, "", "", "", f"({len(listed) - len(shown)} more functions)")
    if profile.user_instructions:
        line(profile.user_instructions, "", "", "", USER_MODE)
    line(total, "", "", "", "all")
    return "\n".join(lines) + "\n"


def lines_table(profile: Profile, places: list[list[str]], most: int) -> str:
    """By line of code. `places` has for each block where its first instruction is from, innermost
    function first, as panic_report.look_up() gives it; all of a block counts for that place."""
    found: dict[str, int] = {}
    for block, place in zip(profile.blocks, places):
        names = [(short_name(function or line), line if function else "")
                 for function, _, line in (one.rpartition(" at ") for one in place)]
        name = f"{block.address:#x}"
        if names:
            name = names[0][0] + (f" at {names[0][1].removeprefix('./')}" if names[0][1] else "")
        if len(names) > 1:
            name += f", inlined into {names[-1][0]}"
        found[name] = found.get(name, 0) + block.instructions
    total = sum(found.values())
    lines = [f"{'instructions':>14} {'share':>6}  block that begins in"]
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    for name, instructions in ordered[:most] if most else ordered:
        lines.append(f"{instructions:>14,} {100 * instructions / total:>5.1f}%  {name}")
    return "\n".join(lines) + "\n"


def folded(profile: Profile) -> str:
    """One line a chain of calls, `a;b;c INSTRUCTIONS`, as flame-graph tools read it."""
    lines = []
    pending = [(node, node.name) for node in reversed(_merged(profile.root.children))]
    while pending:
        node, chain = pending.pop()
        if node.instructions:
            lines.append(f"{chain} {node.instructions}")
        pending += [(child, f"{chain};{child.name}") for child in reversed(node.children)]
    if profile.user_instructions:
        lines.append(f"{USER_MODE} {profile.user_instructions}")
    return "".join(line + "\n" for line in lines)
