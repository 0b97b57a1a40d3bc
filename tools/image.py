"""Puts an image together: the file tree a program sees, and the disk that UEFI boots.

The disk is one FAT volume with the loader, the kernel, the initramfs and the kernel's command line.
Its files are contiguous, so the initramfs is streamed straight to its place and written once.
"""

import dataclasses
import os
import subprocess
from pathlib import Path

from tools import fat, job
from tools.cpio import Archive
from tools.tree import Tree, TreeError

BUSYBOX = "/bin/busybox"
INIT_PATH = "sbin/holstein-init"
LOADER_FILE = "EFI/BOOT/BOOTX64.EFI"
KERNEL_FILE = "holstein/kernel.elf"
INITRAMFS_FILE = "holstein/initramfs.cpio"
COMMAND_LINE_FILE = "holstein/cmdline"

_FOLDERS = {"bin": 0o755, "sbin": 0o755, "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755,
            "usr/local": 0o755, "usr/local/bin": 0o755, "etc": 0o755, "dev": 0o755, "proc": 0o555,
            "sys": 0o555, "tmp": 0o1777, "root": 0o700, "home": 0o755, "run": 0o755, "var": 0o755,
            "var/tmp": 0o1777, "var/log": 0o755, "mnt": 0o755, "opt": 0o755}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
                  "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
                  "user:x:1000:1000:user:/home:/bin/sh\n"
                  "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/hostname": "holstein\n",
    "etc/shells": "/bin/sh\n",
    "etc/os-release": 'NAME="Holstein"\nID=holstein\nPRETTY_NAME="Holstein"\n',
    "etc/profile": f"export PATH={job.DEFAULT_SEARCH_PATH}\n"
                   "export PS1='\\w \\$ '\n"
                   "umask 022\n",
}


@dataclasses.dataclass
class DiskFile:
    """A file of the volume: bytes, or a path on the host whose contents are copied."""
    content: bytes | Path

    @property
    def size_bytes(self) -> int:
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


def base_tree(busybox: str | os.PathLike = BUSYBOX) -> tuple[Tree, frozenset[str]]:
    """The tree that is there without --root, and the names of busybox's applets in it."""
    tree = Tree()
    for path, permissions in _FOLDERS.items():
        tree.put_directory(path, permissions)
    for path, text in _FILES.items():
        tree.put_file(path, text.encode())
    tree.put_link("var/run", "/run")
    tree.put_host_file("bin/busybox", os.path.realpath(busybox), 0o755)
    listing = subprocess.run([busybox, "--list-full"], check=True, capture_output=True,
                             stdin=subprocess.DEVNULL).stdout.decode()
    applets = set()
    for line in listing.split():
        path = line.lstrip("/")
        applets.add(os.path.basename(path))
        if path not in ("bin/busybox", "init", "linuxrc", "sbin/init"):
            tree.put_link(path, "/bin/busybox")
    return tree, frozenset(applets)


def root_tree(folder: str) -> Tree:
    """A host folder as the image's root."""
    tree = Tree()
    tree.put_host_root(folder)
    return tree


def add_guest_files(tree: Tree, init: str | os.PathLike, description: job.Job) -> None:
    """What the guest itself needs in every image."""
    tree.put_host_file(INIT_PATH, os.fspath(init), 0o755)
    tree.put_file(job.PATH_IN_IMAGE, description.encode(), 0o600)


def write_disk(fd: int, files: dict[str, DiskFile], initramfs: Archive | None) -> None:
    """Writes the volume into an empty file; `initramfs` becomes INITRAMFS_FILE.

    Raises TreeError for what cannot be put into a volume, OSError where the disk is full.
    """
    sizes = {name: file.size_bytes for name, file in files.items()}
    if initramfs is not None:
        sizes[INITRAMFS_FILE] = initramfs.size_bytes
    try:
        plan = fat.plan(sizes)
    except fat.FatError as error:
        raise TreeError(f"the image cannot be made: {error}") from None
    os.ftruncate(fd, plan.total_bytes)
    for offset, data in plan.pieces:
        _write_all(fd, data, offset)
    for name, file in files.items():
        _write_all(fd, file.read(), plan.file_offsets[name])
    if initramfs is not None:
        initramfs.write(fd, plan.file_offsets[INITRAMFS_FILE])


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view = view[count:]
        offset += count
