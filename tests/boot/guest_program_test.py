"""The guest's GoogleTest program passes on Linux and on Holstein, each of its tests.

Each suite is a process of its own: one that dies takes no other with it.
"""

import os
import re
import subprocess
import unittest

from tests.boot.boot_files import boot_files, kernel_name, real_path
from tools.guest import Outcome
from tools.runner import RunRequest, run_guest

_PROGRAM = "tests/guest/guest_tests"
_IN_GUEST = "/guest_tests"
_RUN = re.compile(r"^\[ RUN      \] (\S+)$", re.MULTILINE)
_END = re.compile(r"^\[ +(OK|FAILED|SKIPPED) +\] (\S+) \((\d+) ms\)$", re.MULTILINE)
_SHOWN = 3000
_TIMEOUT_SECONDS = 280
_PTI = os.environ.get("HOLSTEIN_PTI", "off")


def _list_tests() -> list[str]:
    """All tests of the program, as it names them itself."""
    listing = subprocess.run([real_path(_PROGRAM), "--gtest_list_tests"], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    tests, suite = [], ""
    for line in listing.splitlines():
        name = line.split("#")[0].rstrip()
        if line.startswith("  "):
            tests.append(suite + name.strip())
        elif name.endswith("."):
            suite = name
    return tests


_TESTS = _list_tests()
_SUITES = list(dict.fromkeys(name.split(".")[0] for name in _TESTS))


def _driver(program: str) -> list[str]:
    runs = "; ".join(f"{program} --gtest_color=no '--gtest_filter={suite}.*' 2>&1 || status=1"
                     for suite in _SUITES)
    return ["/bin/busybox", "sh", "-c", f"status=0; {runs}; exit $status"]


class _Outcomes:
    """What a run of the program printed, by test."""

    def __init__(self, output: str) -> None:
        self.words = {}
        self.milliseconds = {}
        for match in _END.finditer(output):
            self.words[match[2]], self.milliseconds[match[2]] = match[1], int(match[3])
        starts = list(_RUN.finditer(output))
        ends = [match.start() for match in starts[1:]] + [len(output)]
        self.texts = {match[1]: output[match.start():end] for match, end in zip(starts, ends)}

    def of(self, name: str) -> str:
        if name in self.words:
            return self.words[name]
        return "did not end" if name in self.texts else "did not begin"


class GuestProgramTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        linux = subprocess.run(_driver(real_path(_PROGRAM)), text=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, check=False, errors="replace")
        cls.linux, cls.linux_status = _Outcomes(linux.stdout), linux.returncode
        cls.result = run_guest(RunRequest(
            boot_files(), _driver(_IN_GUEST), with_files=[(real_path(_PROGRAM), _IN_GUEST)],
            append=f"pti={_PTI}", timeout_seconds=_TIMEOUT_SECONDS))
        cls.guest = _Outcomes(cls.result.stdout.decode("utf-8", "replace"))
        slowest = sorted(cls.guest.milliseconds.items(), key=lambda item: -item[1])[:10]
        print(f"kernel: {kernel_name()}; slowest: " +
              ", ".join(f"{name} {time / 1000:.1f} s" for name, time in slowest), flush=True)

    def check(self, name: str) -> None:
        linux, guest = self.linux.of(name), self.guest.of(name)
        self.assertIn(linux, ("OK", "SKIPPED"),
                      f"on Linux:\n{self.linux.texts.get(name, '')[-_SHOWN:]}")
        if guest != linux:
            self.fail(f"{guest} on Holstein, {linux} on Linux; the run: "
                      f"{self.result.outcome.name}\n{self.guest.texts.get(name, '')[-_SHOWN:]}")

    def test_the_kernel_says_how_page_tables_are(self):
        state = {"on": "enabled", "off": "disabled"}[_PTI]
        self.assertIn(f"Kernel/User page tables isolation: {state} (pti={_PTI};".encode(),
                      self.result.log)

    def test_the_program_ends_in_order_on_both(self):
        self.assertEqual(self.linux_status, 0)
        self.assertEqual((self.result.outcome, self.result.exit_status, self.result.powered_off),
                         (Outcome.EXITED, 0, True),
                         f"{self.result.message}\n{self.result.log[-_SHOWN:].decode('utf-8', 'replace')}")

    def test_the_kernel_fetched_nothing_twice(self):
        self.assertEqual(self.result.double_fetches, [])


def _add_tests() -> None:
    for name in _TESTS:
        def test(self, name=name):
            self.check(name)
        setattr(GuestProgramTest, "test_" + re.sub(r"\W", "_", name), test)


_add_tests()
