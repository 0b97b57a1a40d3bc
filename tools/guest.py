"""One run of a guest, from QEMU's start to its end, and what became of it."""

import dataclasses
import enum
import json
import os
import time
from pathlib import Path

from tools import panic_report, qemu
from tools.channel import HostChannel, Sink, Source
from tools.event_loop import READ, EventLoop
from tools.protocol import ProtocolError, Stream

TIMED_OUT = 124
BROKEN = 125

# The guest has sent its last frame: what it may take to power off.
_POWER_OFF_SECONDS = 30.0
# QEMU is gone: what its sockets may take to deliver what it had written.
_LAST_WORDS_SECONDS = 5.0
# The run was ended by force: what the reader of our output gets to take the rest.
_FORCED_DRAIN_SECONDS = 1.0
_LOG_BYTES = 64 << 20
_SERIAL_BYTES = 1 << 20
_ENOENT = 2
DEFAULT_BOOT_TIMEOUT_SECONDS = 600.0


class Outcome(enum.Enum):
    EXITED = "exited"  # the program ran and ended: wait_status
    NOT_STARTED = "not started"  # the guest could not start the program
    TIMED_OUT = "timed out"
    PANICKED = "panicked"
    LOADER_FAILED = "loader failed"
    NOT_BOOTED = "not booted"  # nothing was heard of the kernel
    BROKEN = "broken"  # QEMU died, the guest reset, or it broke the protocol
    ABORTED = "aborted"  # by Guest.abort


@dataclasses.dataclass
class GuestResult:
    outcome: Outcome
    exit_status: int  # the command's own
    message: str = ""  # one line (a panic: a whole report) for the user; empty where all is well
    wait_status: int | None = None  # as wait4 gives it
    start_errno: int | None = None
    log: bytes = b""
    serial: bytes = b""
    panic: str | None = None  # symbolized
    qemu_status: int | None = None
    powered_off: bool = False  # the guest did so by itself, in time
    qemu_errors: str = ""

    @property
    def double_fetches(self) -> list[str]:
        """What a debug kernel's log says of user bytes that one system call has read twice."""
        return [line for line in self.log.decode("utf-8", "replace").splitlines()
                if "double fetch:" in line]


def exit_status_of(wait_status: int) -> int:
    """What a shell makes of it."""
    return os.WEXITSTATUS(wait_status) if os.WIFEXITED(wait_status) else \
        128 + os.WTERMSIG(wait_status)


class _Tail:
    """Everything that comes out of a descriptor, or the end of it."""

    def __init__(self, loop: EventLoop, fd: int, limit_bytes: int, sink=None) -> None:
        self.data = bytearray()
        self.closed = False
        self._loop, self._fd, self._limit_bytes, self._sink = loop, fd, limit_bytes, sink
        loop.watch(fd, READ, self.read)

    def read(self, _events: int) -> None:
        try:
            data = os.read(self._fd, 1 << 16)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.closed = True
            self._loop.watch(self._fd, 0, self.read)
            return
        self.data += data
        if len(self.data) > 2 * self._limit_bytes:
            del self.data[:-self._limit_bytes]
        if self._sink is not None:
            self._sink(data)


