"""`./holstein profile`: runs a program in the guest and counts the kernel's instructions by function.

A plugin in QEMU counts (qemu_plugin/); the kernel runs at its link address, so that the addresses
that the plugin sees are those of kernel.elf.
"""

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path

from tools import (build, flame_graph, kernel_functions, kernel_profile, packages, panic_report,
                   run_command, session, standard_streams)
from tools.channel import Sink
from tools.errors import USAGE, CommandError
from tools.guest import BROKEN, TIMED_OUT
from tools.kernel_functions import Functions
from tools.kernel_profile import Profile
from tools.protocol import Stream
from tools.runner import BootFiles, RunRequest
from tools.streams import FdSink

NO_PROFILE = 1


def run(options: argparse.Namespace, program: list[str]) -> int:
    check(options)
    packages.ensure(packages.needed(for_gdb=options.gdb), not options.no_install)
    boot, plugin = build.build_with_profiler(options.build)
    return run_built(options, program, boot, plugin)


def check(options: argparse.Namespace) -> None:
    """Wrong options are found before anything is run."""
    if options.accel != "tcg":
        raise CommandError("profile: instructions can be counted by --accel tcg only", USAGE)
    if options.lines and options.under is not None:
        raise CommandError("profile: --lines knows no callers; it goes without --under", USAGE)
    for output in (options.folded, options.flame):
        if output is not None and (os.path.isdir(output) or
                                   not os.path.isdir(os.path.dirname(output) or ".")):
            raise CommandError(f"{output}: is no file in an existing folder", USAGE)


def run_built(options: argparse.Namespace, program: list[str], boot: BootFiles,
              plugin: Path) -> int:
    """The same with a kernel that is there already."""
    functions = kernel_functions.read(boot.kernel)
    request = run_command.make_request(options, program, boot)
    session.describe_streams(request)
    captured: dict[Stream, Sink] = {}
    if request.stdout != "closed":  # standard output is the table's
        request.stdout = "stream"
        captured[Stream.STDOUT] = FdSink(2)
    with Recording(functions, plugin, options.marked) as recording:
        recording.add_to(request)
        status = run_command.run_request(options, request, captured)
        text = recording.text()
    if not text:  # QEMU was killed, and why has been said
        return status
    return report(options, text, functions, program, status, boot.kernel)


class Recording:
    """The two files between the command and the plugin."""

    def __init__(self, functions: Functions, plugin: Path, is_marked: bool) -> None:
        self._plugin = plugin
        self._is_marked = is_marked
        self._functions = tempfile.TemporaryFile("w")
        self._output = tempfile.TemporaryFile("w+")
        self._functions.write(functions.encode())
        self._functions.flush()

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_) -> None:
        self._functions.close()
        self._output.close()

    def add_to(self, request: RunRequest) -> None:
        request.append = f"nokaslr {request.append}".strip()
        files = self._functions.fileno(), self._output.fileno()
        request.more_fds += files
        path = str(self._plugin).replace(",", ",,")
        request.qemu_arguments += (
            "-plugin", f"{path},functions=/proc/self/fd/{files[0]},"
            f"output=/proc/self/fd/{files[1]},marked={'on' if self._is_marked else 'off'}")

    def text(self) -> str:
        """What the plugin wrote when QEMU ended."""
        self._output.seek(0)
        return self._output.read()


def report(options: argparse.Namespace, text: str, functions: Functions, program: list[str],
           status: int, kernel: Path | None = None) -> int:
    """Prints and draws; returns the command's exit status, where the run's was `status`."""
    try:
        profile = kernel_profile.parse(text, functions)
    except kernel_profile.ProfileError as error:
        raise CommandError(f"the profile cannot be read: {error}") from None
    if status != 0:
        standard_streams.say(f"holstein: {program[0]}: ended with status {status}")
    if options.marked and not profile.was_marked:
        standard_streams.say(f"holstein: {program[0]}: came by no mark; nothing was counted")
        return NO_PROFILE
    title = shlex.join(program)
    if options.under is not None:
        profile = _only_under(profile, options.under)
        title += f", under {options.under}"
    sys.stdout.write(kernel_profile.table(profile, options.top))
    sys.stdout.flush()
    if options.lines:
        places = panic_report.look_up([block.address for block in profile.blocks], kernel)
        sys.stdout.write("\n" + kernel_profile.lines_table(profile, places, options.top))
        sys.stdout.flush()
    if options.folded is not None:
        _write(options.folded, kernel_profile.folded(profile))
    if options.flame is not None:
        _write(options.flame, flame_graph.draw(profile, title))
    return status if status in (TIMED_OUT, BROKEN) else 0


def _only_under(profile: Profile, name: str) -> Profile:
    part = kernel_profile.under(profile, name)
    if part is None:
        names = kernel_profile.similar_names(profile, name)
        hint = f"; there is {', '.join(names[:10])}" if names else ""
        raise CommandError(f"no function {name} was on the stack{hint}", NO_PROFILE)
    return part


def _write(output: str, text: str) -> None:
    try:
        with open(output, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"{output}: {error.strerror}", USAGE) from None
