"""Lays out a FAT volume whose files are contiguous, so that their contents can be streamed.

Nothing is copied here: `plan()` says where each file's bytes go and which few sectors describe
them; the caller writes both into a sparse file. Clusters are 32 KiB whatever the size (holes cost
nothing), FAT16 up to 65524 of them and FAT32 above. The layout follows Microsoft's "FAT File
System Specification" 1.03; EFI firmware mounts such a volume without a partition table.
"""

import dataclasses
import struct

SECTOR_BYTES = 512
_SECTORS_PER_CLUSTER = 64
CLUSTER_BYTES = SECTOR_BYTES * _SECTORS_PER_CLUSTER
_LEAST_FAT16_CLUSTERS = 4085
_MOST_FAT16_CLUSTERS = 65524
_ROOT_ENTRIES = 512  # FAT16 only
MAX_FILE_BYTES = (1 << 32) - 1

_ATTRIBUTE_DIRECTORY = 0x10
_ATTRIBUTE_ARCHIVE = 0x20
_ATTRIBUTE_LONG_NAME = 0x0F
_DATE_1980 = 0x0021  # 1 January 1980: images of equal contents are equal

_SHORT_CHARACTERS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-$~!#%&{}()@'`^")


class FatError(Exception):
    """The files do not fit what FAT can express."""


@dataclasses.dataclass
class Plan:
    total_bytes: int
    file_offsets: dict[str, int]  # where in the volume each file's bytes go
    pieces: list[tuple[int, bytes]]  # (offset, bytes) of everything that is not file contents


@dataclasses.dataclass
class _Node:
    name: str
    size: int = 0
    children: dict[str, "_Node"] | None = None  # None: a file
    first_cluster: int = 0
    clusters: int = 0


def plan(files: dict[str, int]) -> Plan:
    """`files` maps paths such as "EFI/BOOT/BOOTX64.EFI" to sizes in bytes."""
    root = _Node("", children={})
    for path, size in files.items():
        if size > MAX_FILE_BYTES:
            raise FatError(f"{path}: {size} bytes, but a FAT file ends at {MAX_FILE_BYTES}")
        _insert(root, path, size)

    directories, leaves = _walk(root)
    for node in directories:
        node.clusters = _clusters_for(_directory_bytes(node, is_root=node is root))
    for node in leaves:
        node.clusters = _clusters_for(node.size)

    used = sum(node.clusters for node in directories[1:] + leaves)
    is_fat32 = used > _MOST_FAT16_CLUSTERS
    if is_fat32:
        used += root.clusters
    elif _directory_bytes(root, is_root=True) > _ROOT_ENTRIES * 32:
        raise FatError("too many files in the root directory")

    next_cluster = 2
    for node in directories + leaves:
        if node is root and not is_fat32 or node.clusters == 0:
            node.clusters = 0
            continue
        node.first_cluster = next_cluster
        next_cluster += node.clusters

    geometry = _Geometry.choose(used, is_fat32)
    pieces = geometry.boot_sectors(root.first_cluster, used)
    chains = _fat(directories + leaves, is_fat32)
    for copy in range(2):
        pieces.append((geometry.fat_start(copy), chains))
    parents = {id(child): node for node in directories for child in node.children.values()}
    for node in directories:
        offset = geometry.cluster_offset(node.first_cluster) if node.first_cluster else \
            geometry.fat_start(2)
        pieces.append((offset, _directory(node, parents.get(id(node)), root)))
    offsets = {path: geometry.cluster_offset(_find(root, path).first_cluster or 2)
               for path in files}
    return Plan(geometry.total_sectors * SECTOR_BYTES, offsets, pieces)


