"""Some batches of random system calls: the kernel survives them with its invariants intact."""

import unittest

from tests.boot.boot_files import boot_files, real_path
from tools.guest import Outcome
from tools.runner import RunRequest, run_guest
from tools.syscall_fuzzer import Slice, run_slice

_SEED = 20
_BATCHES = 60
_SECONDS = 40
_FETCH_TWICE = r"""
end=$(sed -n 's/^[0-9a-f]*-\([0-9a-f]*\) .*\[stack\]$/\1/p' /proc/$$/maps)
echo $((0x$end - 64)) > /proc/holstein/double_fetch
cat /proc/holstein/double_fetch
"""


class SyscallFuzzerTest(unittest.TestCase):
    def test_batches_end_in_order(self):
        part = run_slice(boot_files(), real_path("fuzz/syscalls/syscalls"),
                         real_path("kernel/syscalls/system_calls.txt"), _SEED, 0, _BATCHES, _SECONDS)
        output = part.result.stdout.decode("utf-8", "replace")
        self.assertFalse(part.failed, f"{part.result.message}\n{part.result.double_fetches}\n"
                         f"{output[-500:]}")
        self.assertTrue(part.result.powered_off)
        print(output.splitlines()[-1], flush=True)
        # It did what it is for.
        self.assertGreater(part.calls, 1000)
        self.assertGreater(part.good, part.calls // 10)
        self.assertGreater(part.processes, 50)
        self.assertGreater(part.kinds, 80)

    def test_a_double_fetch_fails_a_run(self):
        # A file of the debug kernel that reads a word of its caller's stack twice.
        result = run_guest(RunRequest(boot_files(), ["busybox", "sh", "-c", _FETCH_TWICE],
                                      timeout_seconds=100))
        part = Slice(result, 0, 0, 0, 0, 0)
        self.assertEqual((result.outcome, result.exit_status), (Outcome.EXITED, 0), result.message)
        self.assertEqual(len(result.double_fetches), 1, result.double_fetches)
        self.assertIn("4 bytes at", result.double_fetches[0])
        self.assertEqual(result.stdout, b"1\n")
        self.assertTrue(part.failed)


if __name__ == "__main__":
    unittest.main()