class Guest:
    """Create it, call run() once (or step() until it is over, then result()), then close()."""

    def __init__(self, machine: qemu.Machine, source: Source | None, sinks: dict[Stream, Sink],
                 *, symbols: Path | None = None, timeout_seconds: float | None = None,
                 boot_timeout_seconds: float | None = DEFAULT_BOOT_TIMEOUT_SECONDS,
                 on_log=None, on_hello=lambda: None, name: str = "the program",
                 interpreter: str | None = None) -> None:
        self.loop = EventLoop()
        self._symbols = symbols
        self._name = name
        self._interpreter = interpreter
        self._timeout_seconds = timeout_seconds
        self._boot_timeout_seconds = boot_timeout_seconds
        self._result: GuestResult | None = None
        started = time.monotonic()
        self._deadline = None if timeout_seconds is None else started + timeout_seconds
        self._boot_deadline = None if boot_timeout_seconds is None else \
            started + boot_timeout_seconds
        self._power_off_deadline: float | None = None
        self._last_words_deadline: float | None = None
        self.process = qemu.start(machine)
        process = self.process
        self._exit_fd = os.pidfd_open(process.popen.pid)
        self.loop.watch(self._exit_fd, READ, self._on_exit)
        self._log = _Tail(self.loop, process.log.fileno(), _LOG_BYTES, on_log)
        self._serial = _Tail(self.loop, process.serial.fileno(), _SERIAL_BYTES)
        self._errors = _Tail(self.loop, process.popen.stderr.fileno(), _SERIAL_BYTES)
        self._monitor = _Tail(self.loop, process.monitor.fileno(), _SERIAL_BYTES)
        self.channel = HostChannel(self.loop, process.channel, source, sinks, on_hello)

    def run(self) -> GuestResult:
        """Returns once the program's output is written and QEMU is gone."""
        while not self.step(None):
            pass
        return self.result()

    def step(self, most_seconds: float | None) -> bool:
        """Waits for the next event, at most so long, and serves it; true once the run is over."""
        if self._result is None:
            known = [seconds for seconds in (self._seconds_left(), most_seconds)
                     if seconds is not None]
            try:
                self.loop.run_once(min(known, default=None))
                self._check()
            except ProtocolError as error:
                self._finish(Outcome.BROKEN, BROKEN,
                             f"the guest broke the channel's protocol: {error}")
        return self._result is not None

    def result(self) -> GuestResult:
        """What became of a run that is over."""
        self._drain_what_is_ready()
        result = self._result
        result.log, result.serial = bytes(self._log.data), bytes(self._serial.data)
        result.qemu_errors = self._errors.data.decode("utf-8", "replace")
        return result

    def abort(self, exit_status: int, message: str) -> None:
        """Ends the run at the next turn of the loop."""
        self._finish(Outcome.ABORTED, exit_status, message)

    def close(self) -> None:
        self.channel.close()
        self.process.close()
        os.close(self._exit_fd)
        self.loop.close()

    def _seconds_left(self) -> float | None:
        deadlines = [self._deadline, self._power_off_deadline]
        if not self.channel.greeted:
            deadlines.append(self._boot_deadline)
        if not self._heard_all:
            deadlines.append(self._last_words_deadline)
        known = [deadline for deadline in deadlines if deadline is not None]
        return min(known) - time.monotonic() if known else None

    def _on_exit(self, _events: int) -> None:
        self.loop.watch(self._exit_fd, 0, self._on_exit)
        self.process.popen.wait()
        self._power_off_deadline = None
        self._last_words_deadline = time.monotonic() + _LAST_WORDS_SECONDS

    @property
    def _has_exited(self) -> bool:
        return self._last_words_deadline is not None

    @property
    def _heard_all(self) -> bool:
        """QEMU is gone and its sockets are empty, or took too long to be."""
        return self._has_exited and (
            all(end.closed for end in (self._log, self._serial, self._monitor, self.channel)) or
            time.monotonic() >= self._last_words_deadline)

    def _check(self) -> None:
        """Decides whether the run is over."""
        if self._result is not None:
            return
        now = time.monotonic()
        if self._has_exited:
            if self._heard_all and self.channel.drained:
                self._classify()
                return
        elif self.channel.ended and self.channel.drained:
            if self._power_off_deadline is None:
                self._power_off_deadline = now + _POWER_OFF_SECONDS
            elif now >= self._power_off_deadline:
                self._classify()
                return
        if self._deadline is not None and now >= self._deadline:
            self._finish(Outcome.TIMED_OUT, TIMED_OUT,
                         f"{self._name}: ended after {self._timeout_seconds:g} seconds")
        elif self._boot_deadline is not None and not self._has_exited and \
                not self.channel.greeted and now >= self._boot_deadline:
            self._finish(Outcome.NOT_BOOTED, BROKEN, "nothing was heard of the guest's kernel "
                         f"for {self._boot_timeout_seconds:g} seconds")

    def _classify(self) -> None:
        """QEMU has ended by itself, or the program has and QEMU has not."""
        status = self.process.popen.returncode if self._has_exited else None
        log = self._log.data.decode("utf-8", "replace")
        panic = panic_report.find(log)
        if status == qemu.STATUS_PANIC or panic is not None:
            panic = panic_report.symbolize(panic or _last_lines(log), self._symbols)
            self._finish(Outcome.PANICKED, BROKEN, f"the guest's kernel panicked\n{panic}", status)
            self._result.panic = panic
        elif status == qemu.STATUS_LOADER:
            line = panic_report.loader_message(log, self._serial.data.decode("utf-8", "replace"))
            self._finish(Outcome.LOADER_FAILED, BROKEN, line or "the loader gave up, without a word",
                         status)
        elif status not in (0, None):
            said = _last_lines(self._errors.data.decode("utf-8", "replace"))
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            self._finish(Outcome.BROKEN, BROKEN, f"QEMU {how}{': ' if said else ''}{said}", status)
        elif self.channel.start_error is not None:
            error = self.channel.start_error
            text = f"{error.text or self._name}: {os.strerror(error.errno)}"
            if self._interpreter is not None:
                text += (f" (a dynamic program, for {self._interpreter}: "
                         "this kernel may not be able to run those yet)")
            self._finish(Outcome.NOT_STARTED, 127 if error.errno == _ENOENT else 126, text, status)
            self._result.start_errno = error.errno
        elif self.channel.wait_status is not None:
            wait_status = self.channel.wait_status
            message = "" if self._has_exited else "the guest did not power off"
            self._finish(Outcome.EXITED, exit_status_of(wait_status), message, status)
            self._result.wait_status = wait_status
            self._result.powered_off = self._has_exited
        else:
            self._finish(Outcome.BROKEN, BROKEN, f"the guest {self._shutdown_reason()} before "
                         f"{self._name} ended", status)

    def _shutdown_reason(self) -> str:
        """What QEMU's monitor said of the end."""
        for line in self._monitor.data.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event.get("event") == "SHUTDOWN":
                reason = event.get("data", {}).get("reason", "")
                if reason == "guest-reset":
                    return "reset (a triple fault, or a reboot)"
                if reason == "guest-shutdown":
                    return "powered off"
                return f"stopped ({reason})"
        return "stopped"

    def _finish(self, outcome: Outcome, exit_status: int, message: str,
                qemu_status: int | None = None) -> None:
        if self._result is None:
            self._result = GuestResult(outcome, exit_status, message, qemu_status=qemu_status)

    def _drain_what_is_ready(self) -> None:
        """After a forced end: what the program wrote before goes where it can go at once."""
        if not self._has_exited:
            self.process.kill()
        give_up = time.monotonic() + _FORCED_DRAIN_SECONDS
        try:
            while time.monotonic() < give_up and not (
                    self.channel.drained and self.channel.closed and self._log.closed):
                self.loop.run_once(0.05)
        except ProtocolError:
            pass


def _last_lines(text: str, count: int = 20) -> str:
    return "\n".join(text.strip().splitlines()[-count:])
