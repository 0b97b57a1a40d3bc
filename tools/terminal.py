"""The user's terminal while a guest runs on it: raw, and restored on every way out.

Two stages: until the guest has answered, keys are collected without echo but Ctrl-C still ends the
run (`prepare`); from then on every byte is the guest's (`make_raw`). `restore` is safe to call at
any time, any number of times.
"""

import fcntl
import os
import struct
import termios

from tools.event_loop import EventLoop
from tools.streams import FdSource

# Ctrl-] (as telnet and virsh have it), then one of the keys below.
ESCAPE = 0x1D
KILL_KEY = ord("x")
ESCAPE_HELP = "Ctrl-] then x ends a guest that hangs; Ctrl-] twice types one Ctrl-]"

_IFLAG, _OFLAG, _CFLAG, _LFLAG, _ISPEED, _OSPEED, _CC = range(7)


class Terminal:
    """Owns the modes of the terminal that `fd` refers to."""

    def __init__(self, fd: int) -> None:
        # A duplicate, because the program's standard input may be let go of earlier than the modes.
        self._fd = os.dup(fd)
        self._saved = termios.tcgetattr(self._fd)
        self._changed = False
        self._mode: list | None = None

    def prepare(self) -> None:
        mode = self._copy_of_saved()
        mode[_LFLAG] &= ~(termios.ICANON | termios.ECHO)
        mode[_LFLAG] |= termios.ISIG
        self._set(mode)

    def make_raw(self) -> None:
        """As cfmakeraw(3), with 8 data bits."""
        mode = self._copy_of_saved()
        mode[_IFLAG] &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP |
                          termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON)
        mode[_OFLAG] &= ~termios.OPOST
        mode[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG |
                          termios.IEXTEN)
        mode[_CFLAG] = (mode[_CFLAG] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        self._set(mode)

    def restore(self) -> None:
        """The modes as they were before; the stage is remembered for `resume`."""
        if self._changed:
            self._changed = False
            try:
                termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)
            except termios.error:
                pass  # the terminal is gone

    def resume(self) -> None:
        """After the process was stopped and continued: the stage that `restore` left."""
        if self._mode is not None:
            self._set(self._mode)

    def close(self) -> None:
        self.restore()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def is_raw(self) -> bool:
        return self._changed and self._mode is not None and \
            not self._mode[_LFLAG] & termios.ISIG

    def _copy_of_saved(self) -> list:
        mode = list(self._saved)
        mode[_CC] = list(mode[_CC])
        mode[_CC][termios.VMIN] = 1
        mode[_CC][termios.VTIME] = 0
        return mode

    def _set(self, mode: list) -> None:
        self._mode = mode
        self._changed = True
        try:
            termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        except termios.error:
            pass


def window_size(fd: int) -> tuple[int, int] | None:
    """(rows, columns) of a terminal; None where `fd` is none."""
    try:
        rows, columns, _, _ = struct.unpack(
            "HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return None
    return rows, columns


class KeyboardSource(FdSource):
    """A terminal as standard input, watched for the escape that ends a hung guest."""

    def __init__(self, fd: int, on_kill) -> None:
        super().__init__(fd)
        self._on_kill = on_kill
        self._escaped = False

    def start(self, loop: EventLoop, wanted, deliver) -> None:
        def filtered(data: bytes) -> None:
            if not data:
                deliver(data)
                return
            passed = self._filter(data)
            if passed:
                deliver(passed)
            else:
                self.resume()

        super().start(loop, wanted, filtered)

    def _filter(self, data: bytes) -> bytes:
        if not self._escaped and ESCAPE not in data:
            return data
        passed = bytearray()
        for byte in data:
            if self._escaped:
                self._escaped = False
                if byte == KILL_KEY:
                    self._on_kill()
                    return bytes(passed)
                if byte != ESCAPE:
                    passed.append(ESCAPE)
                passed.append(byte)
            elif byte == ESCAPE:
                self._escaped = True
            else:
                passed.append(byte)
        return bytes(passed)
