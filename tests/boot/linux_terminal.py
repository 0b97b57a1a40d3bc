"""The conversation of a boot test, held with a program on Linux over a pseudo-terminal."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time


class ConversationError(AssertionError):
    """What was waited for did not come."""


def converse(argv: list[str], steps: list[tuple[bytes, bytes]], environment: dict[str, str],
             folder: str, window: tuple[int, int], timeout_seconds: float) -> tuple[bytes, int]:
    """Runs a program on a terminal; returns what it printed, and its exit status."""
    pid, terminal = pty.fork()
    if pid == 0:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        # The window's size must be known before the program asks for it.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *window, 0, 0))
        os.chdir(folder)
        os.execve(argv[0], argv, environment)
    try:
        said = _talk(terminal, steps, time.monotonic() + timeout_seconds)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)
        status = os.waitpid(pid, 0)[1]
    return said, os.waitstatus_to_exitcode(status)


def _talk(terminal: int, steps: list[tuple[bytes, bytes]], deadline: float) -> bytes:
    said = bytearray()
    position = 0
    pending = list(steps)
    while True:
        while pending and (found := said.find(pending[0][0], position)) >= 0:
            position = found + len(pending[0][0])
            os.write(terminal, pending.pop(0)[1])
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            raise ConversationError(f"waited for {pending[:1]} after:\n"
                                    f"{said[-2000:].decode('utf-8', 'replace')}")
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # EIO: the last process has closed it
            data = b""
        if not data:
            return bytes(said)
        said += data
