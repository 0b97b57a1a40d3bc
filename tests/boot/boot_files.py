"""Where Bazel put what a boot test needs: paths from the test's runfiles, where it runs."""

import os
from pathlib import Path

from tools.runner import BootFiles

KERNELS = ("opt", "debug")


def kernel_name() -> str:
    """Which of the two kernels this test is to boot."""
    return os.environ.get("HOLSTEIN_KERNEL", "opt")


def boot_files(kernel: str | None = None) -> BootFiles:
    """The real files behind Bazel's links: the image builder copies links as links."""
    return BootFiles(kernel=_real(f"kernel/kernel_{kernel or kernel_name()}.elf"),
                     loader=_real("efi_loader/BOOTX64.EFI"),
                     init=_real("proc/init/holstein-init"))


def real_path(relative: str) -> str:
    return str(_real(relative))


def _real(relative: str) -> Path:
    return Path(relative).resolve(strict=True)
