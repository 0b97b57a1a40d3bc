"""Small ELF files, right and wrong, for tests of what looks at them."""

import struct

PT_LOAD, PT_INTERP = 1, 3


def program(*, kind: int = 2, machine: int = 62, elf_class: int = 2, interpreter: bytes = b"",
            load: bool = True, tail: bytes = b"") -> bytes:
    """An x86-64 program of nothing but headers, unless asked for something else."""
    count = int(load) + bool(interpreter)
    table = 64
    text = table + 56 * count
    header = struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", elf_class, 1, 1, 0, kind, machine, 1,
                         0x400000, table, 0x1234, 0, 64, 56, count, 64, 7, 6)
    headers = b""
    if interpreter:
        value = interpreter + b"\0"
        headers += struct.pack("<IIQQQQQQ", PT_INTERP, 4, text, 0, 0, len(value), len(value), 1)
    if load:
        size = text + len(interpreter)
        headers += struct.pack("<IIQQQQQQ", PT_LOAD, 5, 0, 0x400000, 0, size, size, 4096)
    return header + headers + (interpreter + b"\0" if interpreter else b"") + tail
