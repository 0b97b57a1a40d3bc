"""Is PROGRAM found where it should be, and is what cannot run refused with the right status?"""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools import elf
from tools.program import ProgramError, find_program
from tools.tests import elf_files
from tools.tree import Tree

_PATH = "/usr/bin:/bin"


class FindTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        (self.folder / "on-path").mkdir()
        self.enterContext(mock.patch.dict(os.environ, PATH=str(self.folder / "on-path")))
        self.tree = Tree()
        self.tree.put_file("bin/busybox", elf_files.program(), 0o755)
        self.tree.put_link("bin/ls", "/bin/busybox")

    def host(self, name: str, contents: bytes | None = None, mode: int = 0o755) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(elf_files.program() if contents is None else contents)
        path.chmod(mode)
        return name

    def find(self, name: str, from_host: bool = True):
        return find_program(self.tree, name, _PATH, from_host, frozenset({"ls"}))

    def assert_refused(self, status: int, text: str, name: str, from_host: bool = True):
        with self.assertRaises(ProgramError) as caught:
            self.find(name, from_host)
        self.assertEqual(caught.exception.status, status)
        self.assertIn(text, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_a_path_keeps_its_meaning_inside(self):
        for typed, inside in (("./prog", b"/prog"), ("sub/prog", b"/sub/prog"),
                              (f"{self.folder}/abs", os.fsencode(f"{self.folder}/abs"))):
            self.host(typed)
            found = self.find(typed)
            self.assertEqual(found.path_in_image, inside)
            self.assertEqual(os.path.realpath(found.host_path), os.path.realpath(typed))
            self.assertTrue(self.tree.lookup(inside).is_file)

    def test_a_name_on_path_has_its_absolute_path_inside(self):
        self.host("on-path/tool")
        self.assertEqual(self.find("tool").path_in_image,
                         os.fsencode(self.folder / "on-path/tool"))

    def test_the_host_comes_before_the_image_and_the_image_is_last(self):
        self.assertEqual(self.find("ls").path_in_image, b"/bin/ls")
        self.assertEqual(self.find("/bin/busybox", from_host=False).path_in_image, b"/bin/busybox")
        self.host("on-path/ls")
        self.assertNotEqual(self.find("ls").path_in_image, b"/bin/ls")

    def test_with_a_root_the_host_is_not_looked_at(self):
        self.host("on-path/tool")
        self.assert_refused(127, "not found", "tool", from_host=False)
        self.assertEqual(self.find("ls", from_host=False).path_in_image, b"/bin/ls")

    def test_a_program_under_proc_is_put_where_it_can_be_seen(self):
        self.host("prog")
        with mock.patch("tools.program._MOUNTED_OVER", (b"sub",)):
            self.host("sub/prog")
            self.assertEqual(self.find("./sub/prog").path_in_image, b"/bin/prog")

    def test_what_is_not_there(self):
        for name in ("nothing", "./nothing", "/no/such/thing", ""):
            self.assert_refused(127, "", name)
        os.symlink("nowhere", "dangling")
        self.assert_refused(127, "leads nowhere", "./dangling")

    def test_what_cannot_be_run(self):
        self.host("plain", mode=0o644)
        self.assert_refused(126, "not executable", "./plain")
        self.assert_refused(126, "not executable", "plain")
        self.assert_refused(126, "a folder", "./on-path")
        os.mkfifo("fifo")
        self.assert_refused(126, "not a regular file", "./fifo")
        for contents, text in (
                (b"", "is empty"), (b"hello\n", "neither an ELF program nor a script"),
                (b"\x7fELF\x02\x01", "truncated"), (b"#!\n", "names no interpreter"),
                (elf_files.program(machine=183), "64-bit ARM"),
                (elf_files.program(machine=3, elf_class=1), "32-bit x86"),
                (elf_files.program(elf_class=1), "x32"),
                (elf_files.program(kind=1), "an object file"),
                (elf_files.program(kind=4), "a core dump"),
                (elf_files.program(load=False), "no program headers"),
                (elf_files.program()[:80], "outside the file")):
            self.host("bad", contents)
            self.assert_refused(126, text, "./bad")

    def test_a_missing_interpreter_is_named(self):
        self.host("dynamic", elf_files.program(interpreter=b"/lib64/ld-linux-x86-64.so.2"))
        self.assert_refused(126, "/lib64/ld-linux-x86-64.so.2", "./dynamic")
        self.host("on-path/ls", elf_files.program(interpreter=b"/lib64/ld.so"))
        self.assert_refused(126, "busybox ls", "ls")
        self.host("script", b"#!/usr/bin/perl -w\n")
        self.assert_refused(126, "/usr/bin/perl", "./script")

    def test_an_interpreter_in_the_image_is_enough(self):
        self.tree.put_file("lib64/ld.so", elf_files.program(kind=3), 0o755)
        self.host("dynamic", elf_files.program(interpreter=b"/lib64/ld.so"))
        self.assertEqual(self.find("./dynamic").path_in_image, b"/dynamic")
        self.host("script", b"#! /bin/ls -x\necho\n")
        self.assertEqual(self.find("./script").path_in_image, b"/script")

    def test_scripts_of_scripts_end(self):
        self.host("loop", b"#!/loop\n")
        self.assert_refused(126, "too many scripts", "./loop")


class LoadablePartTest(unittest.TestCase):
    def test_symbols_are_left_out(self):
        whole = elf_files.program(tail=b"symbols" * 1000)
        part = elf.loadable_part(whole)
        self.assertLess(len(part), 300)
        self.assertEqual(elf.inspect(part), elf.inspect(whole))
        self.assertEqual(part[40:48], bytes(8))

    def test_what_is_no_program_stays_as_it_is(self):
        for contents in (b"", b"text", b"\x7fELF", elf_files.program()[:90]):
            self.assertEqual(elf.loadable_part(contents), contents)


if __name__ == "__main__":
    unittest.main()
