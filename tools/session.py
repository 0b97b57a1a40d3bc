"""A guest on the command's own standard streams: what `run` and `shell` do once all is built."""

import contextlib
import os
import signal
import time

from tools import signals, standard_streams
from tools.channel import Sink, Source
from tools.guest import BROKEN, Guest, GuestResult
from tools.protocol import Stream
from tools.runner import Prepared, RunRequest, prepare, sinks_wanted, start_guest
from tools.streams import FdSink, FdSource
from tools.terminal import KeyboardSource, Terminal, window_size

# More of the kernel's log than this is not kept for a standard error that does not take it.
_LOG_BACKLOG_BYTES = 8 << 20
_LOG_SECONDS = 2.0


def describe_streams(request: RunRequest) -> None:
    """Fills in what the command's descriptors 0, 1 and 2 are."""
    request.stdin_is_tty = standard_streams.kind(0) == "tty"
    if standard_streams.is_closed(0):
        request.stdin = None
    request.stdout = standard_streams.kind(1)
    request.stderr = standard_streams.kind(2)
    size = _terminal_size()
    if size is not None:
        request.window = size


def run(request: RunRequest, show_log: bool, before_start=lambda prepared: None,
        captured: dict[Stream, Sink] | None = None) -> int:
    """Runs the guest to its end and returns the command's exit status.

    Does not return where a signal ended it: the process dies of that signal. What comes out of
    the streams in `captured` goes there and not to the command's own.
    `before_start` hears of the finished image just before QEMU starts.
    """
    died_of = 0
    status = BROKEN
    try:
        with signals.Signals() as caught:
            prepared = prepare(request)
            try:
                before_start(prepared)
                session = _Session(request, prepared, show_log, caught, captured or {})
                try:
                    result = session.run()
                finally:
                    session.close()
                died_of = session.died_of
            finally:
                prepared.close()
            status = result.exit_status
            if result.message and not died_of:
                own = result.message.startswith("holstein")
                standard_streams.say(result.message if own else f"holstein: {result.message}")
            if show_log and result.qemu_errors:
                standard_streams.say(result.qemu_errors)
    except signals.Interrupted as interrupted:
        died_of = interrupted.number
    if died_of:
        signals.die_of(died_of)
    return status


class _Session:
    def __init__(self, request: RunRequest, prepared: Prepared, show_log: bool,
                 caught: signals.Signals, captured: dict[Stream, Sink]) -> None:
        self.died_of = 0
        self._captured = captured
        self._caught = caught
        self._errors: list[str] = []
        self._guest: Guest | None = None
        self._terminal: Terminal | None = None
        self._log_sink: FdSink | None = None
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            if request.stdin_is_tty:
                self._terminal = Terminal(0)
                self._terminal.prepare()
            self._guest = start_guest(request, prepared, self._source(request),
                                      self._sinks(prepared),
                                      on_log=self._on_log if show_log else None,
                                      on_hello=self._on_hello)
            if show_log and not standard_streams.is_closed(2):
                self._log_sink = FdSink(2)
                self._log_sink.start(self._guest.loop, lambda count: None, lambda: None)
            if prepared.job.uses_terminal:
                self._guest.channel.send_window_size(*request.window)
            undo.pop_all()

    def run(self) -> GuestResult:
        self._caught.watch(self._guest.loop, self._on_fatal, self._on_stop, self._on_resize)
        try:
            result = self._guest.run()
            self._finish_log()
        finally:
            self._caught.unwatch()
            if self._terminal is not None:
                self._terminal.restore()
        for line in self._errors:
            standard_streams.say(line)
        return result

    def close(self) -> None:
        """Restores and frees everything; safe to call at any time."""
        if self._terminal is not None:
            self._terminal.close()
        if self._log_sink is not None:
            self._log_sink.close()
            self._log_sink = None
        if self._guest is not None:
            self._guest.close()
            self._guest = None

    def _source(self, request: RunRequest) -> Source | None:
        if request.stdin is None:
            return None
        if request.stdin_is_tty:
            return KeyboardSource(0, self._on_kill_key)
        return FdSource(0)

    def _sinks(self, prepared: Prepared) -> dict[Stream, Sink]:
        descriptors = {Stream.STDOUT: 1, Stream.STDERR: 2, Stream.TERMINAL: _terminal_fd()}
        names = {Stream.STDOUT: "standard output", Stream.STDERR: "standard error",
                 Stream.TERMINAL: "the terminal"}

        def reporter(stream: Stream):
            return lambda error: self._errors.append(
                f"holstein: {names[stream]}: {error.strerror}")

        return {stream: self._captured.get(stream) or
                FdSink(descriptors[stream], reporter(stream))
                for stream in sinks_wanted(prepared.job)}

    def _on_hello(self) -> None:
        if self._terminal is not None:
            self._terminal.make_raw()

    def _on_log(self, data: bytes) -> None:
        sink = self._log_sink
        if sink is None or sink.pending_bytes > _LOG_BACKLOG_BYTES:
            return
        if self._terminal is not None and self._terminal.is_raw and os.isatty(2):
            data = data.replace(b"\n", b"\r\n")
        sink.write(data)

    def _finish_log(self) -> None:
        """What is left of the kernel's log gets a moment; a stuck standard error loses it."""
        give_up = time.monotonic() + _LOG_SECONDS
        while self._log_sink is not None and self._log_sink.pending_bytes and \
                time.monotonic() < give_up:
            self._guest.loop.run_once(give_up - time.monotonic())

    def _on_kill_key(self) -> None:
        self._guest.abort(BROKEN, "the guest was ended from the keyboard")

    def _on_fatal(self, number: int) -> None:
        self.died_of = number
        self._guest.abort(128 + number, "")

    def _on_stop(self) -> None:
        """Ctrl-Z while the terminal is not raw, or `kill -TSTP`: the guest stops as well."""
        if self._terminal is not None:
            self._terminal.restore()
        qemu = self._guest.process.popen
        qemu.send_signal(signal.SIGSTOP)
        signals.stop_self()
        qemu.send_signal(signal.SIGCONT)
        if self._terminal is not None:
            self._terminal.resume()
        self._on_resize()

    def _on_resize(self) -> None:
        size = _terminal_size()
        if size is not None:
            self._guest.channel.send_window_size(*size)


def _terminal_fd() -> int:
    """Where the guest's terminal prints."""
    return next((fd for fd in (1, 2, 0) if os.isatty(fd)), 2)


def _terminal_size() -> tuple[int, int] | None:
    return window_size(_terminal_fd())
