"""The comparison as pictures: fork cost against memory, and how long a writer stands still."""

import dataclasses
import math
import re
from collections.abc import Iterable

from tools.svg import Drawing

from bench.report import Measure, number
from bench.results import Comparison

# Okabe and Ito's palette, and a shape each, for those who see no colours.
_STYLES = {"holstein": ("#0072b2", ""), "linux": ("#d55e00", "7 4"),
           "linux-4k": ("#009e73", "2 3"), "linux-nomitigations": ("#cc79a7", "9 3 2 3")}
_OTHER_STYLE = ("#777777", "1 2")
_SIZE = re.compile(r"^(.+)-(\d+)(KiB|MiB|GiB)(-4k)?$")
_UNITS = {"KiB": 1, "MiB": 1 << 10, "GiB": 1 << 20}

_MARGIN, _TOP = 24, 92
_PANEL_WIDTH, _PANEL_HEIGHT = 330, 250
_GAP_X, _GAP_Y = 84, 84
_COLUMNS = 3
_LEFT = 84
_BAR_HEIGHT, _BAR_ROOM = 13, 16


@dataclasses.dataclass
class _Series:
    system: str
    points: list[tuple[float, float]]  # (KiB, ticks)


def fork_plot(comparison: Comparison, measure: Measure) -> str | None:
    """One panel an operation, both axes logarithmic; None where there is nothing to draw."""
    panels = {name: series for name, series in _fork_series(comparison).items()
              if any(len(one.points) > 1 for one in series)}
    if not panels:
        return None
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width = _LEFT + columns * _PANEL_WIDTH + (columns - 1) * _GAP_X + _MARGIN
    height = _TOP + rows * (_PANEL_HEIGHT + _GAP_Y)
    drawing = Drawing()
    title = f"What fork costs by the parent's memory, in {measure.ticks}"
    _head(drawing, comparison, width, height, title)
    everything = [point for series in panels.values() for one in series for point in one.points]
    across = _Axis.around(x for x, _ in everything)
    up = _Axis.around(y for _, y in everything)
    for index, (name, series) in enumerate(panels.items()):
        x = _LEFT + index % columns * (_PANEL_WIDTH + _GAP_X)
        y = _TOP + index // columns * (_PANEL_HEIGHT + _GAP_Y)
        _panel(drawing, x, y, name, series, across, up)
    return drawing.finish(width, height, title)


def stall_plot(comparison: Comparison, measure: Measure) -> str | None:
    """Bars on one logarithmic axis: the shorter the better."""
    rows = [row for row in comparison.expected if row.group == "stalls" and row.unit == "ticks" and
            any(system.median(row.key) for system in comparison.systems)]
    if not rows:
        return None
    values = [median for row in rows for system in comparison.systems
              if (median := system.median(row.key))]
    left, bars = 220, 640
    block = len(comparison.systems) * _BAR_ROOM + 16
    width = left + bars + 120
    height = _TOP + len(rows) * block + 48
    drawing = Drawing()
    title = f"Stalls of a writer while snapshots are taken, in {measure.ticks}"
    _head(drawing, comparison, width, height, title)
    axis = _Axis.around(values)
    for power in axis.powers():
        x = left + bars * axis.place(10.0 ** power)
        drawing.path(f"M{x:.1f} {_TOP - 6}V{height - 40}", "#dddddd")
        drawing.text(x, height - 22, _power(power), 12, "#555", "middle")
    for index, row in enumerate(rows):
        y = _TOP + index * block
        drawing.text(left - 12, y + block / 2 - 4, row.name, 13, anchor="end")
        for place, system in enumerate(comparison.systems):
            median = system.median(row.key)
            top = y + place * _BAR_ROOM
            if not median:
                drawing.text(left + 4, top + 11, "not measured", 11, "#777")
                continue
            length = max(1.0, bars * axis.place(median))
            drawing.rectangle(left, top, length, _BAR_HEIGHT, _style(system.name)[0])
            drawing.text(left + length + 5, top + 11, number(median), 11, "#555")
    return drawing.finish(width, height, title)


