"""Does the picture say what the report says, fit a page, and come with the right status?"""

import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

from tools import cli, fork_layout, fork_picture, fork_report, page_tables, pagetables_command
from tools.errors import CommandError
from tools.fork_report import Moment, Report, View
from tools.tests.page_tables_test import EXAMPLE

_SVG = "{http://www.w3.org/2000/svg}"


def words_of(svg: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter(_SVG + "text")]


def large_root(tables: int, first_frame: int, shared_frame: int | None,
               split: set[int] = frozenset()) -> page_tables.Table:
    """A process with `tables` full PTs; those in `split` are its own, the others shared where
    `shared_frame` says which frames they have."""
    lines = ["root frame 0x%x: 0 anonymous" % first_frame,
             "  000000000000-008000000000 PDPT frame 0x%x rw refs 1, 1 entries" % (first_frame + 1)]
    for index in range(tables):
        start = index << 21
        if index % 512 == 0:
            lines.append("    %012x-%012x PD frame 0x%x rw refs 1, 512 entries" %
                         (start, start + (1 << 30), first_frame + 2 + index))
        is_own = shared_frame is None or index in split
        frame = first_frame + 100000 + index if is_own else shared_frame + index
        lines.append("      %012x-%012x PT frame 0x%x %s, 512 entries" %
                     (start, start + (1 << 21), frame,
                      "rw refs 1" if is_own else "r- refs 2 copy-on-write"))
        lines.append("        %012x-%012x rw- anonymous 512 pages, refs 1" %
                     (start, start + (1 << 21)))
    return page_tables.parse("\n".join(lines))


def report_of(parent: page_tables.Table, child: page_tables.Table) -> Report:
    return Report([Moment("before", View(3, "", parent, []), None),
                   Moment("after", View(3, "", parent, []), View(4, "", child, [])),
                   Moment("apart", View(3, "", parent, []), View(4, "", child, []), "parent",
                          "exec")], 0)


class PictureTest(unittest.TestCase):
    def test_the_example(self):
        svg = fork_picture.draw(fork_report.parse(EXAMPLE), ["a&b", "<c>"], 1)
        words = words_of(svg)  # it is XML
        self.assertIn("Page tables around fork 1 of: 'a&b' '<c>'", words)
        for heading in ("1  Just before the fork", "2  Right after the fork",
                        "3  When the child is about to exit"):
            self.assertIn(heading, words)
        self.assertIn("the child has 1 table of its own: 4 KiB", words)
        self.assertIn("the child has 10 tables of its own: 40 KiB", words)
        for number in ("2,100", "2,101", "2,094"):
            self.assertIn(number, words)
        # Shared tables are drawn once: two of the second panel, four of the third have two owners.
        self.assertEqual(words.count("refs 2"), 2 + 4)
        self.assertEqual(words.count("… 2 like it"), 2)
        self.assertIn("[heap]", words)
        self.assertLess(len(svg), 60 * 1024)

    def test_it_is_the_same_each_time(self):
        report = fork_report.parse(EXAMPLE)
        self.assertEqual(fork_picture.draw(report, ["x"], 1), fork_picture.draw(report, ["x"], 1))

    def test_large_processes_fit_a_page(self):
        everything = set(range(4096))
        for split in (set(), {7}, {0, 511, 512, 4095}, set(range(0, 4096, 2)), everything):
            parent = large_root(4096, 0x1000, 0x900000, split)
            child = large_root(4096, 0x400000, 0x900000, split)
            svg = fork_picture.draw(report_of(parent, child), ["big"], 1)
            box = ElementTree.fromstring(svg).attrib["viewBox"].split()
            self.assertLess(float(box[3]) / float(box[2]), 0.75)
            self.assertLess(len(svg), 100 * 1024)
            self.assertTrue(any(word.startswith("… ") for word in words_of(svg)))

    def test_nothing_is_drawn_below_its_panel_or_on_top_of_another_table(self):
        for split in (set(), {7, 8, 9}, {0, 100, 511}):
            parent = large_root(512, 0x1000, 0x900000, split)
            child = large_root(512, 0x400000, 0x900000, split)
            svg = ElementTree.fromstring(fork_picture.draw(report_of(parent, child), ["x"], 1))
            height = float(svg.attrib["viewBox"].split()[3])
            boxes = [tuple(float(element.attrib[name]) for name in ("x", "y", "width", "height"))
                     for element in svg.iter(_SVG + "rect")
                     if element.attrib.get("rx") == "4" and element.attrib["width"] == "100"]
            self.assertGreater(len(boxes), 12)
            for index, (x, y, width, tall) in enumerate(boxes):
                self.assertLess(y + tall, height - 150)
                for other_x, other_y, other_width, other_tall in boxes[:index]:
                    self.assertFalse(x < other_x + other_width and other_x < x + width and
                                     y < other_y + other_tall and other_y < y + tall)

    def test_a_missing_third_moment_is_said(self):
        report = fork_report.parse(EXAMPLE)
        report.moments.pop()
        self.assertIn("No third moment: a process was killed before.",
                      words_of(fork_picture.draw(report, ["x"], 1)))

    def test_large_pages_and_empty_processes(self):
        text = ("root frame 0x1:\n  000000000000-008000000000 PDPT frame 0x2 rw refs 1, 1 entries\n"
                "    000000000000-000040000000 PD frame 0x3 rw refs 1, 2 entries\n"
                "      000000400000-000000800000 rw- anonymous 2 pages of 2 MiB, refs 1\n")
        large = page_tables.parse(text)
        empty = page_tables.parse("root frame 0x9:")
        words = words_of(fork_picture.draw(report_of(large, empty), ["x"], 1))
        self.assertIn("1,024", words)  # pages of 4 KiB
        self.assertIn("2", words)  # as two of 2 MiB

    def test_rows_are_counted_as_they_are_placed(self):
        for split in (set(), {3}, {3, 4, 5}, set(range(512))):
            root = fork_layout.combine(large_root(512, 0x1000, 0x900000, split),
                                       large_root(512, 0x400000, 0x900000, split))
            self.assertLessEqual(fork_layout.count_rows(root), 15)


