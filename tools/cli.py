"""The command line of ./holstein: sub-commands, options, help."""

import argparse
import os
import re
import textwrap

from tools import accelerator, build, fuzz_command, packages, standard_streams
from tools.errors import USAGE, CommandError
from tools.terminal import ESCAPE_HELP

from bench import options as bench_options

_SIZE = re.compile(r"^(\d+)([KMGT]?)(i?B)?$", re.IGNORECASE)
_UNITS = {"": 1 << 20, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LEAST_MEMORY_BYTES = 32 << 20

_STATUSES = """\
exit status:
  PROGRAM's own; 128+N where signal N killed it
  2    wrong usage (also: a file that an option names is not there)
  124  --timeout
  125  the guest's kernel panicked (its report is on standard error), QEMU died,
       the build failed, or a package is missing
  126  PROGRAM is not executable: not ELF, another machine's, or it wants an
       interpreter that is not in the image
  127  PROGRAM was not found
"""

_RUN = f"""\
Runs a Linux program in Holstein, in QEMU, booted by UEFI. The program's standard
input, output and error are this command's own, and so is its exit status.

PROGRAM is a path on this machine, else a name on PATH, else a program inside the
image; with --root only the last. `busybox` and its applets are always in the
image. A file from this machine is put where it was named, taken from `/`, where
the program starts: the path that you type is its path inside as well.

{textwrap.fill('On a terminal the program is interactive. ' + ESCAPE_HELP + '.', 80)}
"""

_EXAMPLES = """\
examples:
  ./holstein run busybox uname -a
  printf 'b\\na\\n' | ./holstein run busybox sort
  ./holstein run --with data.txt ./my-static-program data.txt
  ./holstein run --root debian-tree --mem 2G /bin/bash-static -c 'ls -l /'
"""


_PAGE_TABLES = """\
Runs a Linux program in Holstein and draws the page tables around its first fork as
an SVG with three panels: just before the fork, right after it, and when the first
of parent and child is about to exec or to exit.

PROGRAM is found as `run` finds it. It runs to its end, with this command's standard
input; what it prints goes to standard error. Forks of its children do not count,
and neither do vfork and threads.
"""

_PAGE_TABLES_EPILOG = """\
examples:
  ./holstein pagetables busybox sh -c 'true & wait'
  ./holstein pagetables --fork 2 -o fork.svg busybox sh -c 'true; (true); (true)'
  ./holstein pagetables --text busybox sh -c 'true & wait'

exit status:
  0    the picture was drawn, or the text printed, whatever PROGRAM's own status was
  1    PROGRAM ended before that fork
  2, 124, 125, 126, 127   as for run; a picture that was complete before the
       timeout is drawn
"""

_PROFILE = """\
Runs a Linux program in Holstein and counts the kernel's instructions by function, each
one of them, with a plugin in QEMU. The table is on standard output; what PROGRAM
prints goes to standard error. docs/profiling.md explains the columns.

PROGRAM is found as `run` finds it.
"""

_PROFILE_EPILOG = """\
examples:
  ./holstein profile busybox sh -c 'true & wait'
  ./holstein profile --marked --under sys_openat ./my-program-with-marks
  ./holstein profile --flame fork.svg busybox sh -c 'true & wait'

exit status:
  0    the table was printed, whatever PROGRAM's own status was
  1    nothing was counted: with --marked no mark, with --under no such function
  2, 124, 125, 126, 127   as for run
"""


def fork_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 1000000")
    return int(text)


def memory_size(text: str) -> int:
    match = _SIZE.match(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 64M, 4G, ...")
    size = int(match[1]) * _UNITS[match[2].upper()]
    if size < _LEAST_MEMORY_BYTES:
        raise argparse.ArgumentTypeError(f"{text} is too little: the firmware alone needs 32M")
    if size > 1 << 40:
        raise argparse.ArgumentTypeError(f"{text} is too much")
    return size


def environment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=VALUE")
    return name, value


def with_file(text: str) -> tuple[str, str | None]:
    """FILE or FILE:DEST; a colon in FILE is understood where such a file exists."""
    if os.path.exists(text):
        return text, None
    source, colon, destination = text.rpartition(":")
    if not colon:
        source, destination = text, None
    if not os.path.exists(source):
        raise argparse.ArgumentTypeError(f"{source}: no such file or folder")
    if destination == "":
        raise argparse.ArgumentTypeError(f"{text!r} names no place after the colon")
    return source, destination


def folder(text: str) -> str:
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text}: not a folder")
    return text


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def one_cpu(text: str) -> int:
    if text != "1":
        raise argparse.ArgumentTypeError("for now the guest has 1 CPU")
    return 1


class _Parser(argparse.ArgumentParser):
    """Usage errors in one line, after a pointer to the help."""

    def error(self, message: str):
        raise CommandError(f"{message} (see {self.prog} --help)", USAGE)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-install", action="store_true",
                        help="where a Debian package is missing, say which and stop")


