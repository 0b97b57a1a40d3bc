"""Is the text of /proc/PID/pagetables understood, and counted right?

The example is what the kernel wrote of tests/guest/fork_watch/touch_and_fork 8.
"""

import unittest
from pathlib import Path

from tools import fork_report, page_tables
from tools.fork_report import AFTER, APART, BEFORE, ReportError

EXAMPLE = (Path(__file__).absolute().parent / "data/touch_and_fork.report").read_bytes()

_HEAD = "root frame 0x1000: 0 anonymous pages, 0 file pages, 0 tables below\n"
_PDPT = "  000000000000-008000000000 PDPT frame 0x2000 rw refs 1, 1 entries, 0 anonymous, 0 file\n"
_PD = "    000000000000-000040000000 PD frame 0x3000 r- refs 2 copy-on-write, 9 entries, 0 anonymous\n"
_PT = "      000000400000-000000600000 PT frame 0x4000 rw refs 1, 3 entries, 3 anonymous, 0 file\n"


class ParserTest(unittest.TestCase):
    def test_tables_and_runs_of_every_kind(self):
        root = page_tables.parse(
            _HEAD + _PDPT + _PD + _PT +
            "        000000400000-000000402000 r-x file 2 pages, refs 3 copy-on-write\n"
            "        000000402000-000000403000 rw- file 1 pages, refs 2 shared mapping\n"
            "        000000404000-000000405000 r-- zero 1 pages, refs 0 copy-on-write\n"
            "        000000405000-000000406000 --- anonymous 1 pages, refs 1\n"
            "      000000600000-000000a00000 rw- anonymous 2 MiB 2 pages, refs 1\n"
            "      000000c00000-000000e00000 rw- anonymous 1 pages of 2 MiB, refs 2 copy-on-write\n")
        pdpt, pd, pt = root.tables[0], root.tables[0].tables[0], root.tables[0].tables[0].tables[0]
        self.assertEqual([table.level for table in root.walk()], [4, 3, 2, 1])
        self.assertEqual((pdpt.frame, pdpt.refs, pdpt.is_writable, pdpt.is_cow),
                         (0x2000, 1, True, False))
        self.assertEqual((pd.refs, pd.is_writable, pd.is_cow, pd.entries), (2, False, True, 9))
        self.assertEqual([(run.kind, run.pages, run.rights) for run in pt.runs],
                         [("file", 2, "r-x"), ("file", 1, "rw-"), ("zero", 1, "r--"),
                          ("anonymous", 1, "---")])
        self.assertEqual([run.is_shared for run in pt.runs], [True, False, False, False])
        self.assertTrue(pt.runs[1].is_shared_mapping and not pt.runs[0].is_shared_mapping)
        self.assertEqual([(run.leaves, run.pages, run.is_huge, run.is_shared) for run in pd.runs],
                         [(2, 1024, True, False), (1, 512, True, True)])
        self.assertEqual(root.pages, 4 + 1024 + 512)  # the page of zeros is nobody's

    def test_what_is_no_page_table_text(self):
        for text in ("", "nonsense", "root\n", _HEAD + "nonsense\n", _HEAD + _PD,
                     _HEAD + _PDPT + "    000000400000-000000402000 r-x file 2 pages, refs 3\n"):
            with self.assertRaises(page_tables.FormatError, msg=text):
                page_tables.parse(text)

    def test_maps(self):
        regions = page_tables.parse_maps(
            "00400000-00401000 r--p 00000000 00:01 7      /bin/a file\n"
            "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \nnonsense\n"
            "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n")
        self.assertEqual([region.name for region in regions], ["a file", "", "[stack]"])
        self.assertEqual(regions[0].end, 0x401000)


