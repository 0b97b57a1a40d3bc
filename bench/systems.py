"""The systems that are compared, and one boot of each: what is started, with what, how it ended."""

import dataclasses
import os
import time
from collections.abc import Callable

from tools.guest import Guest, Outcome
from tools.protocol import Stream
from tools.runner import BootFiles, Prepared, RunRequest, prepare, start_guest
from tools.streams import BytesSource, CaptureSink

from bench import linux_guest
from bench.linux import LinuxKernel
from bench.linux_guest import LinuxGuest, LinuxSettings
from bench.protocol import Reader
from bench.results import Run

PROGRAM = "/bench"
SMALL_PROGRAM = "/small"
# The program's exit status where it got to its end and said of some rows that they failed.
_SOME_FAILED = 1

_LINUX = {
    "linux": ("Linux", LinuxSettings("always")),
    "linux-4k": ("Linux, 4 KiB pages", LinuxSettings("never")),
    "linux-nomitigations": ("Linux, no mitigations",
                            LinuxSettings("always", "mitigations=off")),
}
HOLSTEIN = "holstein"
NAMES = (HOLSTEIN, *_LINUX)
QUICK_NAMES = (HOLSTEIN, "linux")
_SHOWN_LINES = 20


def title(name: str) -> str:
    return "Holstein" if name == HOLSTEIN else _LINUX[name][0]


@dataclasses.dataclass(frozen=True)
class Setup:
    """What every system gets alike."""
    boot: BootFiles
    files: list[tuple[str, str]]  # host path, path in the image
    arguments: list[str]  # of the program, argv[0] included
    memory_bytes: int
    cpu: str
    accelerator: str
    qemu_arguments: tuple[str, ...] = ()

    def request(self) -> RunRequest:
        return RunRequest(
            boot=self.boot, argv=list(self.arguments), with_files=list(self.files), from_host=False,
            memory_bytes=self.memory_bytes, accelerator=self.accelerator, cpu=self.cpu,
            qemu_arguments=self.qemu_arguments,
            boot_timeout_seconds=None)


class _LineSink(CaptureSink):
    """A program's stream that is listened to while it comes."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        super().__init__(limit_bytes=0)
        self._take = take

    def write(self, data: bytes) -> None:
        self._take(data)
        super().write(data)


class Boot:
    """One boot: create it, call step() until it is over or stop() it, then end() and close()."""

    def __init__(self, name: str, reader: Reader) -> None:
        self.name = name
        self.reader = reader
        self._started = time.monotonic()
        self._stopped = ""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def stop(self, why: str) -> None:
        self._stopped = why

    def _program_problem(self, status: int) -> str:
        if status == 0 or status == _SOME_FAILED and self.reader.ended:
            return ""
        return f"the program ended with status {status}"

    def end(self) -> Run:
        """What became of it; the reader has all that was said."""
        problem, last_words = self._problem()
        self.reader.finish()
        run = Run(self.qemu_arguments(), self.kernel_command_line(), self.seconds)
        if self._stopped:
            run.problem = self._stopped
        elif problem or not self.reader.ended:
            run.problem = problem or "the program ended before its last line"
            run.last_words = (last_words or self.reader.noise)[-_SHOWN_LINES:]
        return run


class HolsteinBoot(Boot):
    def __init__(self, setup: Setup, reader: Reader) -> None:
        super().__init__(HOLSTEIN, reader)
        request = setup.request()
        self._errors = CaptureSink(1 << 20)
        self._prepared = prepare(request)
        try:
            self._guest: Guest = start_guest(
                request, self._prepared, BytesSource(b""),
                {Stream.STDOUT: _LineSink(reader.feed), Stream.STDERR: self._errors})
        except BaseException:
            self._prepared.close()
            raise

    def step(self, most_seconds: float) -> bool:
        return self._guest.step(most_seconds)

    def qemu_arguments(self) -> list[str]:
        return list(self._guest.process.popen.args)

    def kernel_command_line(self) -> str:
        return ""

    def close(self) -> None:
        self._guest.close()
        self._prepared.close()

    def _problem(self) -> tuple[str, list[str]]:
        if self._stopped:
            self._guest.abort(0, self._stopped)
        result = self._guest.result()
        errors = self._errors.data.decode("utf-8", "replace").splitlines()
        if result.outcome is Outcome.EXITED:
            return self._program_problem(result.exit_status), errors
        first, *rest = result.message.splitlines() or [result.outcome.value]
        log = result.log.decode("utf-8", "replace").splitlines()
        return first, rest or errors or log


class LinuxBoot(Boot):
    def __init__(self, name: str, setup: Setup, kernel: LinuxKernel, reader: Reader) -> None:
        super().__init__(name, reader)
        self._settings = _LINUX[name][1]
        self._prepared: Prepared = prepare(setup.request())
        fds = []
        try:
            fds.append(linux_guest.write_initramfs(setup.arguments, self._settings, setup.files))
            machine, kernel_fd = linux_guest.add_linux(self._prepared, kernel, fds[0],
                                                       self._settings)
            fds.append(kernel_fd)
            self._guest = LinuxGuest(machine, reader.feed)
        except BaseException:
            self._prepared.close()
            raise
        finally:
            for fd in fds:  # QEMU has them
                os.close(fd)

    def step(self, most_seconds: float) -> bool:
        return self._guest.step(most_seconds)

    def qemu_arguments(self) -> list[str]:
        return self._guest.arguments

    def kernel_command_line(self) -> str:
        return self._settings.command_line

    def close(self) -> None:
        self._guest.close()
        self._prepared.close()

    def _problem(self) -> tuple[str, list[str]]:
        problem = self._guest.problem()
        status = self.reader.facts.get("status")
        if not problem and status is None:
            problem = "Linux ended before the program did"
        elif not problem:
            problem = self._program_problem(int(status) if status.isdecimal() else -1)
        return problem, []


def never_started(why: str) -> Run:
    """Of a boot for which there was no time."""
    return Run([], problem=why)


def start(name: str, setup: Setup, linux: LinuxKernel | None, reader: Reader) -> Boot:
    if name == HOLSTEIN:
        return HolsteinBoot(setup, reader)
    assert linux is not None
    return LinuxBoot(name, setup, linux, reader)
