"""Chooses QEMU's accelerator; `auto` takes KVM only where it has been seen to work.

/dev/kvm may open and still fail as soon as firmware runs (nested virtualisation that is not really
there). The proof is a boot: under KVM the firmware must start our loader from a volume on which
there is no kernel, and the loader must say so and stop. The answer is kept until the machine
reboots or QEMU or the loader changes.
"""

import os
import shutil
from pathlib import Path

from tools import firmware, image, qemu, state
from tools.guest import Guest, Outcome
from tools.image import DiskFile
from tools.runner import nameless_file

CHOICES = ("auto", "tcg", "kvm")
_PROOF_SECONDS = 10.0


def choose(wanted: str, loader: Path) -> str:
    if wanted != "auto":
        return wanted
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    key = [_boot_id(), state.stamp(shutil.which(qemu.QEMU) or qemu.QEMU), state.stamp(loader)]
    known = state.load("kvm")
    if known.get("key") != key:
        known = {"key": key, "works": prove_kvm(loader)}
        state.save("kvm", known)
    return "kvm" if known.get("works") is True else "tcg"


def prove_kvm(loader: Path, accelerator: str = "kvm") -> bool:
    """Boots the loader on a volume without a kernel; true where it gets there."""
    disk_fd, firmware_fd = nameless_file(), nameless_file()
    try:
        image.write_disk(disk_fd, {image.LOADER_FILE: DiskFile(loader)}, None)
        firmware.write_image(firmware_fd)
        machine = qemu.Machine(disk_fd, firmware_fd, 256 << 20, accelerator=accelerator)
        guest = Guest(machine, None, {}, timeout_seconds=_PROOF_SECONDS)
        try:
            return guest.run().outcome is Outcome.LOADER_FAILED
        finally:
            guest.close()
    finally:
        os.close(disk_fd)
        os.close(firmware_fd)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
