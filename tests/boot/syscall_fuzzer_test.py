"""Some batches of random system calls: the kernel survives them with its invariants intact."""

import unittest

from tests.boot.boot_files import boot_files, real_path
from tools.syscall_fuzzer import run_slice

_SEED = 20
_BATCHES = 60
_SECONDS = 40


class SyscallFuzzerTest(unittest.TestCase):
    def test_batches_end_in_order(self):
        part = run_slice(boot_files(), real_path("fuzz/syscalls/syscalls"),
                         real_path("kernel/syscalls/system_calls.txt"), _SEED, 0, _BATCHES, _SECONDS)
        output = part.result.stdout.decode("utf-8", "replace")
        self.assertFalse(part.failed, f"{part.result.message}\n{output[-500:]}")
        self.assertTrue(part.result.powered_off)
        print(output.splitlines()[-1], flush=True)
        # It did what it is for.
        self.assertGreater(part.calls, 1000)
        self.assertGreater(part.good, part.calls // 10)
        self.assertGreater(part.processes, 50)
        self.assertGreater(part.kinds, 80)


if __name__ == "__main__":
    unittest.main()
