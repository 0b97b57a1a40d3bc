"""Signals while a guest runs: none of them may leave a raw terminal or a QEMU behind.

Signals reach the event loop through a wake-up pipe. Those that end the command are remembered, and
`die_of` lets the process die of them after everything is tidy, so that its parent sees the truth.
"""

import os
import signal
from collections.abc import Callable

from tools.event_loop import READ, EventLoop

_FATAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_OTHERS = (signal.SIGTSTP, signal.SIGWINCH)


class Interrupted(BaseException):
    """A fatal signal that arrived while no loop was watching for it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """A context manager: inside it signals are caught; `watch` hands them to callbacks.

    A fatal signal that arrives before `watch` raises Interrupted; after `unwatch` it is too late to
    matter, and must not keep the terminal from being restored.
    """

    def __init__(self) -> None:
        self._saved: dict[int, object] = {}
        self._loop: EventLoop | None = None
        self._is_over = False
        self._on_fatal: Callable[[int], None] = lambda number: None
        self._on_other: dict[int, Callable[[], None]] = {}

    def __enter__(self) -> "Signals":
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in _FATAL + _OTHERS:
            # What the parent told us to ignore (nohup) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._saved[number] = signal.signal(number, self._handle)
        self._saved_wakeup = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_) -> None:
        self.unwatch()
        signal.set_wakeup_fd(self._saved_wakeup)
        for number, handler in self._saved.items():
            signal.signal(number, handler)
        os.close(self._read_fd)
        os.close(self._write_fd)

    def watch(self, loop: EventLoop, on_fatal: Callable[[int], None],
              on_stop: Callable[[], None], on_resize: Callable[[], None]) -> None:
        self._on_fatal = on_fatal
        self._on_other = {signal.SIGTSTP: on_stop, signal.SIGWINCH: on_resize}
        self._loop = loop
        loop.watch(self._read_fd, READ, self._on_ready)

    def unwatch(self) -> None:
        self._is_over = True
        if self._loop is not None:
            self._loop.watch(self._read_fd, 0, self._on_ready)
            self._loop = None

    def _handle(self, number: int, _frame) -> None:
        if self._is_over:
            return
        if self._loop is None and number in _FATAL:
            raise Interrupted(number)
        if self._loop is None and number == signal.SIGTSTP:
            stop_self()

    def _on_ready(self, _events: int) -> None:
        try:
            numbers = os.read(self._read_fd, 4096)
        except BlockingIOError:
            return
        for number in dict.fromkeys(numbers):
            if number in _FATAL:
                self._on_fatal(number)
            elif number in self._on_other:
                self._on_other[number]()


def stop_self() -> None:
    """Stops this process as Ctrl-Z does; returns when it is continued."""
    os.kill(os.getpid(), signal.SIGSTOP)


def die_of(number: int) -> None:
    """Ends this process by a signal; does not return."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    os._exit(128 + number)
