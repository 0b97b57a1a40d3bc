"""`./holstein pagetables`: runs a program in the guest under fork-report, and draws what that saw."""

import argparse
import os
import sys
from pathlib import Path

from tools import build, fork_picture, fork_report, packages, run_command, session, standard_streams
from tools.errors import USAGE, CommandError
from tools.fork_report import Report
from tools.guest import TIMED_OUT
from tools.protocol import Stream
from tools.runner import BootFiles, Wrapper
from tools.streams import CaptureSink

NO_FORK = 1
_ENOENT = 2


def run(options: argparse.Namespace, program: list[str]) -> int:
    output = _output(options, program)
    packages.ensure(packages.needed(for_gdb=options.gdb), not options.no_install)
    boot, reporter = build.build_with_fork_report(options.build)
    return run_built(options, program, output, boot, reporter)


def run_built(options: argparse.Namespace, program: list[str], output: str | None,
              boot: BootFiles, reporter: Path) -> int:
    """The same with a kernel that is there already. `output` as finish() has it."""
    request = run_command.make_request(options, program, boot)
    session.describe_streams(request)
    request.stdout = "stream"  # the report; fork-report joins the program's with standard error
    request.wrapper = Wrapper(reporter, (str(options.fork),))
    sink = CaptureSink()
    status = run_command.run_request(options, request, {Stream.STDOUT: sink})
    # 1 is fork-report's own, which has said why; other statuses are about the guest as a whole.
    if status not in (0, 1, TIMED_OUT):
        return status
    try:
        report = fork_report.parse(bytes(sink.data))
    except fork_report.ReportError as error:
        raise CommandError(f"the guest's report cannot be read: {error}") from None
    return finish(report, status, options.fork, program, output)


def finish(report: Report, status: int, nth: int, program: list[str], output: str | None) -> int:
    """Writes the picture to `output`, or the text to standard output where it is None; returns the
    exit status of a run whose own was `status`."""
    if report.error is not None:
        number, what = report.error
        raise CommandError(f"{what}: {os.strerror(number)}", 127 if number == _ENOENT else 126)
    if not report.has_fork:
        if status != TIMED_OUT:
            times = "" if nth == 1 else f" {nth} times"
            standard_streams.say(f"holstein: {program[0]}: ended and did not fork{times}")
            return NO_FORK
        return status
    if output is None:
        _write("-", text_of(report))
    else:
        _write(output, fork_picture.draw(report, program, nth))
    shown = sum(moment.is_complete for moment in report.moments)
    missing = "" if shown == 3 else "; the third moment was not reached"
    if output not in (None, "-"):
        standard_streams.say(f"holstein: the picture is in {output}{missing}")
    elif missing:
        standard_streams.say(f"holstein: {missing[2:]}")
    return status


def text_of(report: Report) -> str:
    """The page tables of each moment as the kernel wrote them."""
    parts = []
    for moment in report.moments:
        if not moment.is_complete:
            continue
        parts.append(f"=== {fork_picture.describe(moment)} ===\n")
        for (name, figures), view in zip(fork_picture.figures_of(moment),
                                         (moment.parent, moment.child)):
            parts.append(f"--- {name}: {figures.tables} tables, {figures.own_tables} of its own "
                         f"({figures.own_table_bytes} bytes), {figures.shared_tables} shared; "
                         f"{figures.pages} pages, {figures.shared_pages} shared ---\n{view.text}")
    return "".join(parts)


def _output(options: argparse.Namespace, program: list[str]) -> str | None:
    """The picture's file, or None for --text. Wrong names are found before anything is run."""
    if options.text:
        if options.output is not None:
            raise CommandError("--text prints and draws nothing; it goes without -o", USAGE)
        return None
    output = options.output or os.path.basename(program[0]) + "-pagetables.svg"
    if output != "-":
        if os.path.isdir(output):
            raise CommandError(f"{output}: is a folder", USAGE)
        if not os.path.isdir(os.path.dirname(output) or "."):
            raise CommandError(f"{output}: there is no such folder", USAGE)
    return output


def _write(output: str, text: str) -> None:
    if output == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        with open(output, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"{output}: {error.strerror}", USAGE) from None