class FiguresTest(unittest.TestCase):
    def test_a_table_below_a_shared_one_is_shared(self):
        root = page_tables.parse(_HEAD + _PDPT + _PD + _PT)
        self.assertEqual(page_tables.figures(root, None),
                         page_tables.Figures(4, 2, 0, 0))
        self.assertEqual(page_tables.figures(root, root).own_table_bytes, 8192)

    def test_pages_that_were_copied_are_not_shared(self):
        run = "        {:012x}-{:012x} rw- {} {} pages, refs {}\n"

        def pages(kind: str, count: int, refs: int, start: int = 0x400000) -> str:
            return run.format(start, start + 4096 * count, kind, count, refs)

        def shared(one: str, other: str) -> int:
            other_pt = _PT.replace("0x4000", "0x5000")
            return page_tables.figures(page_tables.parse(_HEAD + _PDPT + _PD.replace("3000", "6000")
                                                         + _PT + one),
                                       page_tables.parse(_HEAD.replace("1000", "7000") +
                                                         _PDPT.replace("2000", "8000") + _PD +
                                                         other_pt + other)).shared_pages

        self.assertEqual(shared(pages("anonymous", 8, 2), pages("anonymous", 8, 2)), 8)
        self.assertEqual(shared(pages("anonymous", 8, 1), pages("anonymous", 8, 1)), 0)
        self.assertEqual(shared(pages("anonymous", 8, 2), pages("anonymous", 3, 2)), 3)
        self.assertEqual(shared(pages("file", 8, 3), pages("anonymous", 8, 1)), 0)
        self.assertEqual(shared(pages("file", 8, 3), pages("file", 8, 3)), 8)
        self.assertEqual(shared(pages("zero", 8, 0), pages("zero", 8, 0)), 0)
        self.assertEqual(shared(pages("anonymous", 4, 2),
                                pages("anonymous", 4, 2, 0x410000)), 0)


    def test_large_pages_that_one_side_has_split(self):
        head = _HEAD + _PDPT
        pd = _PD.replace("r- refs 2 copy-on-write", "rw refs 1")
        huge = "      000000400000-000000800000 rw- anonymous 2 2 MiB pages, refs {}\n"
        split = (_PT + "        000000400000-0000005ff000 r-- anonymous 511 pages, refs 2 "
                 "copy-on-write\n        0000005ff000-000000600000 rw- anonymous 1 pages, refs 1\n"
                 "      000000600000-000000800000 r-- anonymous 1 2 MiB pages, refs 2 "
                 "copy-on-write\n")
        whole = ("      000000400000-000000600000 r-- anonymous 1 2 MiB pages, refs 1 copy-on-write\n"
                 "      000000600000-000000800000 r-- anonymous 1 2 MiB pages, refs 2 "
                 "copy-on-write\n")
        one = page_tables.parse(head + pd + split)
        other = page_tables.parse((head + pd).replace("0x", "0x5") + whole)
        self.assertEqual(page_tables.figures(one, other), page_tables.Figures(4, 4, 1024, 1023))
        self.assertEqual(page_tables.figures(other, one), page_tables.Figures(3, 3, 1024, 1023))
        alone = page_tables.parse((head + pd).replace("0x", "0x6") + huge.format(1))
        self.assertEqual(page_tables.figures(alone, other).shared_pages, 0)


class ReportTest(unittest.TestCase):
    def test_the_example(self):
        report = fork_report.parse(EXAMPLE)
        self.assertEqual([moment.name for moment in report.moments], [BEFORE, AFTER, APART])
        self.assertTrue(report.has_fork and all(moment.is_complete for moment in report.moments))
        self.assertEqual((report.wait_status, report.error), (0, None))
        before, after, apart = report.moments
        self.assertEqual((apart.who, apart.how), ("child", "exit"))
        first = page_tables.figures(before.parent.root, None)
        self.assertEqual((first.own_tables, first.pages), (first.tables, 2100))
        for one, other in ((after.parent, after.child), (after.child, after.parent)):
            figures = page_tables.figures(one.root, other.root)
            self.assertEqual((figures.own_tables, figures.tables, figures.pages,
                              figures.shared_pages), (1, first.tables, 2100, 2100))
        last = page_tables.figures(apart.child.root, apart.parent.root)
        self.assertEqual((last.tables, last.own_tables, last.pages, last.shared_pages),
                         (14, 10, 2101, 2094))
        self.assertIn("[stack]", [region.name for region in before.parent.regions])

    def test_a_report_that_breaks_off_anywhere(self):
        whole = fork_report.parse(EXAMPLE)
        for size in range(0, len(EXAMPLE), 37):
            report = fork_report.parse(EXAMPLE[:size])
            complete = [moment.name for moment in report.moments if moment.is_complete]
            self.assertEqual(complete, [BEFORE, AFTER, APART][:len(complete)])
        self.assertEqual(len(whole.moments), 3)
        self.assertFalse(fork_report.parse(b"").has_fork)

    def test_a_fork_that_was_begun_again(self):
        end = EXAMPLE.index(b"moment after")
        report = fork_report.parse(EXAMPLE[:end] + EXAMPLE)
        self.assertEqual([moment.name for moment in report.moments], [BEFORE, AFTER, APART])

    def test_a_process_that_was_killed(self):
        report = fork_report.parse(b"moment before 3\ntext parent pagetables 0\n"
                                   b"text parent maps 0\nstatus 9\n")
        self.assertFalse(report.moments[0].is_complete)
        self.assertEqual(report.wait_status, 9)

    def test_an_error(self):
        report = fork_report.parse(b"error 2 /no/such program\n")
        self.assertEqual((report.error, report.has_fork), ((2, "/no/such program"), False))

    def test_what_is_no_report(self):
        for data in (b"nonsense\n", b"\n", b"moment never 3\n", b"text parent maps 3\nabc",
                     b"moment before 3\ntext parent pagetables 9\nnonsense\n", b"status x\n",
                     b"moment before x\n", b"moment after 1 x\n"):
            with self.assertRaises(ReportError, msg=data):
                fork_report.parse(data)


if __name__ == "__main__":
    unittest.main()
