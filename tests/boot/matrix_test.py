"""Every system call with every kind of pointer does on Holstein what it does on Linux.

tests/guest/matrix runs in both with the kernel's own table of system calls. What differs must stand,
with its reason, in matrix_differences.txt.
"""

import dataclasses
import fnmatch
import os
import re
import subprocess
import unittest

from tests.boot.boot_files import boot_files, kernel_name, real_path
from tools.guest import Outcome
from tools.runner import RunRequest, run_guest

_PROGRAM = "tests/guest/matrix/matrix"
_TABLE = "kernel/syscalls/system_calls.txt"
_DIFFERENCES = "tests/boot/matrix_differences.txt"
_TIMEOUT_SECONDS = 280
_SHOWN = 60
# Whatever the call: the bytes around an object and the parent's memory are nobody else's.
_NEVER = re.compile(r"OVERRUN|LEAKS|MISFIT|dies of signal")


@dataclasses.dataclass(frozen=True)
class Rule:
    """One line of matrix_differences.txt."""
    text: str
    case: str
    linux: str
    holstein: str

    def covers(self, case: str, linux: str, holstein: str) -> bool:
        return (fnmatch.fnmatchcase(case, self.case) and fnmatch.fnmatchcase(linux, self.linux)
                and fnmatch.fnmatchcase(holstein, self.holstein))


def parse_rules(text: str) -> list[Rule]:
    rules, has_reason = [], False
    for line in text.splitlines():
        if line.startswith("#") or not line:
            has_reason = bool(line)
            continue
        match = re.fullmatch(r"(.+): (.+) -> (.+)", line)
        if match is None or not (has_reason or rules):
            raise ValueError(f"no rule, or one without a reason: {line!r}")
        rules.append(Rule(line, *match.groups()))
    return rules


def parse_outcomes(output: str) -> dict[str, str]:
    return dict(line.rsplit(": ", 1) for line in output.splitlines() if ": " in line)


class MatrixTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # "N": only every Nth case, where the kernel is slow.
        share = os.environ.get("HOLSTEIN_MATRIX_SHARE", "1")
        linux = subprocess.run([real_path(_PROGRAM), real_path(_TABLE), share], check=False,
                               text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        cls.linux_output, cls.linux_status = linux.stdout, linux.returncode
        script = f"/matrix /system_calls.txt {share} || exit 1"
        if kernel_name() == "debug":
            script += "; echo 1 > /proc/holstein/check || exit 1"
        cls.result = run_guest(RunRequest(
            boot_files(), ["/bin/busybox", "sh", "-c", script],
            with_files=[(real_path(_PROGRAM), "/matrix"), (real_path(_TABLE), "/system_calls.txt")],
            timeout_seconds=_TIMEOUT_SECONDS))
        cls.guest_output = cls.result.stdout.decode("utf-8", "replace")
        cls.linux = parse_outcomes(cls.linux_output)
        cls.guest = parse_outcomes(cls.guest_output)
        with open(_DIFFERENCES, encoding="utf-8") as file:
            cls.rules = parse_rules(file.read())
        cls.is_whole = share == "1"
        print(f"kernel: {kernel_name()}; {len(cls.guest)} cases", flush=True)

    def test_it_ends_in_order_on_both(self):
        self.assertEqual((self.linux_status, self.linux_output[-4:]), (0, "END\n"))
        self.assertEqual((self.result.outcome, self.result.exit_status, self.result.powered_off),
                         (Outcome.EXITED, 0, True),
                         f"{self.result.message}\n{self.result.log[-3000:].decode(errors='replace')}")
        self.assertEqual(self.guest_output[-4:], "END\n")

    def test_both_ran_the_same_cases(self):
        self.assertGreater(len(self.linux), 1000)
        self.assertEqual(list(self.linux), list(self.guest))

    def test_nothing_is_written_that_is_not_the_objects(self):
        for name, output in (("Linux", self.linux_output), ("Holstein", self.guest_output)):
            self.assertEqual([line for line in output.splitlines() if _NEVER.search(line)], [], name)

    def test_no_kernel_address_or_freed_memory_comes_out(self):
        self.assertEqual([line for line in self.guest_output.splitlines()
                          if line.startswith("KERNEL WORD")], [])

    def test_outcomes_are_those_of_linux(self):
        unlisted = []
        used = set()
        for case, linux in self.linux.items():
            holstein = self.guest.get(case, "did not run")
            if linux == holstein:
                continue
            rules = [rule for rule in self.rules if rule.covers(case, linux, holstein)]
            used.update(rules)
            if not rules:
                unlisted.append(f"{case}: {linux} -> {holstein}")
        shown = "\n".join(unlisted[:_SHOWN])
        self.assertEqual(len(unlisted), 0, f"not in matrix_differences.txt:\n{shown}")
        if self.is_whole:
            self.assertEqual([rule.text for rule in self.rules if rule not in used], [],
                             "these differences are no more")

    def test_the_kernel_fetched_nothing_twice(self):
        self.assertEqual(self.result.double_fetches, [])


if __name__ == "__main__":
    unittest.main()
