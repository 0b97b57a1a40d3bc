"""The comparison as text."""

import dataclasses
import math

from bench.protocol import Row
from bench.results import Comparison, SystemResult

_UNITS = {"KiB": " (KiB)", "runs_per_billion": " (runs in 10^9)"}
_NOTHING = "-"
_SHOWN_LINES = 10


@dataclasses.dataclass(frozen=True)
class Measure:
    """What was measured, for the head of the report."""
    name: str  # "instructions" or "time"
    cpu: str
    accelerator: str

    @property
    def ticks(self) -> str:
        return "instructions of the guest" if self.name == "instructions" else "nanoseconds"


def describe_measure(measure: Measure) -> list[str]:
    if measure.name == "time":
        return [f"measured    nanoseconds of CLOCK_MONOTONIC, QEMU's accelerator "
                f"{measure.accelerator}; median, and p99 in brackets"] + \
            ([] if measure.accelerator == "kvm" else
             ["            an emulator's time is not a processor's: it says little about either"])
    lines = ["measured    instructions of the guest, kernel and program together (QEMU -icount "
             "shift=0,sleep=off); median",
             "leaves out  caches, TLB misses, branch prediction, and what instructions cost "
             "apart from being one"]
    if "erms=off" in measure.cpu.split(","):
        lines.append("no ERMS     QEMU counts each round of a `rep` as an instruction; without "
                     "erms=off Linux would be")
        lines.append("            charged 4,096 for each page that it clears or copies with "
                     "`rep stosb` and `rep movsb`")
    return lines


def tables(comparison: Comparison, measure: Measure) -> str:
    """One table for each group."""
    parts = []
    for group in comparison.groups:
        rows = [row for row in comparison.expected if row.group == group]
        parts.append("\n".join(_table(group, rows, comparison, measure)))
    return "\n\n".join(parts) + "\n"


def _table(group: str, rows: list[Row], comparison: Comparison, measure: Measure) -> list[str]:
    heads = [group]
    for system in comparison.systems:
        # The other Linuxes stand beside the first one, if that is there.
        prefix = "" if comparison.system("linux") is None else "Linux, "
        heads.append(system.title.removeprefix(prefix))
        if system.name != "holstein" and comparison.system("holstein") is not None:
            heads.append("ratio")
    cells = [heads]
    for row in rows:
        line = [row.name + _UNITS.get(row.unit, "")]
        for system in comparison.systems:
            line.append(_figure(system, row, measure))
            if system.name != "holstein" and comparison.system("holstein") is not None:
                line.append(ratio_text(comparison.ratio(row, system)))
        cells.append(line)
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    lines = ["  ".join([line[0].ljust(widths[0]),
                        *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]).rstrip()
             for line in cells]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _figure(system: SystemResult, row: Row, measure: Measure) -> str:
    median = system.median(row.key)
    if median is None:
        return _NOTHING if system.is_left_out(row.key) else "none"
    text = number(median)
    if measure.name == "time" and row.unit == "ticks":
        text += f" ({number(system.percentile(row.key, 99))})"
    return text


def number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:,.1f}"


def ratio_text(ratio: float | None) -> str:
    """`2.3x`: Holstein is so many times better."""
    if ratio is None:
        return ""
    if math.isinf(ratio):
        return "inf"
    if ratio >= 100:
        return f"{ratio:,.0f}x"
    if ratio >= 10:
        return f"{ratio:.1f}x"
    if ratio < 0.1:
        return f"{ratio:.2g}x"
    # Never `1.00x` for what is slower.
    return f"{math.floor(ratio * 100) / 100 if ratio < 1 else ratio:.2f}x"


def verdict(comparison: Comparison) -> list[str]:
    """Which rows are slower than on Linux with default settings."""
    linux, holstein = comparison.system("linux"), comparison.system("holstein")
    if linux is None or holstein is None:
        return []
    compared = [row for row in comparison.expected if comparison.ratio(row, linux) is not None]
    slower = comparison.slower()
    if not compared:
        return ["no row was measured on both Holstein and Linux"]
    lines = []
    for row in slower:
        word = "fewer runs" if row.unit == "runs_per_billion" else \
            "more" if row.unit == "KiB" else "slower"
        lines.append(
            f"{word} than Linux: {row.group}/{row.name}: {number(holstein.median(row.key))} "
            f"against {number(linux.median(row.key))} "
            f"({ratio_text(comparison.ratio(row, linux))})")
    lines.append(f"{len(compared)} rows compared with Linux's default settings: "
                 f"{len(compared) - len(slower)} at least as good, {len(slower)} worse")
    return lines


def shortcomings(comparison: Comparison) -> list[str]:
    """What is missing, and why; what makes the figures doubtful."""
    lines = list(comparison.clock_problems())
    for system in comparison.systems:
        for run in system.runs:
            if run.problem:
                lines.append(f"{system.title}: {run.problem}")
                lines += [f"    | {line}" for line in run.last_words]
            if run.malformed:
                lines.append(f"{system.title}: {len(run.malformed)} lines could not be read, the "
                             f"first: {run.malformed[0]!r}")
    lines += _listed("not measured", comparison.not_run())
    lines += _listed("left out", comparison.left_out())
    return lines


def _listed(what: str, entries: list[tuple[SystemResult, Row, str]]) -> list[str]:
    """Rows with the same reason on the same system in one line."""
    together: dict[tuple[str, str], list[str]] = {}
    for system, row, why in entries:
        together.setdefault((system.title, why), []).append(f"{row.group}/{row.name}")
    lines = []
    for (title, why), names in together.items():
        shown = ", ".join(names[:_SHOWN_LINES])
        more = len(names) - _SHOWN_LINES
        lines.append(f"{what} on {title}: {shown}" + (f" and {more} more" if more > 0 else "") +
                     f" ({why})")
    return lines
