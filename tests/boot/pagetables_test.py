"""Does `./holstein pagetables` show what DESIGN.md promises of fork, and does a fork that somebody
looks at do what it does otherwise?"""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

from tests.boot.boot_files import boot_files, real_path
from tools import cli, fork_report, page_tables, pagetables_command
from tools.fork_report import Report
from tools.guest import Outcome
from tools.page_tables import Figures
from tools.runner import RunRequest, run_guest

_REPORTER = "tools/inside/fork-report"
_TOUCH = "tests/guest/fork_watch/touch_and_fork"
_TESTS = "tests/guest/fork_watch/fork_watch_tests"
_TIMEOUT_SECONDS = 200
_SHOWN = 4000

# Runs of fork-report that share a boot: name, number of the fork, program.
_RUNS = {
    "gigabyte": (1, ["/touch_and_fork", "1024"]),
    "huge": (1, ["/touch_and_fork", "64", "huge"]),
    "mebibyte": (1, ["/touch_and_fork", "1"]),
    "shell": (1, ["/bin/busybox", "sh", "-c", "true & wait"]),
    "second": (2, ["/bin/busybox", "sh", "-c", "(exit 1); (exit 2); (exit 3); exit 7"]),
    "pipeline": (1, ["/bin/busybox", "sh", "-c", "busybox echo a | busybox cat"]),
    "no_fork": (1, ["/bin/busybox", "true"]),
    "too_few": (3, ["/bin/busybox", "sh", "-c", "(exit 1); (exit 2)"]),
    "killed": (1, ["/bin/busybox", "sh", "-c", "(kill -KILL $$; sleep 5); exit 1"]),
    "missing": (1, ["/no/such/program"]),
}


def _options(*words: str):
    before, program = cli.split_program(list(words), cli._add_page_table_options)
    return cli.make_parser().parse_args(["pagetables", *before]), program


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        steps = []
        for name, (nth, program) in _RUNS.items():
            quoted = " ".join(f"'{word}'" for word in [program[0], *program])
            steps.append(f"/fork-report {nth} {quoted} > /tmp/{name} 2>/tmp/error; "
                         f"echo {name} $(wc -c < /tmp/{name}); cat /tmp/{name}")
        result = run_guest(RunRequest(
            boot_files(), ["/bin/busybox", "sh", "-c", "; ".join(steps)],
            with_files=[(real_path(_REPORTER), "/fork-report"),
                        (real_path(_TOUCH), "/touch_and_fork")],
            timeout_seconds=_TIMEOUT_SECONDS))
        if result.outcome is not Outcome.EXITED:
            raise AssertionError(f"{result.message}\n{result.log[-_SHOWN:].decode()}")
        cls.reports = {}
        rest = result.stdout
        for name in _RUNS:
            head, _, rest = rest.partition(b"\n")
            if head.split()[0].decode() != name:
                raise AssertionError(f"expected the report {name}, found {head!r}")
            size = int(head.split()[1])
            cls.reports[name] = fork_report.parse(rest[:size])
            rest = rest[size:]

    def figures(self, name: str) -> list[tuple[Figures, Figures]]:
        """Parent's and child's, right after the fork and when they part."""
        report: Report = self.reports[name]
        self.assertEqual([moment.name for moment in report.moments], list(fork_report.MOMENTS))
        return [(page_tables.figures(moment.parent.root, moment.child.root),
                 page_tables.figures(moment.child.root, moment.parent.root))
                for moment in report.moments[1:]]

    def test_a_fresh_child_owns_its_root_and_nothing_else(self):
        for name in ("gigabyte", "huge", "mebibyte", "shell", "second", "pipeline"):
            before = page_tables.figures(self.reports[name].moments[0].parent.root, None)
            self.assertEqual(before.own_tables, before.tables)
            for figures in self.figures(name)[0]:
                self.assertEqual((figures.own_tables, figures.tables), (1, before.tables), name)
                self.assertEqual((figures.pages, figures.shared_pages),
                                 (before.pages, before.pages), name)

    def test_the_size_of_the_process_makes_no_difference(self):
        large, small = self.figures("gigabyte"), self.figures("mebibyte")
        self.assertGreaterEqual(large[0][0].pages, 1 << 18)
        self.assertLess(small[0][0].pages, 1000)
        # What a few writes copied: the paths to a few pages, of all that there is.
        for _, child in (large[1], small[1]):
            self.assertLessEqual(child.own_tables, 16)
            self.assertGreater(child.own_tables, 3)
        self.assertLess(large[1][1].pages - large[1][1].shared_pages, 20)

    def test_large_pages_are_shared_like_tables(self):
        before, after, apart = self.reports["huge"].moments
        runs = [run for run in after.child.root.all_runs() if run.is_huge]
        self.assertGreaterEqual(sum(run.leaves for run in runs), 31)
        self.assertEqual([run.pages for run in runs],
                         [run.pages for run in before.parent.root.all_runs() if run.is_huge])
        # Each side wrote into the middle: that one page of 2 MiB has been split, by both.
        for view, (figures, _) in ((apart.parent, self.figures("huge")[1]),
                                   (apart.child, self.figures("huge")[1][::-1])):
            split = sum(run.leaves for run in view.root.all_runs() if run.is_huge)
            self.assertEqual(split, sum(run.leaves for run in runs) - 1)
            self.assertLess(figures.pages - figures.shared_pages, 20)

    def test_who_parts_first(self):
        last = self.reports["shell"].moments[2]
        self.assertEqual((last.who, last.how), ("child", "exit"))
        last = self.reports["pipeline"].moments[2]
        self.assertEqual((last.who, last.how), ("child", "exec"))

    def test_the_program_does_what_it_does_otherwise(self):
        for name, status in (("gigabyte", 0), ("huge", 0), ("shell", 0), ("second", 7 << 8), ("no_fork", 0),
                             ("too_few", 2 << 8), ("killed", 9)):
            self.assertEqual(self.reports[name].wait_status, status, name)

    def test_programs_without_that_fork(self):
        for name in ("no_fork", "too_few", "missing"):
            self.assertEqual(self.reports[name].moments, [], name)
        self.assertEqual(self.reports["missing"].error, (2, "/no/such/program"))

    def test_a_parent_that_is_killed_by_its_child(self):
        moments = self.reports["killed"].moments
        self.assertTrue(self.reports["killed"].has_fork)
        self.assertTrue(all(moment.is_complete for moment in moments[:2]))


