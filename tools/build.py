"""Builds kernel, loader and init with Bazel, or knows that they are built already.

A `bazel build` that has nothing to do takes longer than booting should wait for it, so a build that
succeeded leaves a fingerprint of everything that went into it: each file of the source tree by
name, size and time, the compiler's and Bazel's own, and its products. If nothing of that changed,
Bazel is not called. The fingerprint is taken before the build: a file that changes while it is
built is built again.
"""

import collections
import hashlib
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from tools import state
from tools.errors import CommandError
from tools.progress import Progress
from tools.runner import BootFiles

_KERNELS = {"opt": ("//kernel:kernel_opt", "kernel/kernel_opt.elf"),
            "debug": ("//kernel:kernel_debug", "kernel/kernel_debug.elf")}
_LOADER = ("//efi_loader:bootx64", "efi_loader/BOOTX64.EFI")
_INIT = ("//proc/init:holstein-init", "proc/init/holstein-init")
_PROFILER = ("//tools/qemu_plugin:holstein-profile", "tools/qemu_plugin/holstein-profile.so")
_FORK_REPORT = ("//tools/inside:fork-report", "tools/inside/fork-report")
_BENCH = [("//bench:bench", "bench/bench"), ("//bench:small", "bench/small")]
MODES = tuple(_KERNELS)

_PROGRESS_LINE = re.compile(r"^(\[[\d,]+ / [\d,]+\]|Loading:|Analyzing:)")
_ERROR_LINES = 200
_TOOLS = ("/usr/lib/llvm-19/bin/clang", "/usr/lib/llvm-19/bin/lld", "/usr/bin/bazel",
          "/usr/bin/bazel-real", "/etc/bazel.bazelrc", os.path.expanduser("~/.bazelrc"))


def bazel_command() -> list[str]:
    """HOLSTEIN_BAZEL may name another Bazel, or give it startup options."""
    return shlex.split(os.environ.get("HOLSTEIN_BAZEL", "")) or ["bazel"]


def build(mode: str) -> BootFiles:
    """Up-to-date products of the source tree. Raises CommandError where it does not compile."""
    return BootFiles(*_build(f"build-{mode}", mode, [_KERNELS[mode], _LOADER, _INIT]))


def build_with_fork_report(mode: str) -> tuple[BootFiles, Path]:
    """The same, and the program that `pagetables` runs inside."""
    *boot, report = _build(f"build-{mode}-fork-report", mode,
                           [_KERNELS[mode], _LOADER, _INIT, _FORK_REPORT])
    return BootFiles(*boot), report


def build_with_bench(mode: str) -> tuple[BootFiles, Path, Path]:
    """The same, the program that `bench` runs on each system, and the one that that one runs."""
    *boot, program, small = _build(f"build-{mode}-bench", mode,
                                   [_KERNELS[mode], _LOADER, _INIT, *_BENCH])
    return BootFiles(*boot), program, small


def build_with_profiler(mode: str) -> tuple[BootFiles, Path]:
    """The same, and the plugin that `profile` loads into QEMU."""
    *boot, plugin = _build(f"build-{mode}-profiler", mode,
                           [_KERNELS[mode], _LOADER, _INIT, _PROFILER])
    return BootFiles(*boot), plugin


def _build(name: str, mode: str, targets: list[tuple[str, str]]) -> list[Path]:
    fingerprint = _fingerprint()
    known = state.load(name)
    products = known.get("products", [])
    if products and known.get("fingerprint") == fingerprint and \
            all(state.stamp(product[0]) == product for product in products):
        return [Path(product[0]) for product in products]
    with Progress(f"building the kernel ({mode})") as progress:
        _run_bazel([target for target, _ in targets], progress)
        folder = Path(_bazel_output(["info", "bazel-bin"]).strip())
    files = [folder / file for _, file in targets]
    for file in files:
        if not file.is_file():
            raise CommandError(f"the build did not make {file}")
    state.save(name, {"fingerprint": fingerprint,
                      "products": [state.stamp(file) for file in files]})
    return files


def build_programs(targets: list[str]) -> list[str]:
    """The one file that each target makes. Raises CommandError where something does not compile."""
    with Progress("building " + ", ".join(targets)) as progress:
        _run_bazel(targets, progress)
        folder = Path(_bazel_output(["info", "bazel-bin"]).strip())
    files = [folder / target.removeprefix("//").replace(":", "/") for target in targets]
    for file in files:
        if not file.is_file():
            raise CommandError(f"the build did not make {file}")
    return [str(file) for file in files]


def _fingerprint() -> str:
    digest = hashlib.sha256(os.environ.get("HOLSTEIN_BAZEL", "").encode())
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(state.PROJECT / folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        for entry in entries:
            name = os.path.join(folder, entry.name)
            if name in (".git", ".cache") or name.startswith("bazel-") or \
                    entry.name == "__pycache__" or entry.name.endswith(".md"):
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(name)
                continue
            status = entry.stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}\0"
                          .encode("utf-8", "surrogateescape"))
    for tool in _TOOLS:
        digest.update(repr(state.stamp(os.path.realpath(tool))).encode())
    return digest.hexdigest()


def _require_bazel() -> None:
    if shutil.which(bazel_command()[0]) is None:
        raise CommandError(f"{bazel_command()[0]} is not installed (Debian: bazel-bootstrap)")


def _run_bazel(targets: list[str], progress: Progress) -> None:
    _require_bazel()
    command = [*bazel_command(), "build", "--show_progress", "--curses=no", "--color=no",
               "--show_progress_rate_limit=1", *targets]
    # In the project's folder, whatever the caller's is; Bazel's words on success are nobody's.
    with subprocess.Popen(command, cwd=state.PROJECT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          errors="replace") as bazel:
        said: collections.deque[str] = collections.deque(maxlen=_ERROR_LINES)
        for line in bazel.stderr:
            line = line.rstrip()
            if _PROGRESS_LINE.match(line):
                progress.update(line)
            else:
                said.append(line)
    if bazel.returncode != 0:
        raise CommandError("\n".join(["the build failed:", *said]))


def _bazel_output(arguments: list[str]) -> str:
    run = subprocess.run([*bazel_command(), *arguments], cwd=state.PROJECT, text=True,
                         stdin=subprocess.DEVNULL, capture_output=True)
    if run.returncode != 0:
        raise CommandError(f"bazel {' '.join(arguments)} failed: {run.stderr.strip()}")
    return run.stdout


def run_tests(arguments: list[str]) -> int:
    """`bazel test //...`, with its output as it is; returns its status."""
    _require_bazel()
    targets = [] if any(_names_targets(argument) for argument in arguments) else ["//..."]
    return subprocess.run([*bazel_command(), "test", *arguments, *targets],
                          cwd=state.PROJECT).returncode


def _names_targets(argument: str) -> bool:
    return argument.startswith(("//", ":", "-//", "@"))
