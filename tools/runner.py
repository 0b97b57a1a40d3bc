"""Boots Holstein and runs a program in it: what `./holstein run` and the boot tests share.

    request = RunRequest(boot=BootFiles(kernel, loader, init), argv=["busybox", "sort"],
                         stdin=b"b\\na\\n")
    result = run_guest(request)
    assert result.stdout == b"a\\nb\\n" and result.exit_status == 0

run_guest() keeps the program's output in memory; start_guest() leaves its streams to the caller.
"""

import dataclasses
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools import elf, firmware, image, qemu
from tools.channel import Sink, Source
from tools.conversation import Conversation
from tools.cpio import Archive
from tools.guest import DEFAULT_BOOT_TIMEOUT_SECONDS, Guest, GuestResult
from tools.image import DiskFile
from tools.job import DEFAULT_SEARCH_PATH, Job
from tools.program import Found, find_program
from tools.protocol import Stream
from tools.streams import BytesSource, CaptureSink
from tools.tree import Tree, normalise

_MIB = 1 << 20
DEFAULT_MEMORY_BYTES = 2 << 30
_MAX_COMMAND_LINE_BYTES = 4000  # the loader takes 4095


class RequestError(Exception):
    """A request that makes no sense, in one line."""


@dataclasses.dataclass(frozen=True)
class BootFiles:
    """What a build makes. `kernel` has its symbols; only what is loaded gets into the image."""
    kernel: Path
    loader: Path
    init: Path


@dataclasses.dataclass(frozen=True)
class Wrapper:
    """A program of ours that runs in the guest in PROGRAM's place, and gets it as arguments:
    `arguments`, PROGRAM's path in the image, argv."""
    file: Path
    arguments: tuple[str, ...] = ()

    @property
    def path_in_image(self) -> str:
        return f"/sbin/holstein-{self.file.name}"