class CommandTest(unittest.TestCase):
    def test_the_command_with_a_guest_of_its_own(self):
        with tempfile.TemporaryDirectory() as folder:
            picture = os.path.join(folder, "fork.svg")
            options, program = _options("-o", picture, f"--timeout={_TIMEOUT_SECONDS}", "busybox",
                                        "sh", "-c", "echo hidden; true & wait; exit 5")
            said: list[str] = []
            with mock.patch("tools.standard_streams.say", said.append):
                status = pagetables_command.run_built(options, program, picture, boot_files(),
                                                      Path(real_path(_REPORTER)))
            self.assertEqual((status, said), (0, [f"holstein: the picture is in {picture}"]))
            words = [element.text for element in ElementTree.parse(picture).getroot().iter(
                "{http://www.w3.org/2000/svg}text")]
        self.assertIn("2  Right after the fork", words)
        self.assertIn("the child has 1 table of its own: 4 KiB", words)
        self.assertIn("3  When the child is about to exit", words)


class ForkWatchTest(unittest.TestCase):
    def test_the_tests_of_the_kernels_side(self):
        result = run_guest(RunRequest(
            boot_files(), ["/fork_watch_tests", "--gtest_color=no"],
            with_files=[(real_path(_TESTS), "/fork_watch_tests")],
            timeout_seconds=_TIMEOUT_SECONDS))
        output = (result.stdout + result.stderr).decode("utf-8", "replace")
        print(output, flush=True)
        self.assertEqual((result.outcome, result.exit_status), (Outcome.EXITED, 0),
                         f"{result.message}\n{output[-_SHOWN:]}\n"
                         f"{result.log[-_SHOWN:].decode('utf-8', 'replace')}")
        self.assertIn("[  PASSED  ]", output)


if __name__ == "__main__":
    unittest.main()
