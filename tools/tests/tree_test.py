"""Where do files end up in an image, also where links are on the way?"""

import os
import tempfile
import unittest
from pathlib import Path

from tools.tree import Tree, TreeError, normalise


class NormaliseTest(unittest.TestCase):
    def test_a_path_is_taken_from_the_root(self):
        for typed, expected in (("data", b"data"), ("/etc/passwd", b"etc/passwd"),
                                ("../x//y/./z", b"x/y/z"), ("//a", b"a"), ("/", b""), (".", b""),
                                ("a/../../b", b"b"), (b"\xff/x", b"\xff/x")):
            self.assertEqual(normalise(typed), expected)


class TreeTest(unittest.TestCase):
    def setUp(self):
        self.tree = Tree()

    def test_parents_are_made(self):
        self.tree.put_file("a/b/c", b"x")
        self.assertTrue(self.tree.lookup("/a/b").is_directory)
        self.assertEqual(self.tree.lookup("/a/b/c").data, b"x")

    def test_links_on_the_way_are_followed(self):
        self.tree.put_directory("usr/sbin")
        self.tree.put_link("sbin", "usr/sbin")
        self.tree.put_file("sbin/init", b"x")
        self.assertIn(b"usr/sbin/init", self.tree.entries)
        self.tree.put_link("absolute", "/usr/../usr/sbin")
        self.assertEqual(self.tree.lookup("/absolute/init").data, b"x")

    def test_the_last_link_is_replaced_not_followed(self):
        self.tree.put_file("bin/busybox", b"box")
        self.tree.put_link("bin/sh", "/bin/busybox")
        self.tree.put_file("bin/sh", b"shell")
        self.assertEqual(self.tree.lookup("bin/busybox").data, b"box")
        self.assertEqual(self.tree.lookup("bin/sh").data, b"shell")

    def test_links_never_leave_the_tree(self):
        self.tree.put_link("up", "../../../../etc")
        self.tree.put_file("up/x", b"x")
        self.assertIn(b"etc/x", self.tree.entries)

    def test_circles_end(self):
        self.tree.put_link("a", "b")
        self.tree.put_link("b", "a")
        self.assertIsNone(self.tree.lookup("a"))
        with self.assertRaises(TreeError):
            self.tree.put_file("a/x", b"")

    def test_a_file_is_no_folder_and_no_folder_is_replaced(self):
        self.tree.put_file("file", b"")
        self.tree.put_directory("folder")
        for path in ("file/x", "file/x/y", "folder", "/"):
            with self.assertRaises(TreeError):
                self.tree.put_file(path, b"")

    def test_a_host_folder_belongs_to_root_and_merges(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "sub").mkdir()
            (folder / "sub/file").write_bytes(b"12")
            (folder / "sub/link").symlink_to("file")
            self.tree.put_file("place/sub/other", b"")
            self.tree.put_host_path("place", name)
        entry = self.tree.lookup("place/sub/file")
        self.assertEqual((entry.uid, entry.gid, entry.size), (0, 0, 2))
        self.assertEqual(self.tree.entries[b"place/sub/link"].data, b"file")
        self.assertIsNotNone(self.tree.lookup("place/sub/other"))

    def test_only_files_and_folders_come_by_name(self):
        with tempfile.TemporaryDirectory() as name:
            os.mkfifo(f"{name}/fifo")
            with self.assertRaises(TreeError):
                self.tree.put_host_path("fifo", f"{name}/fifo")


if __name__ == "__main__":
    unittest.main()
