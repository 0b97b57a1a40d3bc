"""What can be known of a program before it runs: ELF headers and `#!` lines.

Field offsets are those of the ELF-64 object file format (System V ABI, chapter 4 and 5).
"""

import dataclasses
import struct

HEAD_BYTES = 64 * 1024  # what inspect() wants to see of a file
_ET_EXEC, _ET_DYN = 2, 3
_EM_X86_64 = 62
_PT_LOAD, _PT_INTERP = 1, 3
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_MACHINES = {3: "32-bit x86", 8: "MIPS", 20: "PowerPC", 21: "64-bit PowerPC", 22: "S/390",
             40: "32-bit ARM", 183: "64-bit ARM", 243: "RISC-V", 258: "LoongArch"}
_TYPES = {1: "an object file", 4: "a core dump"}


class NotExecutable(Exception):
    """Why a file cannot be run, as the rest of a sentence that begins with its name."""


@dataclasses.dataclass(frozen=True)
class Program:
    """`interpreter` is what has to be in the image as well: ld.so, or what `#!` names."""
    is_script: bool
    interpreter: bytes | None
    is_position_independent: bool = False
    span_bytes: int = 0  # from the first to the last page that it occupies
    alignment: int = 4096  # of its place in memory, where that is free


def inspect(head: bytes) -> Program:
    """Looks at the first HEAD_BYTES of a file."""
    if head.startswith(b"#!"):
        return _inspect_script(head)
    if not head.startswith(b"\x7fELF"):
        raise NotExecutable("is empty" if not head else
                            "is neither an ELF program nor a script that begins with #!")
    if len(head) < 64:
        raise NotExecutable("is a truncated ELF file")
    elf_class, encoding = head[4], head[5]
    elf_type, machine = struct.unpack_from("<HH", head, 16)
    if encoding == 2:
        elf_type, machine = struct.unpack_from(">HH", head, 16)
    if machine != _EM_X86_64 or encoding != 1:
        name = _MACHINES.get(machine, f"ELF machine {machine}")
        raise NotExecutable(f"is a program for another machine ({name}), not for x86-64")
    if elf_class != 2:
        raise NotExecutable("is an x32 program, not a 64-bit one")
    if elf_type not in (_ET_EXEC, _ET_DYN):
        raise NotExecutable(f"is {_TYPES.get(elf_type, f'ELF of type {elf_type}')}, not a program")
    return _inspect_segments(head, elf_type)


def _inspect_segments(head: bytes, elf_type: int) -> Program:
    table, = struct.unpack_from("<Q", head, 32)
    entry_bytes, count = struct.unpack_from("<HH", head, 54)
    if entry_bytes != _PROGRAM_HEADER.size or count == 0:
        raise NotExecutable("has no program headers, so it is not a program")
    if table + count * entry_bytes > len(head):
        raise NotExecutable("has its program headers outside the file" if len(head) < HEAD_BYTES
                            else "has its program headers too far into the file")
    interpreter = None
    starts, ends, alignment = [], [], 4096
    for index in range(count):
        kind, _, offset, address, _, size, memory, align = _PROGRAM_HEADER.unpack_from(
            head, table + index * entry_bytes)
        if kind == _PT_LOAD:
            starts.append(address & ~0xFFF)
            ends.append(address + memory + 0xFFF & ~0xFFF)
            alignment = max(alignment, align)
        if kind == _PT_INTERP:
            if not 2 <= size <= 4096 or offset + size > len(head):
                raise NotExecutable("names its interpreter outside the file")
            interpreter = head[offset:offset + size].split(b"\0", 1)[0]
    if not starts:
        raise NotExecutable("has nothing to load, so it is not a program")
    return Program(False, interpreter, elf_type == _ET_DYN, max(ends) - min(starts), alignment)


def _inspect_script(head: bytes) -> Program:
    line = head[2:].split(b"\n", 1)[0].strip(b" \t\r")
    interpreter = line.replace(b"\t", b" ").split(b" ", 1)[0]
    if not interpreter:
        raise NotExecutable("is a script whose #! line names no interpreter")
    return Program(True, interpreter)


def loadable_part(contents: bytes) -> bytes:
    """An ELF program without what is not loaded (sections, symbols, debug information)."""
    if len(contents) < 64 or not contents.startswith(b"\x7fELF"):
        return contents
    table, = struct.unpack_from("<Q", contents, 32)
    entry_bytes, count = struct.unpack_from("<HH", contents, 54)
    if entry_bytes != _PROGRAM_HEADER.size or table + count * entry_bytes > len(contents):
        return contents
    end = table + count * entry_bytes
    for index in range(count):
        _, _, offset, _, _, size, _, _ = _PROGRAM_HEADER.unpack_from(
            contents, table + index * entry_bytes)
        end = max(end, offset + size)
    part = bytearray(contents[:end])
    struct.pack_into("<Q", part, 40, 0)  # e_shoff
    struct.pack_into("<HHH", part, 58, 0, 0, 0)  # e_shentsize, e_shnum, e_shstrndx
    return bytes(part)