@dataclasses.dataclass
class RunRequest:
    boot: BootFiles
    argv: list[str]  # argv[0] is looked for as the command's PROGRAM is
    stdin: bytes | None = b""  # None: closed
    stdout: str = "stream"  # or "tty" or "closed"; what a tty prints comes back as `terminal`
    stderr: str = "stream"
    stdin_is_tty: bool = False
    # Typed on the terminal instead of `stdin`: (text to wait for, keys) one after the other.
    conversation: list[tuple[bytes, bytes]] | None = None
    window: tuple[int, int] = (24, 80)  # rows, columns of the terminal
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    cwd: str = "/"
    with_files: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)
    root: str | None = None
    wrapper: Wrapper | None = None
    from_host: bool = True  # whether PROGRAM may be a file of the host
    memory_bytes: int | None = None  # None: 2 GiB, more for a large image
    cpus: int = 1
    append: str = ""
    timeout_seconds: float | None = None
    boot_timeout_seconds: float | None = DEFAULT_BOOT_TIMEOUT_SECONDS
    accelerator: str = "tcg"
    cpu: str = "max"  # QEMU's -cpu
    gdb_port: int | None = None
    qemu_arguments: tuple[str, ...] = ()
    more_fds: tuple[int, ...] = ()  # that qemu_arguments name as /proc/self/fd/N
    # Files of the boot volume to replace (bytes, a path) or to leave out (None), by name as in
    # tools/image.py: for tests of what can be wrong with them.
    disk_files: dict[str, bytes | Path | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class RunResult(GuestResult):
    stdout: bytes = b""
    stderr: bytes = b""
    terminal: bytes = b""

    @property
    def timed_out(self) -> bool:
        return self.outcome.name == "TIMED_OUT"


@dataclasses.dataclass
class Prepared:
    """A guest that is ready to start: machine and image are complete."""
    machine: qemu.Machine
    job: Job
    found: Found
    symbols: Path

    def close(self) -> None:
        os.close(self.machine.disk_fd)
        os.close(self.machine.firmware_fd)


def prepare(request: RunRequest) -> Prepared:
    """Builds the image. Raises ProgramError, TreeError, RequestError or OSError."""
    if request.conversation is not None:
        request = dataclasses.replace(request, stdin_is_tty=True, stdin=b"")
    if request.root is not None:
        tree, applets = image.root_tree(request.root), frozenset()
    else:
        tree, applets = image.base_tree()
    for source, destination in request.with_files:
        tree.put_host_path(destination_of(source, destination), source)
    search_path = request.env.get("PATH", DEFAULT_SEARCH_PATH)
    found = find_program(tree, request.argv[0], search_path,
                         request.from_host and request.root is None, applets)
    job = _job(request, found)
    if request.wrapper is not None:
        tree.put_host_file(request.wrapper.path_in_image.lstrip("/"), request.wrapper.file, 0o755)
    try:
        image.add_guest_files(tree, request.boot.init, job)
    except ValueError as error:
        raise RequestError(str(error)) from None
    command_line = checked_command_line(request.append)
    return _assemble(request, tree, job, found, command_line)


def start_guest(request: RunRequest, prepared: Prepared, source: Source | None,
                sinks: dict[Stream, Sink], *, on_log: Callable[[bytes], None] | None = None,
                on_hello: Callable[[], None] = lambda: None) -> Guest:
    """Starts QEMU; the caller runs and closes the guest."""
    return Guest(prepared.machine, source, sinks, symbols=prepared.symbols,
                 timeout_seconds=request.timeout_seconds,
                 boot_timeout_seconds=request.boot_timeout_seconds,
                 on_log=on_log, on_hello=on_hello, name=request.argv[0],
                 interpreter=prepared.found.interpreter)


def run_guest(request: RunRequest,
              on_log: Callable[[bytes], None] | None = None) -> RunResult:
    """Runs a guest to its end and keeps everything that it wrote."""
    prepared = prepare(request)
    try:
        sinks = {stream: CaptureSink() for stream in sinks_wanted(prepared.job)}
        source = None if request.stdin is None else BytesSource(request.stdin)
        if request.conversation is not None:
            source = Conversation(request.conversation)
            sinks[Stream.TERMINAL] = source.terminal
        guest = start_guest(request, prepared, source, sinks, on_log=on_log)
        try:
            if prepared.job.uses_terminal:
                guest.channel.send_window_size(*request.window)
            result = guest.run()
        finally:
            guest.close()
    finally:
        prepared.close()

    def captured(stream: Stream) -> bytes:
        return bytes(sinks[stream].data) if stream in sinks else b""

    return RunResult(**vars(result), stdout=captured(Stream.STDOUT),
                     stderr=captured(Stream.STDERR), terminal=captured(Stream.TERMINAL))


def sinks_wanted(job: Job) -> list[Stream]:
    """Which streams the guest will write."""
    wanted = []
    if job.stdout == "stream":
        wanted.append(Stream.STDOUT)
    if job.stderr == "stream":
        wanted.append(Stream.STDERR)
    if job.uses_terminal:
        wanted.append(Stream.TERMINAL)
    return wanted


def destination_of(source: str, destination: str | None) -> bytes:
    """Where --with puts a file: where it was typed, taken from `/`; `DIR/` means inside DIR."""
    if destination is None:
        return normalise(source)
    if destination.endswith("/"):
        destination += os.path.basename(os.path.normpath(source))
    return normalise(destination)


def checked_command_line(line: str) -> str:
    if not all(" " <= character <= "~" for character in line):
        raise RequestError("the kernel's command line can only be one line of printable ASCII")
    if len(line) > _MAX_COMMAND_LINE_BYTES:
        raise RequestError(f"the kernel's command line is longer than {_MAX_COMMAND_LINE_BYTES} "
                           "bytes")
    return line


def default_memory_bytes(image_bytes: int) -> int:
    """Room for the image and as much to work with as a small image leaves."""
    wanted = DEFAULT_MEMORY_BYTES + image_bytes
    if image_bytes < 128 * _MIB:
        return DEFAULT_MEMORY_BYTES
    return -(-wanted // (128 * _MIB)) * 128 * _MIB


def _job(request: RunRequest, found: Found) -> Job:
    program, argv = found.path_in_image, list(request.argv)
    if request.wrapper is not None:
        path = request.wrapper.path_in_image
        program, argv = path, [path, *request.wrapper.arguments, program, *argv]
    job = Job(program, argv, dict(request.env), request.cwd, stdout=request.stdout,
              stderr=request.stderr)
    job.env.setdefault("PATH", DEFAULT_SEARCH_PATH)
    job.env.setdefault("HOME", "/root")
    if request.stdin_is_tty:
        job.stdin = "tty"
    elif request.stdin is None:
        job.stdin = "closed"
    job.rows, job.columns = request.window
    return job


def _assemble(request: RunRequest, tree: Tree, job: Job, found: Found,
              command_line: str) -> Prepared:
    files = {image.LOADER_FILE: DiskFile(request.boot.loader),
             image.KERNEL_FILE: DiskFile(elf.loadable_part(request.boot.kernel.read_bytes())),
             image.COMMAND_LINE_FILE: DiskFile(command_line.encode("ascii") + b"\n")}
    archive: Archive | None = Archive(tree)
    for name, content in request.disk_files.items():
        if name == image.INITRAMFS_FILE:
            archive = None
        files.pop(name, None)
        if content is not None:
            files[name] = DiskFile(content)
    memory_bytes = request.memory_bytes
    if memory_bytes is None:
        memory_bytes = default_memory_bytes(archive.size_bytes if archive else 0)
    disk_fd = firmware_fd = -1
    try:
        disk_fd = nameless_file()
        image.write_disk(disk_fd, files, archive)
        firmware_fd = nameless_file()
        firmware.write_image(firmware_fd)
    except BaseException:
        for fd in (disk_fd, firmware_fd):
            if fd >= 0:
                os.close(fd)
        raise
    machine = qemu.Machine(disk_fd, firmware_fd, memory_bytes, request.cpus, request.accelerator,
                           request.gdb_port, tuple(request.qemu_arguments), request.cpu,
                           more_fds=request.more_fds)
    return Prepared(machine, job, found, request.boot.kernel)


def nameless_file() -> int:
    """A temporary file that vanishes with its last descriptor."""
    with tempfile.TemporaryFile(prefix="holstein-", buffering=0) as file:
        return os.dup(file.fileno())
