"""OVMF as one image for QEMU's -bios, of which the guest can tell that there is no TPM.

The firmware looks for a TPM at 0xFED40000. FFh there means that there is none, but where nothing is,
QEMU answers 0: OVMF takes that for a TPM that is still starting and polls it for two seconds before
it gives up, at each boot. No device of QEMU's answers FFh at a place of one's choice; a firmware
image does that is so long that it starts there: QEMU puts its end at 4 GiB and lets the local APIC,
in between, have its place. Code and variables are where two flash chips would have them. The variables
cannot be changed: OVMF sees that and keeps them in memory.
"""

import os
from pathlib import Path

CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")

# TCG PC Client Platform TPM Profile: where locality 0 starts, and its size.
_TPM_ADDRESS = 0xFED40000
_TPM_LOCALITY_BYTES = 0x1000
_END_ADDRESS = 1 << 32


def write_image(fd: int) -> None:
    """Fills an empty file, most of it a hole. Raises OSError where OVMF is not installed."""
    flash = VARIABLES.read_bytes() + CODE.read_bytes()
    size_bytes = _END_ADDRESS - _TPM_ADDRESS
    os.truncate(fd, size_bytes)
    _write(fd, b"\xff" * _TPM_LOCALITY_BYTES, 0)
    _write(fd, flash, size_bytes - len(flash))


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