def _add_guest_options(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    add = parser.add_argument
    add("--with", dest="with_files", metavar="FILE[:DEST]", action="append", default=[],
        type=with_file, help="put a file or folder into the image, at DEST (at its own path, "
        "taken from /, if there is no DEST; inside DEST if that ends in /); repeatable")
    add("--root", metavar="DIR", type=folder,
        help="use a whole tree as the image's root; PROGRAM is looked up inside it")
    add("--env", metavar="K=V", action="append", default=[], type=environment,
        help="set an environment variable of the program; repeatable")
    add("--mem", metavar="SIZE", type=memory_size,
        help="the guest's memory: 64M, 4G ... (a bare number is MiB); "
        "default: 2G, more for a large image")
    add("--smp", metavar="N", type=one_cpu, default=1, help="number of CPUs; 1 for now")
    add("--append", metavar="STRING", action="append", default=[],
        help="add to the kernel's command line; repeatable")
    add("--timeout", metavar="SECONDS", type=seconds,
        help="end the guest this long after it was switched on; the exit status is 124")
    add("--gdb", action="store_true",
        help="wait for gdb before the first instruction and print the line to type; "
        "switches address randomisation off")
    add("--accel", choices=accelerator.CHOICES, default="tcg",
        help="how QEMU runs the guest; auto takes kvm where a trial boot shows that it works; "
        "default: tcg")
    add("--log", action="store_true", help="the kernel's own log on standard error")
    add("--build", choices=build.MODES, default="opt",
        help="the optimised kernel, or the one with all checks; default: opt")
    add("--qemu", metavar="ARG", action="append", default=[],
        help="hand an argument to QEMU as it is; repeatable")


def _add_page_table_options(parser: argparse.ArgumentParser) -> None:
    _add_guest_options(parser)
    add = parser.add_argument
    add("--fork", metavar="N", type=fork_number, default=1,
        help="look at PROGRAM's Nth fork; default: 1")
    add("-o", "--output", metavar="FILE",
        help="where the picture goes (- is standard output); default: PROGRAM-pagetables.svg in "
        "the current folder")
    add("--text", action="store_true",
        help="print the page tables as text, as /proc/PID/pagetables has them, and draw nothing")


def row_count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)


def _add_profile_options(parser: argparse.ArgumentParser) -> None:
    _add_guest_options(parser)
    add = parser.add_argument
    add("--marked", action="store_true",
        help="count only what runs between the marks that PROGRAM makes "
        "(tools/qemu_plugin/profile_marks.h)")
    add("--under", metavar="FUNCTION",
        help="count only what runs while FUNCTION is on the stack")
    add("--top", metavar="N", type=row_count, default=40,
        help="rows of the table; 0: all; default: 40")
    add("--lines", action="store_true",
        help="print a second table, by line of code; inlined functions have rows of their own there")
    add("--folded", metavar="FILE", help="write chains of calls as well, `a;b;c INSTRUCTIONS`")
    add("--flame", metavar="FILE", help="draw a flame graph as well, an SVG")


