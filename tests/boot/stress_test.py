"""The programs of tests/guest/stress that judge themselves: on the kernel with all checks.

HOLSTEIN_FAILURE_STRIDE (usually 5) says which allocations fail: 1 is every single one.
HOLSTEIN_SOAK_SECONDS (usually 6) says how long the storm lasts.
"""

import os
import unittest

from tests.boot.boot_files import boot_files, real_path
from tools.guest import Outcome
from tools.runner import RunRequest, run_guest

_SHOWN = 4000
_BOOT_SECONDS = float(os.environ.get("HOLSTEIN_STRESS_TIMEOUT", "280"))


class StressTest(unittest.TestCase):
    def run_programs(self, commands: list[str], memory_mib: int) -> str:
        """Runs programs of tests/guest/stress one after the other; returns what they print."""
        programs = [command.split()[0] for command in commands]
        result = run_guest(RunRequest(
            boot_files(),
            ["/bin/busybox", "sh", "-c", " && ".join(f"/{command}" for command in commands)],
            with_files=[(real_path(f"tests/guest/stress/{program}"), f"/{program}")
                        for program in programs],
            memory_bytes=memory_mib << 20, timeout_seconds=_BOOT_SECONDS))
        shown = "\n".join(data[-_SHOWN:].decode("utf-8", "replace")
                          for data in (result.stdout, result.stderr, result.log))
        print(result.stdout.decode("utf-8", "replace"), flush=True)
        self.assertEqual((result.outcome, result.exit_status), (Outcome.EXITED, 0),
                         f"{result.message}\n{shown}")
        return result.stdout.decode()

    @unittest.skipUnless(os.environ["HOLSTEIN_STRESS"] == "allocation_failure", "another target")
    def test_allocations_fail_in_turn(self):
        stride = os.environ.get("HOLSTEIN_FAILURE_STRIDE", "5")
        output = self.run_programs([f"allocation_failure --stride {stride}"], 128)
        self.assertTrue(output.endswith("0 found\n"), output)

    @unittest.skipUnless(os.environ["HOLSTEIN_STRESS"] == "vm_soak", "another target")
    def test_strict_overcommit_counts_exactly_and_nothing_is_lost_in_a_storm(self):
        seconds = os.environ.get("HOLSTEIN_SOAK_SECONDS", "6")
        output = self.run_programs(["overcommit", f"vm_soak {seconds}"], 96)
        self.assertRegex(output, r"(?m)^0 wrong$")
        self.assertIn("checked to the page and object", output)


if __name__ == "__main__":
    unittest.main()
