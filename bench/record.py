"""The comparison as JSON: everything that is needed to see where a figure comes from, and to repeat
it."""

import json
from typing import Any

from bench.results import Comparison, SystemResult

FORMAT = "holstein-bench 1"


def to_json(comparison: Comparison, about: dict[str, Any]) -> str:
    """`about` says what was asked for: command, program, machine."""
    linux = comparison.system("linux")
    slower = {row.key for row in comparison.slower()}
    rows = []
    for row in comparison.expected:
        ratio = None if linux is None else comparison.ratio(row, linux)
        rows.append({
            "group": row.group, "name": row.name, "unit": row.unit,
            "ratio_linux_to_holstein": None if ratio in (None, float("inf")) else round(ratio, 4),
            "slower_than_linux": row.key in slower,
            "systems": {system.name: _figures(system, row.key)
                        for system in comparison.systems}})
    value = {"format": FORMAT, **about,
             "systems": {system.name: _system(system) for system in comparison.systems},
             "clock_problems": comparison.clock_problems(), "rows": rows}
    return json.dumps(value, indent=1) + "\n"


def _system(system: SystemResult) -> dict[str, Any]:
    return {"title": system.title, "kernel": system.kernel, "clock": system.clock,
            "runs": [{"qemu": run.qemu, "kernel_command_line": run.kernel_command_line,
                      "seconds": round(run.seconds, 1), "problem": run.problem,
                      "last_words": run.last_words, "malformed": run.malformed,
                      "facts": run.facts} for run in system.runs]}


def _figures(system: SystemResult, key: tuple[str, str]) -> dict[str, Any]:
    median = system.median(key)
    if median is None:
        return {"missing": system.why_not(key)}
    return {"median": median, "p99": system.percentile(key, 99),
            "samples": list(system.rows[key].samples)}