def _fork_series(comparison: Comparison) -> dict[str, list[_Series]]:
    """By operation; rows with 4 KiB pages are an operation of their own."""
    series: dict[str, dict[str, _Series]] = {}
    for row in comparison.expected:
        match = _SIZE.match(row.name) if row.group == "fork" and row.unit == "ticks" else None
        if match is None:
            continue
        name = match[1] + (" (4 KiB pages)" if match[4] else "")
        for system in comparison.systems:
            one = series.setdefault(name, {}).setdefault(system.name, _Series(system.name, []))
            median = system.median(row.key)
            if median:
                one.points.append((float(int(match[2]) * _UNITS[match[3]]), median))
    for by_system in series.values():
        for one in by_system.values():
            one.points.sort()
    return {name: list(by_system.values()) for name, by_system in series.items()}


@dataclasses.dataclass(frozen=True)
class _Axis:
    """A logarithmic axis from one power of ten to another."""
    low: int
    high: int

    @staticmethod
    def around(values: Iterable[float]) -> "_Axis":
        found = [value for value in values if value > 0]
        low, high = math.floor(math.log10(min(found))), math.ceil(math.log10(max(found)))
        return _Axis(low, max(high, low + 1))

    def place(self, value: float) -> float:
        """0 at the axis's beginning, 1 at its end."""
        return (math.log10(value) - self.low) / (self.high - self.low)

    def powers(self) -> range:
        return range(self.low, self.high + 1)


def _panel(drawing: Drawing, x: float, y: float, name: str, series: list[_Series], across: _Axis,
           up: _Axis) -> None:
    drawing.text(x, y - 10, name, 15, bold=True)
    drawing.rectangle(x, y, _PANEL_WIDTH, _PANEL_HEIGHT, "#fcfcfc", "#cccccc")
    bottom = y + _PANEL_HEIGHT
    for power in up.powers():
        at = bottom - _PANEL_HEIGHT * up.place(10.0 ** power)
        drawing.path(f"M{x} {at:.1f}H{x + _PANEL_WIDTH}", "#e4e4e4")
        drawing.text(x - 6, at + 4, _power(power), 11, "#555", "end")
    for kib in sorted({point[0] for one in series for point in one.points}):
        at = x + _PANEL_WIDTH * across.place(kib)
        drawing.path(f"M{at:.1f} {bottom}v5", "#777777")
        drawing.text(at, bottom + 18, _memory(kib), 11, "#555", "middle")
    for one in series:
        colour, dashes = _style(one.system)
        places = [(x + _PANEL_WIDTH * across.place(kib), bottom - _PANEL_HEIGHT * up.place(ticks))
                  for kib, ticks in one.points]
        if not places:
            continue
        line = "M" + "L".join(f"{left:.1f} {top:.1f}" for left, top in places)
        drawing.path(line, colour, stroke_width="2.2", stroke_dasharray=dashes or "none")
        for left, top in places:
            drawing.rectangle(left - 3, top - 3, 6, 6, colour)


def _head(drawing: Drawing, comparison: Comparison, width: float, height: float,
          title: str) -> None:
    drawing.rectangle(0, 0, width, height, "#ffffff")
    drawing.text(_MARGIN, 32, title, 19, bold=True)
    x = float(_MARGIN)
    for system in comparison.systems:
        colour, dashes = _style(system.name)
        drawing.path(f"M{x} 54h30", colour, stroke_width="3", stroke_dasharray=dashes or "none")
        drawing.text(x + 36, 58, system.title, 13)
        x += 36 + 8.2 * len(system.title) + 24


def _style(system: str) -> tuple[str, str]:
    return _STYLES.get(system, _OTHER_STYLE)


def _power(power: int) -> str:
    return f"{10 ** power:,}" if 0 <= power <= 8 else f"10^{power}"


def _memory(kib: float) -> str:
    for unit in ("GiB", "MiB"):
        if kib >= _UNITS[unit]:
            return f"{kib / _UNITS[unit]:g} {unit}"
    return f"{kib:g} KiB"
