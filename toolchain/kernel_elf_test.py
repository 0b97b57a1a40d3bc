#!/usr/bin/python3
"""Checks a linked kernel: what the flags and the linker script promise is true of the file.

- every relocation is R_X86_64_RELATIVE, and none changes code or read-only data;
- no segment is writable and executable, none is of a kind that the loader would have to obey;
- nothing is undefined, and no constructor waits to be run;
- no instruction uses vector or x87 registers, apart from the ones that save and restore them;
- user memory is opened (stac) only in uaccess/'s routines; entry code may close it (clac).

usage: kernel_elf_test.py KERNEL
"""

import re
import subprocess
import sys

BIN = "/usr/lib/llvm-19/bin/"
OPENS_USER_MEMORY = "uaccess_"
KNOWN_SEGMENTS = {"LOAD", "DYNAMIC", "GNU_RELRO", "GNU_STACK", "NOTE"}
FPU = re.compile(r"%[xyz]mm\d|%mm\d|%st\b|\bf(?:add|mul|div|sub|ild|ist|ld|st)\w*\b")
# The state itself is switched by these, and reset before a program first sees it.
FPU_ALLOWED = re.compile(r"\b(?:f?x?save|f?x?rstor|fnsave|fninit|fnclex|fnstcw|fldcw|ldmxcsr|stmxcsr"
                         r"|emms|fnstsw)\w*\b")


def run(tool, *arguments):
    return subprocess.run([BIN + tool, *arguments], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def segments(kernel):
    """The program headers as (kind, start, size in memory, flags such as "R E")."""
    for line in run("llvm-readelf", "-lW", kernel).splitlines():
        match = re.match(r"\s+([A-Z_]+)\s+0x[0-9a-f]+ 0x([0-9a-f]+) 0x[0-9a-f]+ 0x[0-9a-f]+"
                         r" 0x([0-9a-f]+) (.{3}) 0x", line)
        if match:
            yield match[1], int(match[2], 16), int(match[3], 16), match[4]


def check_segments(kernel):
    loads = []
    for kind, start, size, flags in segments(kernel):
        if kind not in KNOWN_SEGMENTS:
            yield f"segment of kind {kind}"
        if kind == "LOAD":
            loads.append((start, start + size, flags))
            if "W" in flags and "E" in flags:
                yield f"segment at {start:#x} is writable and executable"
    if not loads:
        yield "no LOAD segment found"
    for line in run("llvm-readelf", "-rW", kernel).splitlines():
        match = re.match(r"([0-9a-f]{16})\s+[0-9a-f]{16}\s+(\S+)", line)
        if not match:
            continue
        place = int(match[1], 16)
        if match[2] != "R_X86_64_RELATIVE":
            yield f"relocation {match[2]} at {place:#x}"
        if not any(start <= place < end and "W" in flags for start, end, flags in loads):
            yield f"relocation of read-only memory at {place:#x}"


def check_symbols(kernel):
    for line in run("llvm-nm", "--undefined-only", kernel).splitlines():
        yield f"undefined symbol:{line}"
    for line in run("llvm-readelf", "-SW", kernel).splitlines():
        match = re.search(r"\] (\.(?:init_array|ctors|tdata|tbss)\S*)\s+\S+\s+\S+ \S+ (\S+)", line)
        if match and int(match[2], 16) != 0:
            yield f"section {match[1]} is not empty"


def check_instructions(kernel):
    symbol = ""
    count = 0
    command = [BIN + "llvm-objdump", "-d", "--no-show-raw-insn", "--no-leading-addr", kernel]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as objdump:
        for line in objdump.stdout:
            if line.endswith(">:\n"):
                symbol = line[line.index("<") + 1:-3]
                continue
            instruction = line.split("#")[0].strip()
            count += 1
            if FPU.search(instruction) and not FPU_ALLOWED.search(instruction):
                yield f"vector or x87 instruction in {symbol}: {instruction}"
            if instruction == "stac" and not symbol.startswith(OPENS_USER_MEMORY):
                yield f"stac in {symbol}"
    if objdump.returncode != 0 or count < 1000:
        yield f"disassembly failed after {count} instructions"


def main():
    kernel = sys.argv[1]
    problems = [*check_segments(kernel), *check_symbols(kernel), *check_instructions(kernel)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
