"""Random programs of memory operations give the same on Holstein as on Linux, operation by operation.

Both run tests/guest/stress/vm_trace with the same seeds. A difference is made small: operations are
left out as long as a difference stays, and the shortest program is printed with its seed.

HOLSTEIN_TRACE_SEEDS ("1-500") and HOLSTEIN_TRACE_OPERATIONS choose others than the usual.
"""

import os
import subprocess
import time
import unittest

from tests.boot.boot_files import boot_files, real_path
from tools.runner import RunRequest, run_guest

_PROGRAM = "tests/guest/stress/vm_trace"
_IN_GUEST = "/vm_trace"
_BOOT_SECONDS = 250
_SHRINK_SECONDS = 120
_CANDIDATES_A_BOOT = 24
_CONTEXT_LINES = 5


def _seeds() -> list[int]:
    first, _, last = os.environ.get("HOLSTEIN_TRACE_SEEDS", "1-12").partition("-")
    return list(range(int(first), int(last or first) + 1))


_OPERATIONS = int(os.environ.get("HOLSTEIN_TRACE_OPERATIONS", "400"))


def ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 7] as the program takes it: "0-2,7"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{first}-{last}" for first, last in parts)


def on_linux(arguments: list[str]) -> list[str]:
    run = subprocess.run([real_path(_PROGRAM), *arguments], stdout=subprocess.PIPE, check=False,
                         stdin=subprocess.DEVNULL, timeout=60)
    return [*run.stdout.decode().splitlines(), f"status {run.returncode}"]


def in_guest(runs: list[list[str]]) -> tuple[list[list[str]], str]:
    """What each run printed, all in one boot; and how the boot ended, where that was not well."""
    marks = [f"=== {number}" for number in range(len(runs))]
    script = "; ".join(f"echo '{mark}'; {_IN_GUEST} {' '.join(arguments)}; echo status $?"
                       for mark, arguments in zip(marks, runs))
    result = run_guest(RunRequest(boot_files(), ["/bin/busybox", "sh", "-c", script],
                                  with_files=[(real_path(_PROGRAM), _IN_GUEST)],
                                  timeout_seconds=_BOOT_SECONDS))
    outputs: list[list[str]] = [[] for _ in runs]
    current: list[str] = []
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith("=== "):
            current = outputs[int(line[4:])]
        else:
            current.append(line)
    problem = "" if result.exit_status == 0 else f"{result.outcome.name}: {result.message}"
    return outputs, problem


def first_difference(linux: list[str], guest: list[str]) -> str:
    for number, (theirs, ours) in enumerate(zip(linux, guest)):
        if theirs != ours:
            before = "\n".join(linux[max(0, number - _CONTEXT_LINES):number])
            return f"{before}\nLinux:    {theirs}\nHolstein: {ours}"
    if len(linux) != len(guest):
        return f"Linux prints {len(linux)} lines, Holstein {len(guest)}"
    return ""


def shrink(seed: int) -> list[int]:
    """The fewest operations found in time that still make a difference."""
    kept = list(range(_OPERATIONS))
    part = len(kept) // 2
    give_up = time.monotonic() + _SHRINK_SECONDS
    while part > 0 and time.monotonic() < give_up:
        candidates = [kept[:start] + kept[start + part:] for start in range(0, len(kept), part)]
        smaller = None
        for first in range(0, len(candidates), _CANDIDATES_A_BOOT):
            batch = candidates[first:first + _CANDIDATES_A_BOOT]
            runs = [[str(seed), str(_OPERATIONS), ranges(candidate)] for candidate in batch]
            outputs, problem = in_guest(runs)
            if problem:
                return kept
            smaller = next((candidate for candidate, arguments, output
                            in zip(batch, runs, outputs)
                            if first_difference(on_linux(arguments), output)), None)
            if smaller is not None or time.monotonic() > give_up:
                break
        if smaller is not None:
            kept = smaller
        else:
            part //= 2
    return kept


class VmTraceTest(unittest.TestCase):
    def test_outcomes_are_those_of_linux(self):
        seeds = _seeds()
        runs = [[str(seed), str(_OPERATIONS)] for seed in seeds]
        outputs, problem = in_guest(runs)
        for seed, arguments, output in zip(seeds, runs, outputs):
            linux = on_linux(arguments)
            self.assertEqual(linux[-1], "status 0", f"seed {seed} on Linux")
            difference = first_difference(linux, output)
            if not difference:
                continue
            if problem:  # the guest died: nothing can be learnt from further boots
                self.fail(f"vm_trace {seed} {_OPERATIONS}: {problem}\n{difference}")
            kept = ranges(shrink(seed))
            small = [str(seed), str(_OPERATIONS), kept]
            program = "\n".join(line for line in on_linux(small) if " sees " not in line)
            self.fail(f"vm_trace {seed} {_OPERATIONS} differs.\n{difference}\n\n"
                      f"Smaller: vm_trace {seed} {_OPERATIONS} {kept}\n{program}")
        self.assertEqual(problem, "")


if __name__ == "__main__":
    unittest.main()
