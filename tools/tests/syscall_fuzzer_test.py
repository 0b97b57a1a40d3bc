"""What `./holstein fuzz syscalls` says of boots that end well and of boots that do not."""

import argparse
import unittest
from unittest import mock

from tools import syscall_fuzzer
from tools.guest import Outcome
from tools.runner import RunResult

_OPTIONS = argparse.Namespace(seed=5, time=0.05, batch=3)


def _result(outcome: Outcome, status: int, stdout: str, message: str = "") -> RunResult:
    return RunResult(outcome=outcome, exit_status=status, message=message, stdout=stdout.encode())


_GOOD = _result(Outcome.EXITED, 0, "batch 3\nbatch 4\n"
                "END next 5 calls 90 good 30 processes 6 kinds 20 of 201\n")
_PANIC = _result(Outcome.PANICKED, 125, "batch 3\nbatch 17\n", "the guest's kernel panicked\nreport")


class SyscallFuzzerTest(unittest.TestCase):
    def run_with(self, *results: RunResult) -> tuple[int, str, list[list[str]]]:
        said, argvs = [], []
        pending = list(results)

        def run_guest(request):
            argvs.append(request.argv)
            return pending.pop(0) if len(pending) > 1 else pending[0]

        with mock.patch.object(syscall_fuzzer.build, "build"), \
                mock.patch.object(syscall_fuzzer.build, "build_programs",
                                  return_value=["program", "table"]), \
                mock.patch.object(syscall_fuzzer, "run_guest", run_guest), \
                mock.patch.object(syscall_fuzzer.standard_streams, "say", said.append):
            return syscall_fuzzer.run(_OPTIONS), "\n".join(said), argvs

    def test_a_run_that_finds_nothing_goes_on_where_the_last_boot_ended(self):
        status, said, argvs = self.run_with(_GOOD)
        self.assertEqual(status, 0)
        self.assertEqual(argvs[0][2:4], ["5", "3"])
        if len(argvs) > 1:
            self.assertEqual(argvs[1][2:4], ["5", "5"])
        self.assertIn("nothing found", said)
        self.assertIn("33 % of the last calls and 20 kinds", said)

    def test_a_panic_is_reported_with_seed_batch_and_last_calls(self):
        again = _result(Outcome.PANICKED, 125, "batch 17\n2 mmap(0x1)\n2 fork()\n", "again")
        status, said, argvs = self.run_with(_PANIC, again)
        self.assertEqual(status, 1)
        self.assertEqual(argvs[1][2:], ["5", "17", "1", "60", "trace"])
        self.assertIn("seed 5, batch 17: the guest's kernel panicked\nreport", said)
        self.assertIn("2 mmap(0x1)\n2 fork()", said)
        self.assertIn("./holstein fuzz syscalls --seed 5 --batch 17", said)

    def test_what_needs_the_batches_before_is_said_to(self):
        status, said, _ = self.run_with(_PANIC, _GOOD)
        self.assertEqual(status, 1)
        self.assertIn("batch 17 by itself goes well", said)
        self.assertIn("./holstein fuzz syscalls --seed 5 --batch 3", said)

    def test_a_fuzzer_that_complains_is_a_finding(self):
        stuck = _result(Outcome.EXITED, 1, "batch 3\nFAILED processes that cannot be killed\n")
        status, said, _ = self.run_with(stuck)
        self.assertEqual(status, 1)
        self.assertIn("FAILED processes that cannot be killed", said)


if __name__ == "__main__":
    unittest.main()
