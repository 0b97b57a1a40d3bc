"""What if a file of the boot volume is missing, cut short or something else? One line, and the end.
"""

import time
import unittest
from pathlib import Path

from tests.boot.boot_files import boot_files
from tools import elf, image
from tools.guest import Outcome
from tools.runner import RunRequest, run_guest


class LoaderTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.boot = boot_files()
        cls.kernel = elf.loadable_part(Path(cls.boot.kernel).read_bytes())

    def refuse(self, *words: str, append: str = "", **files) -> None:
        """The loader gives up with a line that has these words in it."""
        replaced = {{"kernel": image.KERNEL_FILE, "initramfs": image.INITRAMFS_FILE}[name]: content
                    for name, content in files.items()}
        started = time.monotonic()
        result = run_guest(RunRequest(self.boot, ["busybox", "true"], disk_files=replaced,
                                      append=append, timeout_seconds=120))
        print(f"{result.message} ({time.monotonic() - started:.1f} s)", flush=True)
        self.assertEqual((result.outcome, result.exit_status), (Outcome.LOADER_FAILED, 125),
                         result.message)
        for word in words:
            self.assertIn(word, result.message)
        self.assertEqual(len(result.message.splitlines()), 1)
        self.assertIn(b"holstein loader:", result.serial)
        self.assertEqual((result.stdout, result.stderr), (b"", b""))

    def test_kernel_is_missing(self):
        self.refuse("kernel.elf", "is missing", kernel=None)

    def test_kernel_is_cut_short(self):
        self.refuse("kernel.elf", "is cut short", kernel=self.kernel[:len(self.kernel) // 2])

    def test_kernel_is_garbage(self):
        self.refuse("kernel.elf", "is not an ELF file", kernel=bytes(range(256)) * 4096)

    def test_initramfs_is_missing(self):
        self.refuse("initramfs.cpio", "is missing", initramfs=None)

    def test_initramfs_is_cut_short(self):
        archive = (b"070701" + b"00000001" + b"000081A4" + b"00000000" * 2 + b"00000001" +
                   b"00000000" + b"00100000" + b"00000000" * 4 + b"00000005" + b"00000000" +
                   b"file\0\0")
        self.refuse("initramfs.cpio", "is cut short", initramfs=archive + b"x" * 1000)

    def test_initramfs_is_garbage(self):
        self.refuse("initramfs.cpio", "is not a cpio archive", initramfs=b"\x1f\x8b" * 100_000)
