"""Finds the kernel's panic report in its log and says which lines of code its addresses are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

_BEGIN = "=== KERNEL PANIC ==="
_END = "=== END PANIC ==="
# `  #N 0x<address where it ran> (link 0x<address in kernel.elf>)`
_FRAME = re.compile(r"^\s*#(\d+)\s+0x[0-9a-fA-F]+\s+\(link 0x([0-9a-fA-F]+)\)")
# With registers the first frame is the instruction that failed.
_REGISTERS = re.compile(r"^RIP ", re.MULTILINE)
_SYMBOLIZERS = ("llvm-symbolizer-19", "/usr/lib/llvm-19/bin/llvm-symbolizer", "llvm-symbolizer")
_ANSI = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]")


def find(log: str) -> str | None:
    """The report, from its first line to its last; None where the kernel did not panic."""
    start = log.find(_BEGIN)
    if start < 0:
        return None
    end = log.find(_END, start)
    return log[start:] if end < 0 else log[start:end + len(_END)]


def symbolize(report: str, kernel: Path | None) -> str:
    """The report with function, file and line behind each address of its backtraces."""
    lines = report.splitlines()
    frames = [(index, match) for index, line in enumerate(lines)
              if (match := _FRAME.match(line)) is not None]
    # The others are return addresses: the call is just before.
    exact = 1 if _REGISTERS.search(report) else 0
    addresses = [max(0, int(match[2], 16) - (0 if int(match[1]) < exact else 1))
                 for _, match in frames]
    places = look_up(addresses, kernel)
    for (index, _), place in zip(frames, places):
        if place:
            lines[index] += "\n" + "\n".join(f"       {one}" for one in place)
    return "\n".join(lines)


def look_up(addresses: list[int], kernel: Path | None) -> list[list[str]]:
    """For each address its functions, innermost (inlined) first; empty where nothing is known."""
    nothing: list[list[str]] = [[] for _ in addresses]
    symbolizer = next((path for name in _SYMBOLIZERS if (path := shutil.which(name))), None)
    if kernel is None or symbolizer is None or not addresses:
        return nothing
    try:
        run = subprocess.run(
            [symbolizer, f"--obj={kernel}", "--output-style=JSON", "--inlines", "--demangle"],
            input="".join(f"0x{address:x}\n" for address in addresses), text=True,
            capture_output=True, timeout=60, check=True)
        answers = [json.loads(line) for line in run.stdout.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return nothing
    if len(answers) != len(addresses):
        return nothing
    return [[_place(symbol) for symbol in answer.get("Symbol", []) if symbol.get("FunctionName")]
            for answer in answers]


def _place(symbol: dict) -> str:
    place = symbol["FunctionName"]
    if symbol.get("FileName"):
        place += f" at {symbol['FileName']}:{symbol.get('Line', 0)}"
    return place


def loader_message(log: str, serial: str) -> str | None:
    """The line with which the loader gave up."""
    for text in (log, _ANSI.sub("", serial)):
        lines = [line.strip() for line in text.splitlines() if "holstein loader:" in line]
        if lines:
            return lines[-1]
    return None
