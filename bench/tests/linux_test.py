"""Is Linux found, downloaded once, unpacked and never installed, and its lack explained?"""

import os
import shlex
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools import state

from bench import linux, linux_guest
from bench.linux import LinuxMissing
from bench.linux_guest import LinuxSettings

_NAME = "linux-image-6.1.0-57-cloud-amd64"
_VMLINUZ = b"MZ" + bytes(0x200) + b"HdrS" + b"kernel"


class LinuxTest(unittest.TestCase):
    """apt-cache, apt-get and dpkg-deb are scripts here that note how they are called."""

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(state, "PROJECT", self.folder))
        self.tools = self.folder / "tools"
        self.tools.mkdir()
        self.calls = self.folder / "calls"
        self.enterContext(mock.patch.dict(
            os.environ, PATH=f"{self.tools}:{os.environ['PATH']}", CALLS=str(self.calls)))
        tree = self.folder / "tree" / "boot"
        tree.mkdir(parents=True)
        (tree / "vmlinuz-6.1.0-57-cloud-amd64").write_bytes(_VMLINUZ)
        (tree / "config-6.1.0-57-cloud-amd64").write_bytes(b"CONFIG_SMP=y")
        self.tool("apt-cache", f"printf '%s\\n' linux-image-cloud-amd64 '  Depends: {_NAME}'")
        self.tool("apt-get", "printf '!<arch>\\n' >\"${2}_6.1.192-3_amd64.deb\"")
        self.tool("dpkg-deb", f"""case $1$3 in
-fPackage) echo {_NAME} ;;
-fVersion) echo 6.1.192-3 ;;
--fsys-tarfile) tar -C {shlex.quote(str(tree.parent))} -cf - ./boot ;;
esac""")

    def tool(self, name: str, body: str) -> None:
        file = self.tools / name
        file.write_text(f"#!/bin/sh\necho \"{name} $*\" >>\"$CALLS\"\n{body}\n")
        file.chmod(0o755)

    def called(self) -> list[str]:
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return calls

    def test_the_package_is_downloaded_and_unpacked(self):
        kernel = linux.from_debian()
        self.assertEqual((kernel.package, kernel.version), (_NAME, "6.1.192-3"))
        self.assertEqual(kernel.vmlinuz.read_bytes(), _VMLINUZ)
        self.assertIn(f"apt-get download {_NAME}", self.called())
        # Nothing but the kernel stays.
        kept = sorted(path.name for path in (self.folder / ".cache/holstein/linux").rglob("*"))
        self.assertEqual(kept, [_NAME, "package.json", "vmlinuz"])

    def test_the_second_time_it_is_there(self):
        first = linux.from_debian()
        self.called()
        self.assertEqual(linux.from_debian(), first)
        self.assertEqual(self.called(), ["apt-cache depends --important linux-image-cloud-amd64"])

    def test_without_network_an_earlier_kernel_serves(self):
        first = linux.from_debian()
        for name in ("apt-cache", "apt-get"):
            self.tool(name, "echo 'E: Could not resolve host' >&2; exit 100")
        self.assertEqual(linux.from_debian(), first)

    def test_without_network_and_without_one_the_reason_is_one_line(self):
        self.tool("apt-get", "echo 'Get:1 x' >&2; echo 'E: Failed to fetch x' >&2; exit 100")
        with self.assertRaises(LinuxMissing) as caught:
            linux.from_debian()
        self.assertEqual(str(caught.exception), f"apt-get download {_NAME}: E: Failed to fetch x")

    def test_a_package_list_that_knows_no_kernel(self):
        self.tool("apt-cache", "echo linux-image-cloud-amd64")
        with self.assertRaisesRegex(LinuxMissing, "apt-get update"):
            linux.from_debian()

    def test_a_package_without_a_kernel(self):
        (self.folder / "tree/boot/vmlinuz-6.1.0-57-cloud-amd64").unlink()
        with self.assertRaisesRegex(LinuxMissing, "no boot/vmlinuz"):
            linux.from_debian()
        self.assertEqual(list((self.folder / ".cache/holstein/linux").iterdir()), [])

    def test_a_kernel_of_one_s_own(self):
        file = self.folder / "bzImage"
        file.write_bytes(_VMLINUZ)
        kernel = linux.from_file(str(file))
        self.assertEqual((kernel.vmlinuz, kernel.package), (file.resolve(), ""))

    def test_a_package_of_one_s_own(self):
        file = self.folder / "mine.deb"
        file.write_bytes(b"!<arch>\nmine")
        kernel = linux.from_file(str(file))
        self.assertEqual((kernel.package, kernel.vmlinuz.read_bytes()), (_NAME, _VMLINUZ))
        self.assertNotIn("apt-get", " ".join(self.called()))

    def test_a_cache_that_cannot_be_written_is_named(self):
        (self.folder / ".cache").write_text("a file in its place")
        with self.assertRaisesRegex(LinuxMissing, "[.]cache/holstein.*: Not a directory"):
            linux.from_debian()
        file = self.folder / "mine.deb"
        file.write_bytes(b"!<arch>\nmine")
        with self.assertRaisesRegex(LinuxMissing, "[.]cache/holstein.*: Not a directory"):
            linux.from_file(str(file))

    def test_anything_else_is_refused_by_name(self):
        file = self.folder / "song.mp3"
        file.write_bytes(b"ID3" * 1000)
        with self.assertRaisesRegex(LinuxMissing, "song.mp3: neither"):
            linux.from_file(str(file))


class InitTest(unittest.TestCase):
    def test_the_script_sets_what_the_column_says_and_ends_the_machine(self):
        script = linux_guest.init_script(["/bench", "--only", "a b"],
                                         LinuxSettings("never", "mitigations=off")).decode()
        lines = script.splitlines()
        self.assertIn("echo never >/sys/kernel/mm/transparent_hugepage/enabled", lines)
        self.assertIn("/bench --only 'a b'", lines)
        # Not before everything has been sent.
        self.assertEqual(lines[-2:], ["busybox stty -echo </dev/ttyS0", "poweroff -f"])
        # The program's lines begin on a line of their own, whatever the firmware left.
        self.assertLess(lines.index("echo"), lines.index("/bench --only 'a b'"))

    def test_the_kernel_keeps_quiet_and_ends_where_it_panics(self):
        line = LinuxSettings("always", "mitigations=off").command_line.split()
        for word in ("console=ttyS0", "quiet", "loglevel=0", "panic=-1", "mitigations=off",
                     "transparent_hugepage=always"):
            self.assertIn(word, line)


if __name__ == "__main__":
    unittest.main()
