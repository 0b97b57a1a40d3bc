"""The functions of a kernel ELF file: where they begin and what they are called, in short."""

import bisect
import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

from tools.errors import CommandError

_NM = ("llvm-nm-19", "/usr/lib/llvm-19/bin/llvm-nm", "llvm-nm", "nm")
_LINE = re.compile(r"^([0-9a-f]{16}) ([tTwW]) (.+)$")
_STUBS, _STUBS_END = "x86_trap_stubs", "x86_trap_stubs_end"
_CLUTTER = re.compile(r" \(\.llvm\.\d+\)|\[abi:\w+\]|\(anonymous namespace\)::|\bholstein::")
_ADAPTER = re.compile(r"Adapter<&(\w+)")


@dataclasses.dataclass(frozen=True)
class Functions:
    """`starts` ascends; `names` are those of the same index."""
    starts: list[int]
    names: list[str]
    stubs: tuple[int, int]  # where the CPU enters at exceptions and interrupts

    def name_of(self, address: int) -> str:
        """Of the function that `address` lies in."""
        index = bisect.bisect_right(self.starts, address) - 1
        return self.names[max(index, 0)]

    def encode(self) -> str:
        """As the plugin reads it (qemu_plugin/profile.cc)."""
        lines = [f"stubs {self.stubs[0]:x} {self.stubs[1]:x}\n"]
        return "".join(lines + [f"function {start:x}\n" for start in self.starts])


def read(kernel: Path) -> Functions:
    """Raises CommandError where the symbols cannot be had."""
    tool = next((path for name in _NM if (path := shutil.which(name))), None)
    if tool is None:
        raise CommandError("llvm-nm is not installed (Debian: llvm-19)")
    run = subprocess.run([tool, "--defined-only", "--demangle", "--numeric-sort", str(kernel)],
                         capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if run.returncode != 0:
        raise CommandError(f"{kernel}: {run.stderr.strip()}")
    return parse(run.stdout)


def parse(symbols: str) -> Functions:
    """nm's lines. Of several names for one address the one that says most is kept."""
    found: dict[int, str] = {}
    stubs = {}
    for line in symbols.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        address, name = int(match[1], 16), match[3]
        if name in (_STUBS, _STUBS_END):
            stubs[name] = address
        known = found.get(address)
        if known is None or _is_boundary(known) and not _is_boundary(name):
            found[address] = name
    if len(stubs) != 2:
        raise CommandError(f"the kernel has no symbol {_STUBS}")
    starts = sorted(found)
    return Functions(starts, [short_name(found[start]) for start in starts],
                     (stubs[_STUBS], stubs[_STUBS_END]))


def _is_boundary(name: str) -> bool:
    return name.startswith("__") or name.endswith("_end")


def short_name(demangled: str) -> str:
    """Without parameters, template arguments, return type and the namespaces that all have."""
    name = _CLUTTER.sub("", demangled).replace("std::__1::", "std::").split(" requires ")[0]
    adapter = _ADAPTER.search(name)
    if adapter is not None:
        return f"Adapter<{adapter[1]}>::invoke"
    name = _without_brackets(name)
    words = name.removesuffix(" const").strip().split(" ")
    for index, word in enumerate(words):
        if word.rpartition("::")[2] == "operator":  # `operator new`, a conversion
            return " ".join(words[index:])
    return words[-1] or demangled


def _without_brackets(name: str) -> str:
    """`name` without <...> and (...), but with those of operators."""
    kept: list[str] = []
    depth = index = 0
    while index < len(name):
        if depth == 0 and name.startswith("operator", index):
            match = re.match(r"operator(\(\)|<=>|<<=?|>>=?|<=?|>=?|->\*?)?", name[index:])
            kept.append(match[0])
            index += len(match[0])
            continue
        if name[index] in "<({":
            depth += 1
        elif name[index] in ">)}":
            depth -= 1
        elif depth == 0:
            kept.append(name[index])
        index += 1
    return "".join(kept)