class CommandTest(unittest.TestCase):
    def finish(self, report: Report, status: int = 0, nth: int = 1, output: str | None = None):
        """Status, standard output, standard error."""
        said: list[str] = []
        with contextlib.redirect_stdout(io.StringIO()) as out, \
                mock.patch("tools.standard_streams.say", said.append):
            result = pagetables_command.finish(report, status, nth, ["prog", "x"], output)
        return result, out.getvalue(), "\n".join(said)

    def test_a_picture(self):
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "fork.svg")
            status, out, said = self.finish(fork_report.parse(EXAMPLE), output=name)
            self.assertEqual((status, out), (0, ""))
            self.assertEqual(said, f"holstein: the picture is in {name}")
            self.assertIn("Page tables around fork 1 of: prog x",
                          words_of(Path(name).read_text(encoding="utf-8")))

    def test_a_picture_on_standard_output(self):
        status, out, said = self.finish(fork_report.parse(EXAMPLE), output="-")
        self.assertEqual((status, said), (0, ""))
        self.assertTrue(out.startswith("<svg "))

    def test_text(self):
        status, out, said = self.finish(fork_report.parse(EXAMPLE))
        self.assertEqual((status, said), (0, ""))
        self.assertEqual(out.count("root frame"), 5)
        self.assertIn("=== right after the fork ===\n--- parent 3: 14 tables, 1 of its own "
                      "(4096 bytes), 13 shared; 2100 pages, 2100 shared ---\nroot frame", out)

    def test_a_program_that_does_not_fork(self):
        self.assertEqual(self.finish(Report([], 0)),
                         (1, "", "holstein: prog: ended and did not fork"))
        self.assertEqual(self.finish(Report([], 0), nth=3),
                         (1, "", "holstein: prog: ended and did not fork 3 times"))
        # The run's own message has been printed.
        self.assertEqual(self.finish(Report([]), status=124), (124, "", ""))

    def test_a_timeout_after_the_fork(self):
        report = fork_report.parse(EXAMPLE)
        report.moments.pop()
        status, out, said = self.finish(report, status=124)
        self.assertEqual((status, said), (124, "holstein: the third moment was not reached"))
        self.assertEqual(out.count("root frame"), 3)

    def test_a_program_that_does_not_start(self):
        for number, status in ((2, 127), (13, 126), (8, 126)):
            with self.assertRaises(CommandError) as caught:
                self.finish(Report([], error=(number, "/prog")), status=1)
            self.assertEqual(caught.exception.status, status)
            self.assertIn("/prog: ", str(caught.exception))

    def test_a_file_that_cannot_be_written(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(CommandError) as caught:
                self.finish(fork_report.parse(EXAMPLE), output=f"{folder}/none/x.svg")
        self.assertEqual(caught.exception.status, 2)


class OptionsTest(unittest.TestCase):
    def run_main(self, *words: str) -> tuple[int, list[str]]:
        said: list[str] = []
        with mock.patch("tools.standard_streams.say", said.append):
            return cli.main(["pagetables", *words]), said

    def test_wrong_usage_is_found_before_anything_is_built(self):
        with mock.patch("tools.build.build_with_fork_report") as build, \
                mock.patch("tools.packages.ensure"):
            for words in ([], ["--fork", "0", "x"], ["--fork", "-1", "x"], ["--fork", "x", "x"],
                          ["--fork", "1000001", "x"], ["--text", "-o", "f", "x"],
                          ["-o", "/", "x"], ["-o", "/no/such/x.svg", "x"], ["--mem", "1K", "x"],
                          ["--output"], ["--unknown", "x"]):
                status, said = self.run_main(*words)
                self.assertEqual((status, len(said)), (2, 1), words)
            build.assert_not_called()

    def test_what_reaches_the_run(self):
        for words, expected in (
                (["/bin/prog", "-o", "x"], (1, "prog-pagetables.svg")),
                (["--fork", "7", "-o", "f.svg", "prog", "--text"], (7, "f.svg")),
                (["--fork=2", "--text", "--", "prog"], (2, None)),
                (["-o", "-", "prog"], (1, "-"))):
            with mock.patch("tools.build.build_with_fork_report", return_value=(None, None)), \
                    mock.patch("tools.packages.ensure"), \
                    mock.patch("tools.pagetables_command.run_built", return_value=0) as run:
                self.assertEqual(self.run_main(*words)[0], 0)
            options, program, output = run.call_args.args[:3]
            self.assertEqual((options.fork, output), expected)
            self.assertTrue(program[0].endswith("prog"))


if __name__ == "__main__":
    unittest.main()
