"""What is put into the image is what the program finds: --with, --root, --env."""

import os
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.boot.boot_files import boot_files
from tools.guest import Outcome
from tools.runner import RunRequest, run_guest

_BUSYBOX = "/bin/busybox"
# What the command adds to a root, and what the guest mounts.
_ADDED = {b"/etc/holstein", b"/etc/holstein/job", b"/sbin", b"/sbin/holstein-init", b"/dev", b"/proc",
          b"/etc"}
_LISTING = ("cd /; find . -xdev | grep -v -E '^./(dev|proc|sys)(/|$)' | sort | "
            "while IFS= read -r name; do stat -c '%n|%F|%a|%u:%g|%h|%t,%T' \"$name\"; "
            "if [ -L \"$name\" ]; then readlink \"$name\"; "
            "elif [ -f \"$name\" ]; then sha256sum \"$name\"; fi; done")


class ImageTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="image-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def make_root(self) -> Path:
        """A tree with everything that a file system has; device nodes only where root runs this."""
        root = self.folder / "root"
        for name in ("bin", "etc", "tmp", "data/deep/er", "with blank", "data/empty"):
            (root / name).mkdir(parents=True)
        for source in (_BUSYBOX, "/bin/bash-static"):
            (root / source[1:]).write_bytes(Path(source).read_bytes())
            (root / source[1:]).chmod(0o755)
        (root / "data/large").write_bytes(os.urandom(30_000_000))
        (root / "data/odd size").write_bytes(os.urandom(4097))
        (root / "data/nothing").touch()
        (root / "data/deep/er/file").write_text("deep\n")
        os.link(root / "data/odd size", root / "data/deep/hard")
        os.symlink("../data/large", root / "etc/relative")
        os.symlink("/data/nothing", root / "etc/absolute")
        os.symlink("nowhere", root / "dangling")
        os.mkfifo(root / "data/fifo")
        os.chmod(root / "tmp", 0o1777)
        os.chmod(root / "data/nothing", 0o4711)
        for number in range(300):
            (root / "data/deep" / f"file {number}").write_text(f"{number}\n")
        if os.geteuid() == 0:
            os.mknod(root / "data/null", stat.S_IFCHR | 0o620, os.makedev(1, 3))
            os.mknod(root / "data/block", stat.S_IFBLK | 0o600, os.makedev(7, 300))
            os.chown(root / "data/empty", 1234, 65534)
        return root

    def test_a_whole_tree_as_root(self):
        root = self.make_root()
        result = run_guest(RunRequest(
            boot_files(), ["/bin/bash-static", "-c", f"busybox sh -c '{_quoted(_LISTING)}'"],
            root=str(root), timeout_seconds=120))
        self.assertEqual((result.outcome, result.exit_status), (Outcome.EXITED, 0),
                         result.message + result.stderr.decode() + result.log[-2000:].decode())
        linux = subprocess.run([_BUSYBOX, "sh", "-c", _LISTING.replace("cd /;", "true;")], cwd=root,
                               stdout=subprocess.PIPE, check=True, env={"LC_ALL": "C"}).stdout
        self.assertEqual(_without_added(result.stdout), _without_added(linux))

    def test_find_from_the_root_counts_what_is_there(self):
        root = self.make_root()
        result = run_guest(RunRequest(
            boot_files(), ["busybox", "sh", "-c", "find / -xdev | sort | tee /dev/stderr | wc -l; "
                           "find / > /tmp/all; [ $(wc -l < /tmp/all) -gt 400 ]"],
            root=str(root), timeout_seconds=120))
        self.assertEqual(result.exit_status, 0, result.message)
        expected = {b"/" + os.fsencode(path.relative_to(root)) for path in root.rglob("*")}
        expected = (expected | _ADDED | {b"/"})
        found = result.stderr.splitlines()
        self.assertEqual(found, sorted(found))
        self.assertEqual(set(found) ^ expected, set())
        self.assertEqual(int(result.stdout), len(found))

    def test_files_variables_and_programs_that_cannot_start(self):
        first, second = self.folder / "first", self.folder / "second"
        first.write_bytes(os.urandom(100_000))
        second.mkdir()
        (second / "inner").write_text("inner\n")
        script = ("sha256sum /placed/here; cat /tmp/second/inner; echo \"$GREETING|$EMPTY|$HOME\"; "
                  "pwd; env | wc -l")
        result = run_guest(RunRequest(
            boot_files(), ["busybox", "sh", "-c", script], env={"GREETING": "hello = world",
                                                                "EMPTY": ""},
            with_files=[(str(first), "/placed/here"), (str(second), "/tmp/")], timeout_seconds=60))
        digest = subprocess.run([_BUSYBOX, "sha256sum", first], stdout=subprocess.PIPE,
                                check=True).stdout.split()[0].decode()
        self.assertEqual(result.stdout.decode(),
                         f"{digest}  /placed/here\ninner\nhello = world||/root\n/\n6\n",
                         result.message)

    def test_a_program_that_the_kernel_refuses_is_126(self):
        # Sound enough for the command's own checks, but its segment wraps around.
        program = self.folder / "broken"
        data = bytearray(Path(_BUSYBOX).read_bytes()[:8192])
        header_offset = int.from_bytes(data[32:40], "little")
        count = int.from_bytes(data[56:58], "little")
        for index in range(count):
            start = header_offset + 56 * index
            if data[start:start + 4] == b"\1\0\0\0":
                data[start + 40:start + 48] = b"\xff" * 8
        program.write_bytes(data)
        program.chmod(0o755)
        result = run_guest(RunRequest(boot_files(), [str(program)], timeout_seconds=60))
        self.assertEqual((result.outcome, result.exit_status), (Outcome.NOT_STARTED, 126),
                         result.message)
        self.assertEqual(len(result.message.splitlines()), 1)


def _quoted(script: str) -> str:
    return script.replace("'", "'\\''")


def _without_added(listing: bytes) -> list[bytes]:
    """Lines about what only the guest has are left out, and folders' link counts."""
    lines = []
    for line in listing.splitlines():
        name = line.split(b"|")[0].split(b"  ")[-1]
        if name[1:] in _ADDED or name == b"." or name.startswith(b"./etc/holstein"):
            continue
        fields = line.split(b"|")
        if len(fields) > 4 and fields[1] == b"directory":
            fields[4] = b"-"
        lines.append(b"|".join(fields))
    return lines
