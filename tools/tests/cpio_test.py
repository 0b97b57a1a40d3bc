"""Does GNU cpio read what we write, and are the pages where the kernel wants them?"""

import os
import random
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

from tools.cpio import PAGE_BYTES, Archive
from tools.tree import Entry, Tree, TreeError


def written(tree: Tree, offset: int = 0) -> bytes:
    archive = Archive(tree)
    with tempfile.TemporaryFile() as file:
        archive.write(file.fileno(), offset)
        file.seek(offset)
        data = file.read()
    assert len(data) == archive.size_bytes
    return data


def members(data: bytes) -> list[dict]:
    """A reader of newc that shares no code with the writer."""
    found, position = [], 0
    while True:
        assert data[position:position + 6] == b"070701", position
        fields = [int(data[position + 6 + 8 * n:position + 14 + 8 * n], 16) for n in range(13)]
        keys = ("ino", "mode", "uid", "gid", "nlink", "mtime", "size", "devmajor", "devminor",
                "rdevmajor", "rdevminor", "namesize", "check")
        member = dict(zip(keys, fields))
        raw = data[position + 110:position + 110 + member["namesize"]]
        member["name"] = raw.split(b"\0")[0]
        assert set(raw[len(member["name"]):]) == {0}
        start = position + 110 + member["namesize"]
        start += -start % 4
        member["start"] = start
        member["data"] = data[start:start + member["size"]]
        position = start + member["size"]
        position += -position % 4
        if member["name"] == b"TRAILER!!!":
            return found
        found.append(member)


class ArchiveTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def extract(self, data: bytes) -> Path:
        target = self.folder / "extracted"
        target.mkdir()
        subprocess.run(["cpio", "-idm", "--quiet", "--no-absolute-filenames"], input=data,
                       cwd=target, check=True)
        return target

    def test_gnu_cpio_gives_back_a_host_tree(self):
        source = self.folder / "source"
        (source / "sub/deep").mkdir(parents=True)
        (source / "small").write_bytes(b"abc")
        (source / "empty").write_bytes(b"")
        generator = random.Random(5)
        for size in (4095, 4096, 4097, 300_000, 2_000_001):
            (source / f"sub/{size}").write_bytes(generator.randbytes(size))
        (source / "sub/deep/link").symlink_to("../4096")
        os.link(source / "sub/4097", source / "a-hard-link")
        os.link(source / "sub/4097", source / "sub/z-hard-link")
        (source / "small").chmod(0o4751)
        (source / "sub").chmod(0o1777)
        os.utime(source / "small", (1234567890, 1234567890))
        os.mkfifo(source / "fifo")
        tree = Tree()
        tree.put_host_root(str(source))
        target = self.extract(written(tree))
        (target / "fifo").unlink()  # diff cannot compare it
        (source / "fifo").unlink()
        compare = subprocess.run(["diff", "-r", "--no-dereference", source, target],
                                 capture_output=True, text=True)
        self.assertEqual(compare.stdout + compare.stderr, "")
        for path in source.rglob("*"):
            ours, theirs = path.lstat(), (target / path.relative_to(source)).lstat()
            self.assertEqual(ours.st_mode, theirs.st_mode, path)
            if not path.is_dir() and not path.is_symlink():
                self.assertEqual(int(ours.st_mtime), int(theirs.st_mtime), path)
                self.assertEqual(ours.st_nlink, theirs.st_nlink, path)
        self.assertEqual((target / "a-hard-link").stat().st_ino,
                         (target / "sub/4097").stat().st_ino)

    def test_contents_of_a_page_or_more_begin_on_a_page(self):
        generator = random.Random(6)
        tree = Tree()
        for number in range(300):
            name = "f" * generator.randrange(1, 200) + str(number)
            tree.put_file(name, bytes(generator.choice((0, 5, 4095, 4096, 4099, 9000))))
        for member in members(written(tree)):
            if member["size"] >= PAGE_BYTES:
                self.assertEqual(member["start"] % PAGE_BYTES, 0, member["name"])

    def test_a_name_field_never_exceeds_what_linux_takes(self):
        """At every position in a page and for names up to the longest."""
        for length in (1, 300, 2000, 4000, 4093, 4095):
            for shift in range(0, 4200, 124):
                tree = Tree()
                tree.entries[b"A"] = Entry(stat.S_IFREG | 0o644, data=b"s" * min(shift, 4095))
                tree.entries[b"B" * length] = Entry(stat.S_IFREG | 0o644, data=b"d" * 5000)
                found = members(written(tree))
                self.assertLessEqual(max(member["namesize"] for member in found), 4096)
                last = found[-1]
                self.assertEqual(last["data"], b"d" * 5000)
                if length < 4095:
                    self.assertEqual(last["start"] % PAGE_BYTES, 0)
                for filler in found[1:-1]:
                    self.assertIn(filler["name"], (b".", b"A"))
        tree.entries[b"C" * 4096] = Entry(stat.S_IFREG | 0o644)
        with self.assertRaises(TreeError):
            Archive(tree)

    def test_owners_devices_and_times_are_kept(self):
        tree = Tree()
        tree.entries[b"null"] = Entry(stat.S_IFCHR | 0o666, 5, 7, 99, device=(1, 3))
        tree.entries[b"disk"] = Entry(stat.S_IFBLK | 0o660, 0, 6, device=(259, 70000))
        found = {member["name"]: member for member in members(written(tree))}
        null, disk = found[b"null"], found[b"disk"]
        self.assertEqual([null[key] for key in ("mode", "uid", "gid", "mtime", "rdevmajor",
                                                "rdevminor")],
                         [stat.S_IFCHR | 0o666, 5, 7, 99, 1, 3])
        self.assertEqual((disk["rdevmajor"], disk["rdevminor"]), (259, 70000))

    def test_parents_come_before_children(self):
        tree = Tree()
        for path in ("a-b/c", "a/b", "a/b-c/d", "a!/x"):
            tree.put_file(path, b"x")
        seen = {b""}
        for member in members(written(tree)):
            name = member["name"] if member["name"] != b"." else b""
            self.assertIn(name.rpartition(b"/")[0], seen)
            seen.add(name)

    def test_a_hard_link_whose_other_names_are_elsewhere_is_a_file_of_its_own(self):
        (self.folder / "one").write_bytes(b"shared")
        os.link(self.folder / "one", self.folder / "two")
        inside = self.folder / "inside"
        inside.mkdir()
        os.link(self.folder / "one", inside / "three")
        tree = Tree()
        tree.put_host_root(str(inside))
        found = members(written(tree))[-1]
        self.assertEqual((found["data"], found["nlink"]), (b"shared", 1))

    def test_a_file_that_shrinks_meanwhile_is_an_error(self):
        for size in (100, 600_000):
            path = self.folder / "shrinks"
            path.write_bytes(b"x" * size)
            tree = Tree()
            tree.put_host_file("shrinks", path)
            archive = Archive(tree)
            path.write_bytes(b"x")
            with tempfile.TemporaryFile() as file, self.assertRaises(TreeError):
                archive.write(file.fileno(), 0)

    def test_it_can_be_written_anywhere_in_a_file(self):
        (self.folder / "big").write_bytes(os.urandom(1_000_000))
        tree = Tree()
        tree.put_host_file("big", self.folder / "big")
        self.assertEqual(written(tree, 123 * 512), written(tree))


if __name__ == "__main__":
    unittest.main()
