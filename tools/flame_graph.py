"""Draws a profile as a flame graph: a box is a function, as wide as the instructions that ran in it
and in what it called; it stands on who called it."""

import zlib

from tools.kernel_profile import USER_MODE, Node, Profile
from tools.svg import Drawing

_WIDTH = 1200
_MARGIN = 10
_ROW = 17
_HEAD = 46
_LEAST_WIDTH = 0.3  # narrower boxes are left out
_LETTER_WIDTH = 6.3  # of the 11-point type, about
_LEAST_LETTERS = 4


def draw(profile: Profile, title: str) -> str:
    totals: dict[int, int] = {}
    kernel = _add_totals(profile.root, totals)
    everything = kernel + profile.user_instructions
    depth = max(_depth(profile.root, totals, everything), 1)
    height = _HEAD + depth * _ROW + _MARGIN
    drawing = Drawing()
    drawing.text(_MARGIN, 20, title, size=15, bold=True)
    drawing.text(_MARGIN, 37, f"{everything:,} instructions; a box is as wide as what ran in the "
                 "function and in what it called", size=11, fill="#666")
    scale = (_WIDTH - 2 * _MARGIN) / everything if everything else 0

    def box(x: float, level: int, total: int, own: int, calls: int | None, name: str) -> None:
        y = height - _MARGIN - (level + 1) * _ROW
        share = 100 * total / everything
        called = "" if calls is None else f", {calls:,} calls"
        drawing.begin_group(f"{name}: {total:,} instructions ({share:.2f}%), {own:,} of its own"
                            f"{called}")
        drawing.rectangle(x, y, total * scale, _ROW - 1, _colour(name), rx="1.5")
        letters = int((total * scale - 6) / _LETTER_WIDTH)
        if letters >= _LEAST_LETTERS:
            words = name if len(name) <= letters else name[:letters - 1] + "…"
            drawing.text(x + 3, y + 12, words, size=11)
        drawing.end_group()

    pending = [(_MARGIN, 0, profile.root.children)]
    while pending:
        x, level, nodes = pending.pop()
        for node in sorted(nodes, key=lambda node: node.name):
            total = totals[id(node)]
            if total * scale >= _LEAST_WIDTH:
                box(x, level, total, node.instructions, node.calls, node.name)
                pending.append((x, level + 1, node.children))
            x += total * scale
        if level == 0 and profile.user_instructions:
            box(x, 0, profile.user_instructions, profile.user_instructions, None, USER_MODE)
    return drawing.finish(_WIDTH, height, title)


def _add_totals(node: Node, totals: dict[int, int]) -> int:
    total = node.instructions + sum(_add_totals(child, totals) for child in node.children)
    totals[id(node)] = total
    return total


def _depth(node: Node, totals: dict[int, int], everything: int) -> int:
    """Levels of boxes above `node` that are wide enough to be drawn."""
    least = _LEAST_WIDTH * everything / (_WIDTH - 2 * _MARGIN)
    return max((1 + _depth(child, totals, everything) for child in node.children
                if totals[id(child)] >= least), default=0)


def _colour(name: str) -> str:
    """Warm, and the same for the same function in every picture."""
    if name == USER_MODE:
        return "#b8c4d6"
    number = zlib.crc32(name.encode())
    return f"hsl({number % 50},{70 + number // 64 % 20}%,{62 + number // 4096 % 12}%)"
