"""Writes an initramfs: a cpio archive of the "newc" kind, as the kernel's documentation of
initramfs buffers and cpio(5) describe it, with one trick.

The contents of every regular file of at least a page begin on a page boundary of the archive, so a
kernel that loads the archive page-aligned can adopt its pages in place. The room is made with NULs
after the name, which the format allows and other readers skip. A name field never exceeds PATH_MAX
(Linux refuses more): where that would be needed, the root folder's entry is repeated in front.
"""

import dataclasses
import os
from collections.abc import Iterator

from tools.tree import Entry, Tree, TreeError

PAGE_BYTES = 4096
_HEADER_BYTES = 110
_PATH_MAX = 4096
_MAX_FILE_BYTES = (1 << 32) - 1
_COPY_BYTES = 1 << 20


@dataclasses.dataclass
class _Member:
    header: bytes  # with name and padding
    entry: Entry | None  # whose contents follow, if any


class Archive:
    """An archive whose size is known before a byte of the contents is read."""

    def __init__(self, tree: Tree) -> None:
        self._members = list(_plan(tree))
        self.size_bytes = sum(
            len(member.header) + (_padded(member.entry.size_bytes) if member.entry else 0)
            for member in self._members)

    def write(self, fd: int, offset: int) -> None:
        """Writes the archive at `offset` of a seekable descriptor."""
        end = offset + self.size_bytes
        buffer = bytearray()
        for member in self._members:
            buffer += member.header
            entry = member.entry
            if entry is None:
                continue
            if entry.host_path is None:
                buffer += entry.data
            elif entry.size < _COPY_BYTES // 4:
                buffer += _read_whole(entry)
            else:
                offset = _flush(fd, buffer, offset)
                _copy(entry, fd, offset)
                offset += entry.size
            buffer += b"\0" * (-entry.size_bytes % 4)
            if len(buffer) >= _COPY_BYTES:
                offset = _flush(fd, buffer, offset)
        offset = _flush(fd, buffer, offset)
        assert offset == end, f"archive ended at {offset}, planned {end}"


def _padded(size: int) -> int:
    return size + (-size % 4)


def _plan(tree: Tree) -> Iterator[_Member]:
    links: dict[tuple[int, int], int] = {}  # how many names a file has in this tree
    for entry in tree.entries.values():
        if entry.link_key is not None:
            links[entry.link_key] = links.get(entry.link_key, 0) + 1
    inodes: dict[tuple[int, int], int] = {}
    unseen = dict(links)
    next_inode = 1
    position = 0
    for path in sorted(tree.entries):
        entry = tree.entries[path]
        key = entry.link_key
        inode = inodes.get(key, 0) if key is not None else 0
        if inode == 0:
            inode, next_inode = next_inode, next_inode + 1
            if key is not None:
                inodes[key] = inode
        has_contents = entry.size_bytes > 0
        if key is not None:
            unseen[key] -= 1
            # As GNU cpio: the contents come with the last of a file's names.
            if entry.is_file and unseen[key] > 0:
                has_contents = False
        link_count = links[key] if key is not None else 2 if entry.is_directory else 1
        if entry.size_bytes > _MAX_FILE_BYTES:
            raise TreeError(f"/{os.fsdecode(path)}: larger than 4 GiB")
        size = entry.size_bytes if has_contents else 0
        name = path or b"."
        if len(name) >= _PATH_MAX:
            raise TreeError(f"/{os.fsdecode(path)}: the path is too long")
        align = PAGE_BYTES if entry.is_file and size >= PAGE_BYTES else 4
        name_bytes = _name_bytes(position, len(name), align)
        if name_bytes > _PATH_MAX:
            filler = _filler(tree.entries[b""], position, len(name))
            yield _Member(filler, None)
            position += len(filler)
            name_bytes = _name_bytes(position, len(name), align)
            if name_bytes > _PATH_MAX:
                name_bytes = len(name) + 1  # the very longest names have no room for alignment
        header = _header(inode, entry, link_count, name, name_bytes, size)
        header += b"\0" * (-len(header) % 4)
        yield _Member(header, entry if size else None)
        position += len(header) + _padded(size)
    trailer = _header(0, Entry(0), 1, b"TRAILER!!!", len(b"TRAILER!!!") + 1, 0)
    yield _Member(trailer + b"\0" * (-(position + len(trailer)) % 512), None)


def _name_bytes(position: int, name_length: int, align: int) -> int:
    """The name field's size such that the contents of a member at `position` are aligned."""
    least = name_length + 1
    return least + (-(position + _HEADER_BYTES + least) % align if align > 4 else 0)


def _filler(root: Entry, position: int, name_length: int) -> bytes:
    """The root folder once more, so long that the next name needs next to no padding."""
    next_header = _padded(_HEADER_BYTES + name_length + 1)
    length = (-next_header - position) % PAGE_BYTES
    if length < _padded(_HEADER_BYTES + 2):
        length += PAGE_BYTES
    return _header(1, root, 2, b".", length - _HEADER_BYTES, 0)


def _header(inode: int, entry: Entry, links: int, name: bytes, name_bytes: int,
            size: int) -> bytes:
    major, minor = entry.device
    fields = (inode, entry.mode, entry.uid, entry.gid, links, entry.mtime, size, 0, 0, major, minor,
              name_bytes, 0)
    return b"070701" + b"".join(b"%08X" % field for field in fields) + \
        name + b"\0" * (name_bytes - len(name))


def _flush(fd: int, buffer: bytearray, offset: int) -> int:
    """Writes and empties the buffer; returns the offset behind it."""
    with memoryview(buffer) as view:
        written = 0
        while written < len(view):
            written += os.pwrite(fd, view[written:], offset + written)
    buffer.clear()
    return offset + written


def _changed(entry: Entry) -> TreeError:
    return TreeError(f"{os.fsdecode(entry.host_path)}: changed while it was read")


def _read_whole(entry: Entry) -> bytes:
    with open(entry.host_path, "rb", buffering=0) as file:
        data = file.read(entry.size)
        while len(data) < entry.size:
            more = file.read(entry.size - len(data))
            if not more:
                raise _changed(entry)
            data += more
    return data


def _copy(entry: Entry, fd: int, offset: int) -> None:
    """Copies a large file's contents without passing them through this process."""
    source = os.open(entry.host_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.lseek(fd, offset, os.SEEK_SET)
        position = 0
        while position < entry.size:
            count = os.sendfile(fd, source, position, min(entry.size - position, 1 << 30))
            if count == 0:
                raise _changed(entry)
            position += count
    finally:
        os.close(source)
