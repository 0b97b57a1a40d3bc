"""`./holstein run` and `./holstein shell`: from parsed options to an exit status."""

import argparse
import os
import shlex
import socket
from pathlib import Path

from tools import accelerator, build, elf, packages, session, standard_streams, state
from tools.channel import Sink
from tools.errors import USAGE, CommandError
from tools.program import ProgramError
from tools.protocol import Stream
from tools.runner import BootFiles, Prepared, RequestError, RunRequest
from tools.tree import TreeError

# Where position-independent programs are without randomisation, as on Linux: with an interpreter
# at a place of their own, without one at the top of the mappings.
_DYNAMIC_PROGRAM_BASE = 0x555555554000
_MAPPINGS_TOP = 0x7FFFFFFFF000 - (128 << 20)


def run(options: argparse.Namespace, program: list[str]) -> int:
    packages.ensure(packages.needed(for_gdb=options.gdb), not options.no_install)
    boot = build.build(options.build)
    return run_built(options, program, boot)


def run_built(options: argparse.Namespace, program: list[str], boot: BootFiles) -> int:
    """The same with a kernel that is there already."""
    request = make_request(options, program, boot)
    session.describe_streams(request)
    return run_request(options, request)


def run_request(options: argparse.Namespace, request: RunRequest,
                captured: dict[Stream, Sink] | None = None) -> int:
    """Runs what the options ask for, with the streams that the request describes."""
    if "TERM" not in request.env and "tty" in (request.stdout, request.stderr) or \
            request.stdin_is_tty:
        request.env.setdefault("TERM", os.environ.get("TERM", "linux"))
    try:
        return session.run(request, options.log,
                           lambda prepared: _announce_gdb(request, prepared), captured)
    except ProgramError as error:
        raise CommandError(str(error), error.status) from None
    except (RequestError, TreeError) as error:
        raise CommandError(str(error), USAGE) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        raise CommandError(f"{place}{error.strerror or error}") from None


def make_request(options: argparse.Namespace, program: list[str], boot: BootFiles) -> RunRequest:
    append = " ".join(options.append)
    if options.gdb:
        append = f"nokaslr noaslr {append}".strip()
    return RunRequest(
        boot=boot, argv=program, env=dict(options.env), with_files=options.with_files,
        root=options.root, memory_bytes=options.mem, cpus=options.smp, append=append,
        timeout_seconds=options.timeout,
        boot_timeout_seconds=None if options.gdb else RunRequest.boot_timeout_seconds,
        accelerator=accelerator.choose(options.accel, boot.loader),
        gdb_port=_free_port() if options.gdb else None, qemu_arguments=tuple(options.qemu))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _announce_gdb(request: RunRequest, prepared: Prepared) -> None:
    if request.gdb_port is None:
        return
    words = ["gdb", str(request.boot.kernel), "-ex", f"directory {state.PROJECT}",
             "-ex", f"target remote 127.0.0.1:{request.gdb_port}"]
    symbols = _program_symbols(prepared)
    if symbols is not None:
        words += ["-ex", symbols]
    standard_streams.say("holstein: waiting for gdb; type in another terminal:\n"
                         f"  {shlex.join(words)}\n"
                         "  (break with `hbreak`: memory is not there yet)")


def _program_symbols(prepared: Prepared) -> str | None:
    """gdb's command for the program's own symbols, where it is a file of this machine."""
    path: Path | str | None = prepared.found.host_path
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            program = elf.inspect(file.read(elf.HEAD_BYTES))
    except (OSError, elf.NotExecutable):
        return None
    if program.is_script:
        return None
    quoted = str(path).replace("\\", "\\\\").replace(" ", "\\ ")
    if not program.is_position_independent:
        return f"add-symbol-file {quoted}"
    base = _DYNAMIC_PROGRAM_BASE
    if program.interpreter is None:
        room = program.span_bytes + (program.alignment if program.alignment > 4096 else 0)
        base = -((room - _MAPPINGS_TOP) // program.alignment) * program.alignment
    return f"add-symbol-file {quoted} -o {base:#x}"
