"""`./holstein fuzz`: libFuzzer harnesses over the host's libraries, and the fuzzer inside.

What is found stays in .cache/holstein/fuzz/TARGET: the inputs that reach something new, and those
that fail. The next run starts from them and from the seeds in fuzz/corpus/TARGET.
"""

import argparse
import os
import random
import re
import subprocess
import time
from pathlib import Path

from tools import build, packages, standard_streams, state, syscall_fuzzer
from tools.errors import USAGE, CommandError

_TARGET = re.compile(r'^fuzz_target\(\s*name = "(\w+)"', re.MULTILINE)
_STATUS = re.compile(r"^#(\d+)\t(\w+)\s.*?cov: (\d+).*?corp: (\d+)/.*?exec/s: (\d+)")
_LINE_SECONDS = 10.0
_SHOWN_LINES = 60
_FOUND = 1
# As in .bazelrc: reports with names, and absurd allocations that fail as they do in the kernel.
_SANITIZERS = {
    "ASAN_OPTIONS": "allocator_may_return_null=1:detect_stack_use_after_return=1:detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "ASAN_SYMBOLIZER_PATH": "/usr/lib/llvm-19/bin/llvm-symbolizer",
    "UBSAN_SYMBOLIZER_PATH": "/usr/lib/llvm-19/bin/llvm-symbolizer",
}


def targets() -> dict[str, str]:
    """Each target with the first sentence of its harness."""
    folder = state.PROJECT / "fuzz"
    names = _TARGET.findall((folder / "BUILD.bazel").read_text())
    return {**{name: _first_sentence(folder / f"{name}.cc") for name in names},
            syscall_fuzzer.NAME: syscall_fuzzer.ABOUT}


def _first_sentence(source: Path) -> str:
    comment = []
    for line in source.read_text().splitlines():
        if not line.startswith("//"):
            break
        comment.append(line[2:].strip())
    return re.split(r"[.;:](?:\s|$)", " ".join(comment))[0]


def duration(text: str) -> float:
    """Seconds, from "90", "90s", "10m" or "2h"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 90s, 10m, 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def run(options: argparse.Namespace) -> int:
    known = targets()
    if options.list:
        for name, about in known.items():
            print(f"{name:15} {about}")
        return 0
    if options.target is not None and options.target not in known:
        raise CommandError(f"fuzz: no target {options.target!r}; there are {', '.join(known)}",
                           USAGE)
    is_inside = options.target == syscall_fuzzer.NAME
    if options.batch != 0 and not is_inside:
        raise CommandError(f"fuzz: --batch goes with {syscall_fuzzer.NAME}", USAGE)
    if options.replay is not None:
        if options.target is None or is_inside:
            raise CommandError("fuzz: --replay needs a TARGET of the host", USAGE)
        if not os.path.isfile(options.replay):
            raise CommandError(f"fuzz: {options.replay}: no such file", USAGE)
    packages.ensure(packages.needed(for_tests=True), not options.no_install)
    if is_inside:
        return syscall_fuzzer.run(options)
    del known[syscall_fuzzer.NAME]
    chosen = [options.target] if options.target is not None else list(known)
    programs = build.build_programs([f"//fuzz:{name}" for name in chosen])
    if options.replay is not None:
        return subprocess.run([programs[0], options.replay], env=_environment()).returncode
    seed = options.seed if options.seed is not None else random.randrange(1, 1 << 31)
    # The time is that of the whole command: targets share it.
    found = [name for name, program in zip(chosen, programs)
             if not _fuzz(name, program, options.time / len(chosen), seed)]
    if found:
        standard_streams.say(f"holstein: fuzz: found something in {', '.join(found)}")
    return _FOUND if found else 0


def _environment() -> dict[str, str]:
    return {**os.environ, **_SANITIZERS}


def _fuzz(name: str, program: str, seconds: float, seed: int) -> bool:
    """One target for so long; False where an input failed."""
    folder = state.PROJECT / ".cache" / "holstein" / "fuzz" / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    failures = folder / "failures"
    failures.mkdir(exist_ok=True)
    standard_streams.say(f"holstein: fuzz {name}: {seconds:.0f} s, seed {seed}")
    command = [program, str(corpus), str(state.PROJECT / "fuzz" / "corpus" / name),
               f"-max_total_time={max(1, round(seconds))}", f"-seed={seed}", "-max_len=4096",
               "-len_control=20", "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1",
               f"-artifact_prefix={failures}/"]
    dictionary = state.PROJECT / "fuzz" / "dictionaries" / f"{name}.dict"
    if dictionary.exists():
        command.append(f"-dict={dictionary}")
    report: list[str] = []
    artifact = executions = ""
    last, next_line = None, time.monotonic() + _LINE_SECONDS
    with subprocess.Popen(command, env=_environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          errors="replace") as fuzzer:
        for line in fuzzer.stderr:
            status = _STATUS.match(line)
            if status is not None:
                last, report = status, []
                if time.monotonic() >= next_line:
                    _say_status(name, last)
                    next_line = time.monotonic() + _LINE_SECONDS
                continue
            report.append(line.rstrip())
            if "Test unit written to " in line:
                artifact = line.split("Test unit written to ")[1].strip()
            if line.startswith("stat::number_of_executed_units:"):
                executions = line.split(":")[-1].strip()
    if last is not None:
        _say_status(name, last)
    if fuzzer.returncode == 0:
        standard_streams.say(f"holstein: fuzz {name}: {executions} executions, nothing found")
        return True
    for line in report[:_SHOWN_LINES]:
        standard_streams.say(line)
    if artifact:
        standard_streams.say(
            f"holstein: fuzz {name}: the input is {artifact}\n"
            f"holstein: again: ./holstein fuzz {name} --replay {artifact}\n"
            f"holstein: as a regression test: copy it to fuzz/corpus/{name}/")
    else:
        standard_streams.say(f"holstein: fuzz {name}: ended with {fuzzer.returncode}")
    return False


def _say_status(name: str, status: re.Match) -> None:
    standard_streams.say(f"holstein: fuzz {name}: {status[1]} executions, {status[5]} a second, "
                         f"{status[3]} edges, {status[4]} inputs kept")
