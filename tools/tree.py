"""The file tree of an image, before it is written: what there is, not yet its bytes.

Paths are bytes without leading or trailing slash; the root is b"". Symbolic links on the way to a
path are followed inside the tree (a root whose /sbin is a link to usr/sbin stays one), never on the
host.
"""

import dataclasses
import os
import stat
from collections.abc import Iterator

_MAX_LINKS = 40  # as Linux: the 41st link on a path is ELOOP


class TreeError(Exception):
    """Something that cannot be put into the image, in one line."""


@dataclasses.dataclass
class Entry:
    mode: int  # st_mode: type and permissions
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    device: tuple[int, int] = (0, 0)  # (major, minor) of a device node
    data: bytes = b""  # contents of a small file, target of a symbolic link
    host_path: str | bytes | None = None  # a file whose contents are copied when writing
    size: int = 0  # of host_path's contents
    link_key: tuple[int, int] | None = None  # same key: hard links of one file

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def size_bytes(self) -> int:
        return self.size if self.host_path is not None else len(self.data)


def normalise(path: str | bytes) -> bytes:
    """A path as typed, taken from the image's root: `../x//y` is `x/y`."""
    clean = os.path.normpath(b"/" + os.fsencode(path)).lstrip(b"/")
    return clean


class Tree:
    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {b"": Entry(stat.S_IFDIR | 0o755)}

    # Reading.

    def resolve(self, path: str | bytes, follow_last: bool = True) -> bytes:
        """The path with all links followed; what does not exist is kept as it is."""
        pending = normalise(path).split(b"/")[::-1]
        done: list[bytes] = []
        links = 0
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if done:
                    done.pop()
                continue
            entry = self.entries.get(b"/".join(done + [name]))
            if entry is not None and stat.S_ISLNK(entry.mode) and (pending or follow_last):
                links += 1
                if links > _MAX_LINKS:
                    raise TreeError(f"/{os.fsdecode(normalise(path))}: too many symbolic links")
                if entry.data.startswith(b"/"):
                    done.clear()
                pending += entry.data.split(b"/")[::-1]
                continue
            done.append(name)
        return b"/".join(done)

    def lookup(self, path: str | bytes) -> Entry | None:
        """What a path leads to, links followed."""
        try:
            return self.entries.get(self.resolve(path))
        except TreeError:
            return None

    def read(self, entry: Entry, limit_bytes: int) -> bytes:
        """The beginning of a regular file."""
        if entry.host_path is None:
            return entry.data[:limit_bytes]
        with open(entry.host_path, "rb") as file:
            return file.read(limit_bytes)

    # Changing.

    def put(self, path: str | bytes, entry: Entry) -> bytes:
        """Adds or replaces; folders on the way are made. Returns the path that it has now."""
        place = self.resolve(path, follow_last=entry.is_directory)
        if not place:
            if not entry.is_directory:
                raise TreeError("the image's root can only be a folder")
            self.entries[b""] = entry
            return place
        self._make_parents(place)
        old = self.entries.get(place)
        if old is not None and old.is_directory and not entry.is_directory:
            raise TreeError(f"/{os.fsdecode(place)} is a folder in the image already")
        if old is not None and entry.is_directory and not old.is_directory:
            raise TreeError(f"/{os.fsdecode(place)} is no folder in the image")
        self.entries[place] = entry
        return place

    def put_directory(self, path: str | bytes, permissions: int = 0o755) -> None:
        existing = self.lookup(path)
        if existing is None or not existing.is_directory:
            self.put(path, Entry(stat.S_IFDIR | permissions))

    def put_file(self, path: str | bytes, data: bytes, permissions: int = 0o644) -> bytes:
        return self.put(path, Entry(stat.S_IFREG | permissions, data=data))

    def put_link(self, path: str | bytes, target: str | bytes) -> None:
        self.put(path, Entry(stat.S_IFLNK | 0o777, data=os.fsencode(target)))

    def put_host_file(self, path: str | bytes, host_path: str | os.PathLike,
                      permissions: int | None = None) -> bytes:
        """A file of the host, owned by root in the image; `permissions` None keeps the host's."""
        entry = _entry_of(os.fspath(host_path), os.stat(host_path))
        if not entry.is_file:
            raise TreeError(f"{os.fspath(host_path)}: not a regular file")
        entry.uid = entry.gid = 0
        entry.link_key = None
        if permissions is not None:
            entry.mode = stat.S_IFREG | permissions
        return self.put(path, entry)

    def put_host_path(self, path: str | bytes, host_path: str) -> None:
        """A file or a whole folder of the host, owned by root in the image (--with)."""
        status = os.stat(host_path)
        if not stat.S_ISDIR(status.st_mode):
            self.put_host_file(path, host_path)
            return
        base = normalise(path)
        for relative, entry in _walk_host(os.fsencode(host_path)):
            entry.uid = entry.gid = 0
            target = base + b"/" + relative if relative else base
            self.put(target, entry)

    def put_host_root(self, host_path: str) -> None:
        """A whole tree with owners, links, devices and times as they are (--root)."""
        for relative, entry in _walk_host(os.fsencode(host_path)):
            self.entries[relative] = entry

    def _make_parents(self, place: bytes) -> None:
        parent = place.rpartition(b"/")[0]
        if not parent:
            return
        entry = self.entries.get(parent)
        if entry is None:
            self._make_parents(parent)
            self.entries[parent] = Entry(stat.S_IFDIR | 0o755)
        elif not entry.is_directory:
            raise TreeError(f"/{os.fsdecode(parent)} is no folder in the image")


def _entry_of(host_path: str | bytes, status: os.stat_result) -> Entry:
    entry = Entry(status.st_mode, status.st_uid, status.st_gid,
                  min(max(0, int(status.st_mtime)), 0xFFFFFFFF))
    if stat.S_ISREG(status.st_mode):
        entry.host_path = host_path
        entry.size = status.st_size
    elif stat.S_ISLNK(status.st_mode):
        entry.data = os.fsencode(os.readlink(host_path))
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        entry.device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
        entry.link_key = (status.st_dev, status.st_ino)
    return entry


def _walk_host(top: bytes) -> Iterator[tuple[bytes, Entry]]:
    """(relative path, entry) of `top` itself and of all below it, parents first."""
    yield b"", _entry_of(top, os.stat(top))
    pending = [b""]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(top, folder) if folder else top) as listing:
            children = sorted(listing, key=lambda child: child.name)
        for child in children:
            relative = folder + b"/" + child.name if folder else child.name
            entry = _entry_of(child.path, child.stat(follow_symlinks=False))
            yield relative, entry
            if entry.is_directory:
                pending.append(relative)