def make_parser(prog: str = "./holstein") -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog=prog, formatter_class=formatter, allow_abbrev=False,
        description="Runs Linux programs in Holstein, an x86-64 kernel that boots by UEFI.\n"
        "Installs what is missing (Debian packages; it says what and why first), builds,\n"
        "and runs.", epilog="Each command has its own --help.\n\n" + _EXAMPLES)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True,
                                     parser_class=_Parser)
    run = commands.add_parser(
        "run", help="run a Linux program", formatter_class=formatter, allow_abbrev=False,
        usage=f"{prog} run [OPTIONS] PROGRAM [ARG...]", description=_RUN,
        epilog=_EXAMPLES + "\n" + _STATUSES)
    _add_guest_options(run)
    shell = commands.add_parser(
        "shell", help="an interactive shell", formatter_class=formatter, allow_abbrev=False,
        usage=f"{prog} shell [OPTIONS]",
        description="Runs `busybox sh` in Holstein, as a login shell.\n\n" +
        textwrap.fill(ESCAPE_HELP + ".", 78), epilog=_STATUSES)
    _add_guest_options(shell)
    pagetables = commands.add_parser(
        "pagetables", help="draw the page tables before and after a fork",
        formatter_class=formatter, allow_abbrev=False,
        usage=f"{prog} pagetables [OPTIONS] PROGRAM [ARG...]", description=_PAGE_TABLES,
        epilog=_PAGE_TABLES_EPILOG)
    _add_page_table_options(pagetables)
    profile = commands.add_parser(
        "profile", help="count the kernel's instructions by function", formatter_class=formatter,
        allow_abbrev=False, usage=f"{prog} profile [OPTIONS] PROGRAM [ARG...]",
        description=_PROFILE, epilog=_PROFILE_EPILOG)
    _add_profile_options(profile)
    test = commands.add_parser(
        "test", help="run all tests", formatter_class=formatter, allow_abbrev=False,
        usage=f"{prog} test [--no-install] [BAZEL ARGS...]",
        description="Runs `bazel test //...`, or the targets that are named.",
        epilog="exit status: Bazel's own (0: all tests passed, 3: some did not)\n\nexamples:\n"
        f"  {prog} test\n  {prog} test //vm/... --test_output=all\n")
    _add_common(test)
    fuzz = commands.add_parser(
        "fuzz", help="look for inputs that break the kernel's code", formatter_class=formatter,
        allow_abbrev=False, usage=f"{prog} fuzz [OPTIONS] [TARGET]",
        description="Runs libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer over the "
        "kernel's own\ncode, built for this machine; without TARGET all harnesses, one after the "
        "other. The\ntarget `syscalls` boots the debug kernel instead and makes random system calls "
        "in it.", epilog="exit status: 0 where nothing was found, 1 where something was\n\n"
        f"examples:\n  {prog} fuzz --list\n  {prog} fuzz elf --time 2m --seed 7\n"
        f"  {prog} fuzz syscalls --time 1h\n")
    _add_common(fuzz)
    fuzz.add_argument("target", metavar="TARGET", nargs="?", help="one of --list")
    fuzz.add_argument("--list", action="store_true", help="say which targets there are, and end")
    fuzz.add_argument("--time", type=fuzz_command.duration, default=600.0, metavar="TIME",
                      help="how long in all: 90s, 10m, 2h; default: 10m")
    fuzz.add_argument("--seed", type=int, metavar="N",
                      help="where the random numbers begin; the seed of each run is printed")
    fuzz.add_argument("--batch", type=int, default=0, metavar="N",
                      help="syscalls: begin with this batch of calls")
    fuzz.add_argument("--replay", metavar="FILE", help="run one input again, and end")
    bench = commands.add_parser(
        "bench", help="compare with Linux, side by side", formatter_class=formatter,
        allow_abbrev=False, usage=f"{prog} bench [OPTIONS]",
        description=bench_options.DESCRIPTION, epilog=bench_options.EPILOG)
    _add_common(bench)
    bench_options.add_options(bench, memory_size)
    return parser


def split_program(arguments: list[str],
                  add_options=_add_guest_options) -> tuple[list[str], list[str]]:
    """(options, PROGRAM and its arguments): options end where PROGRAM begins, or at `--`.

    Values of options are glued to them, so that `--qemu -d` means what it says.
    """
    probe = argparse.ArgumentParser(add_help=False)
    add_options(probe)
    takes_value = {name for action in probe._actions if action.nargs is None
                   for name in action.option_strings}
    options: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word in takes_value and rest:
            word += "=" + rest.pop(0)
        options.append(word)
    return options, rest


def main(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except CommandError as error:
        standard_streams.say(f"holstein: {error}")
        return error.status


def _dispatch(arguments: list[str]) -> int:
    parser = make_parser()
    command = arguments[0] if arguments else ""
    if command == "test":
        # Everything but our own options is Bazel's.
        ours = [word for word in arguments[1:] if word in ("--no-install", "-h", "--help")]
        options = parser.parse_args(["test", *ours])
        packages.ensure(packages.needed(for_tests=True), not options.no_install)
        return build.run_tests([word for word in arguments[1:] if word not in ours])
    if command == "pagetables":
        before, program = split_program(arguments[1:], _add_page_table_options)
        options = parser.parse_args([command, *before])
        if not program:
            raise CommandError("pagetables: no PROGRAM given (see ./holstein pagetables --help)",
                               USAGE)
        from tools import pagetables_command
        return pagetables_command.run(options, program)
    if command == "profile":
        before, program = split_program(arguments[1:], _add_profile_options)
        options = parser.parse_args([command, *before])
        if not program:
            raise CommandError("profile: no PROGRAM given (see ./holstein profile --help)", USAGE)
        from tools import profile_command
        return profile_command.run(options, program)
    if command in ("run", "shell"):
        before, program = split_program(arguments[1:])
        options = parser.parse_args([command, *before])
        if command == "run" and not program:
            raise CommandError("run: no PROGRAM given (see ./holstein run --help)", USAGE)
        if command == "shell":
            if program:
                raise CommandError(f"shell: {program[0]!r} is too much (see ./holstein shell "
                                   "--help)", USAGE)
            program = ["busybox", "sh", "-l"]
        from tools import run_command  # only here: the other commands start faster without
        return run_command.run(options, program)
    if command == "fuzz":
        return fuzz_command.run(parser.parse_args(arguments))
    if command == "bench":
        from bench import command as bench_command
        return bench_command.run(parser.parse_args(arguments))
    parser.parse_args(arguments)
    raise AssertionError("every command was handled")