@dataclasses.dataclass
class _Geometry:
    is_fat32: bool
    reserved_sectors: int
    fat_sectors: int
    root_sectors: int
    clusters: int

    @staticmethod
    def choose(used_clusters: int, is_fat32: bool) -> "_Geometry":
        clusters = max(used_clusters,
                       _MOST_FAT16_CLUSTERS + 1 if is_fat32 else _LEAST_FAT16_CLUSTERS) + 16
        if not is_fat32:
            clusters = min(clusters, _MOST_FAT16_CLUSTERS)
        fat_bytes = (clusters + 2) * (4 if is_fat32 else 2)
        return _Geometry(is_fat32, 32 if is_fat32 else 1, -(-fat_bytes // SECTOR_BYTES),
                         0 if is_fat32 else _ROOT_ENTRIES * 32 // SECTOR_BYTES, clusters)

    @property
    def data_sector(self) -> int:
        return self.reserved_sectors + 2 * self.fat_sectors + self.root_sectors

    @property
    def total_sectors(self) -> int:
        return self.data_sector + self.clusters * _SECTORS_PER_CLUSTER

    def fat_start(self, copy: int) -> int:
        """Where a copy of the FAT begins; copy 2 is where FAT16's root directory does."""
        return (self.reserved_sectors + copy * self.fat_sectors) * SECTOR_BYTES

    def cluster_offset(self, cluster: int) -> int:
        return self.data_sector * SECTOR_BYTES + (cluster - 2) * CLUSTER_BYTES

    def boot_sectors(self, root_cluster: int, used_clusters: int) -> list[tuple[int, bytes]]:
        total = self.total_sectors
        if total >= 1 << 32:
            raise FatError("the volume would be larger than 2 TiB")
        sector = bytearray(SECTOR_BYTES)
        struct.pack_into("<3s8sHBHBHHBHHHII", sector, 0, b"\xeb\xfe\x90", b"HOLSTEIN",
                         SECTOR_BYTES, _SECTORS_PER_CLUSTER, self.reserved_sectors, 2,
                         0 if self.is_fat32 else _ROOT_ENTRIES,
                         total if total < 0x10000 and not self.is_fat32 else 0, 0xF8,
                         0 if self.is_fat32 else self.fat_sectors, 32, 64, 0,
                         total if total >= 0x10000 or self.is_fat32 else 0)
        extended = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 0x484F4C53, b"NO NAME    ",
                               b"FAT32   " if self.is_fat32 else b"FAT16   ")
        sector[510:512] = b"\x55\xaa"
        if not self.is_fat32:
            sector[36:36 + len(extended)] = extended
            return [(0, bytes(sector))]
        struct.pack_into("<IHHIHH12x", sector, 36, self.fat_sectors, 0, 0, root_cluster, 1, 6)
        sector[64:64 + len(extended)] = extended
        info = bytearray(SECTOR_BYTES)
        struct.pack_into("<I", info, 0, 0x41615252)
        struct.pack_into("<III", info, 484, 0x61417272, self.clusters - used_clusters,
                         used_clusters + 2)
        info[508:512] = b"\0\0\x55\xaa"
        return [(start * SECTOR_BYTES + index * SECTOR_BYTES, bytes(data))
                for start in (0, 6) for index, data in enumerate((sector, info))]


def _insert(root: _Node, path: str, size: int) -> None:
    *folders, name = path.split("/")
    node = root
    for folder in folders:
        node = node.children.setdefault(folder, _Node(folder, children={}))
    if name in node.children:
        raise FatError(f"{path} is there twice")
    node.children[name] = _Node(name, size)


def _find(root: _Node, path: str) -> _Node:
    node = root
    for name in path.split("/"):
        node = node.children[name]
    return node


def _walk(root: _Node) -> tuple[list[_Node], list[_Node]]:
    """(directories from the root down, files)."""
    directories, leaves = [root], []
    for node in directories:
        for child in node.children.values():
            (leaves if child.children is None else directories).append(child)
    return directories, leaves


def _clusters_for(size: int) -> int:
    return -(-size // CLUSTER_BYTES)


def _is_short(name: str) -> bool:
    stem, _, extension = name.partition(".")
    return (1 <= len(stem) <= 8 and len(extension) <= 3 and not name.endswith(".") and
            set(stem + extension) <= _SHORT_CHARACTERS)


def _directory_bytes(node: _Node, is_root: bool) -> int:
    entries = 0 if is_root else 2
    for name in node.children:
        entries += 1 + (0 if _is_short(name) else -(-len(name) // 13))
    return max(entries, 1) * 32


def _fat(nodes: list[_Node], is_fat32: bool) -> bytes:
    end = 0x0FFFFFFF if is_fat32 else 0xFFFF
    table = [end & ~7, end]
    for node in nodes:
        if node.clusters:
            table.extend(range(node.first_cluster + 1, node.first_cluster + node.clusters))
            table.append(end)
    return struct.pack(f"<{len(table)}{'I' if is_fat32 else 'H'}", *table)


def _entry(short: bytes, attribute: int, cluster: int, size: int) -> bytes:
    return struct.pack("<11sBBBHHHHHHHI", short, attribute, 0, 0, 0, _DATE_1980, _DATE_1980,
                       cluster >> 16, 0, _DATE_1980, cluster & 0xFFFF, size)


def _directory(node: _Node, parent: _Node | None, root: _Node) -> bytes:
    data = bytearray()
    if parent is not None:
        above = 0 if parent is root else parent.first_cluster  # FAT says 0 for the root
        data += _entry(b".          ", _ATTRIBUTE_DIRECTORY, node.first_cluster, 0)
        data += _entry(b"..         ", _ATTRIBUTE_DIRECTORY, above, 0)
    taken: set[bytes] = set()
    for child in node.children.values():
        short = _short_name(child.name, taken)
        taken.add(short)
        if not _is_short(child.name):
            data += _long_name(child.name, short)
        attribute = _ATTRIBUTE_ARCHIVE if child.children is None else _ATTRIBUTE_DIRECTORY
        data += _entry(short, attribute, child.first_cluster, child.size)
    return bytes(data)


def _short_name(name: str, taken: set[bytes]) -> bytes:
    stem, _, extension = name.rpartition(".") if "." in name else (name, "", "")
    stem, extension = ("".join(c if c in _SHORT_CHARACTERS else "_" for c in part.upper())
                       for part in (stem, extension))
    if _is_short(name):
        return f"{stem:<8}{extension:<3}".encode("ascii")
    for number in range(1, 1000):
        tail = f"~{number}"
        short = f"{stem[:8 - len(tail)] + tail:<8}{extension[:3]:<3}".encode("ascii")
        if short not in taken:
            return short
    raise FatError(f"too many names like {name}")


def _long_name(name: str, short: bytes) -> bytes:
    checksum = 0
    for byte in short:
        checksum = (((checksum & 1) << 7) + (checksum >> 1) + byte) & 0xFF
    units = name.encode("utf-16-le")
    padded = units + (b"\0\0" if len(units) % 26 else b"")
    padded += b"\xff" * (-len(padded) % 26)
    data = bytearray()
    count = len(padded) // 26
    for index in reversed(range(count)):
        part = padded[index * 26:index * 26 + 26]
        order = (index + 1) | (0x40 if index == count - 1 else 0)
        data += struct.pack("<B10sBBB12sH4s", order, part[:10], _ATTRIBUTE_LONG_NAME, 0, checksum,
                            part[10:22], 0, part[22:])
    return bytes(data)
