"""Do fsck.fat and mtools, which others wrote, find what we laid out?"""

import hashlib
import os
import random
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from tools import fat

# Debian keeps it where only root's PATH looks.
_FSCK = shutil.which("fsck.fat", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class VolumeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.volume = Path(folder.name) / "volume"

    def write(self, files: dict[str, bytes | int]) -> fat.Plan:
        """Contents, or a size where they do not matter (left as a hole)."""
        plan = fat.plan({name: content if isinstance(content, int) else len(content)
                         for name, content in files.items()})
        with open(self.volume, "wb") as volume:
            volume.truncate(plan.total_bytes)
            for offset, data in plan.pieces:
                volume.seek(offset)
                volume.write(data)
            for name, content in files.items():
                if not isinstance(content, int):
                    volume.seek(plan.file_offsets[name])
                    volume.write(content)
        return plan

    def check(self) -> None:
        run = subprocess.run([_FSCK, "-n", self.volume], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def read(self, name: str) -> bytes:
        return subprocess.run(["mtype", "-i", self.volume, f"::/{name}"], check=True,
                              capture_output=True).stdout

    def test_what_uefi_boots(self):
        generator = random.Random(7)
        files = {"EFI/BOOT/BOOTX64.EFI": generator.randbytes(70_000),
                 "holstein/kernel.elf": generator.randbytes(3_000_001),
                 "holstein/initramfs.cpio": generator.randbytes(fat.CLUSTER_BYTES * 20),
                 "holstein/cmdline": b"\n", "holstein/empty": b""}
        self.write(files)
        self.check()
        for name, content in files.items():
            self.assertEqual(self.read(name), content, name)
            self.assertEqual(self.read(name.upper()), content, "names have no case")

    def test_names_of_every_kind(self):
        names = ["A", "A.B", "UPPER123.TXT", "lower.txt", "exactly-13-ch", "a name with spaces.txt",
                 "more.than.one.dot", "no-extension-but-long", "x" * 26, "y" * 27, "z" * 100,
                 "initramfs.cpio", "initramfs.cpio.old", "initramfs-2.cpio", ".hidden",
                 "\u00fcml\u00e4ut"]
        files = {f"folder/{name}": name.encode() for name in names}
        self.write(files)
        self.check()
        for name in names:
            if name.isascii():
                self.assertEqual(self.read(f"folder/{name}"), name.encode())

    def test_a_large_file_makes_it_fat32(self):
        self.write({"EFI/BOOT/BOOTX64.EFI": b"loader", "holstein/big": 3_000_000_000,
                    "holstein/behind": b"beyond the 65536th cluster"})
        self.check()
        self.assertEqual(self.read("EFI/BOOT/BOOTX64.EFI"), b"loader")
        self.assertEqual(self.read("holstein/behind"), b"beyond the 65536th cluster")

    def test_around_the_border_between_fat16_and_fat32(self):
        for clusters in (65519, 65521, 65522, 65523, 65524, 65525, 65600):
            self.write({"big": clusters * fat.CLUSTER_BYTES})
            self.check()

    def test_what_fat_cannot_hold_is_refused(self):
        with self.assertRaises(fat.FatError):
            fat.plan({"big": 1 << 32})
        with self.assertRaises(fat.FatError):
            fat.plan({f"{number}": 0 for number in range(600)})

    def test_equal_files_make_equal_volumes(self):
        digests = set()
        for _ in range(2):
            self.write({"holstein/cmdline": b"x"})
            digests.add(hashlib.sha256(self.volume.read_bytes()).digest())
        self.assertEqual(len(digests), 1)


if __name__ == "__main__":
    unittest.main()
