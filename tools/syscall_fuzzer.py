"""`./holstein fuzz syscalls`: random system calls inside a booted debug kernel.

A run is cut into boots of a minute. Where one goes wrong, its last batch is run again in a fresh
kernel, with each call printed before it is made.
"""

import argparse
import dataclasses
import random
import re
import time

from tools import build, standard_streams
from tools.guest import Outcome
from tools.runner import BootFiles, RunRequest, RunResult, run_guest

NAME = "syscalls"
ABOUT = "Random system calls inside a booted kernel, which checks its invariants"
_PROGRAM = "//fuzz/syscalls:syscalls"
_TABLE = "//kernel/syscalls:system_calls.txt"
_END = re.compile(r"^END next (\d+) calls (\d+) good (\d+) processes (\d+) kinds (\d+) of (\d+)$",
                  re.MULTILINE)
_BATCH = re.compile(r"^batch (\d+)$", re.MULTILINE)
_BOOT_SECONDS = 60
_GRACE_SECONDS = 180  # to boot and to end on a machine that has more to do
_MEMORY_BYTES = 512 << 20
_MOST_BATCHES = 1 << 30
_SHOWN_CALLS = 30
_SHOWN_FETCHES = 5


@dataclasses.dataclass(frozen=True)
class Slice:
    """What one boot did."""
    result: RunResult
    next_batch: int
    calls: int
    good: int
    processes: int
    kinds: int

    @property
    def failed(self) -> bool:
        return (self.result.outcome, self.result.exit_status) != (Outcome.EXITED, 0) or \
            bool(self.result.double_fetches)


def run_slice(boot: BootFiles, program: str, table: str, seed: int, first: int, batches: int,
              seconds: int, trace: bool = False) -> Slice:
    argv = ["/syscalls", "/system_calls.txt", str(seed), str(first), str(batches), str(seconds)]
    result = run_guest(RunRequest(
        boot, argv + (["trace"] if trace else []),
        with_files=[(program, "/syscalls"), (table, "/system_calls.txt")],
        # The same addresses in each run.
        append="nokaslr noaslr", memory_bytes=_MEMORY_BYTES,
        timeout_seconds=seconds + _GRACE_SECONDS))
    output = result.stdout.decode("utf-8", "replace")
    end = _END.search(output)
    if end is not None:
        return Slice(result, *(int(number) for number in end.groups()[:5]))
    last = max((int(number) for number in _BATCH.findall(output)), default=first)
    return Slice(result, last, 0, 0, 0, 0)


def run(options: argparse.Namespace) -> int:
    seed = options.seed if options.seed is not None else random.randrange(1, 1 << 31)
    boot = build.build("debug")
    program, table = build.build_programs([_PROGRAM, _TABLE])
    standard_streams.say(f"holstein: fuzz {NAME}: {options.time:.0f} s, seed {seed}")
    give_up = time.monotonic() + options.time
    batch, calls, processes = options.batch, 0, 0
    while (left := give_up - time.monotonic()) > 0:
        part = run_slice(boot, program, table, seed, batch, _MOST_BATCHES,
                         max(1, min(_BOOT_SECONDS, round(left))))
        if part.failed:
            _report(part, boot, program, table, seed, batch)
            return 1
        batch = part.next_batch
        calls += part.calls
        processes += part.processes
        standard_streams.say(f"holstein: fuzz {NAME}: {batch - options.batch} batches, {calls} "
                             f"calls, {processes} processes; {part.good * 100 // part.calls} % of "
                             f"the last calls and {part.kinds} kinds of calls succeeded")
    standard_streams.say(f"holstein: fuzz {NAME}: {calls} calls, nothing found")
    return 0


def _report(part: Slice, boot: BootFiles, program: str, table: str, seed: int, first: int) -> None:
    batch = part.next_batch
    tail = part.result.stdout.decode("utf-8", "replace").splitlines()[-3:]
    standard_streams.say(f"holstein: fuzz {NAME}: seed {seed}, batch {batch}: "
                         f"{part.result.message or 'the fuzzer ended'}\n" +
                         "\n".join(part.result.double_fetches[:_SHOWN_FETCHES] + tail))
    again = run_slice(boot, program, table, seed, batch, 1, _BOOT_SECONDS, trace=True)
    lines = again.result.stdout.decode("utf-8", "replace").splitlines()
    standard_streams.say("\n".join([f"the last calls of batch {batch} when it runs by itself:",
                                    *lines[-_SHOWN_CALLS:]]))
    if again.failed:
        standard_streams.say(f"holstein: again: ./holstein fuzz {NAME} --seed {seed} --batch {batch}")
    else:
        standard_streams.say(
            f"holstein: batch {batch} by itself goes well; with those before it: "
            f"./holstein fuzz {NAME} --seed {seed} --batch {first}")
