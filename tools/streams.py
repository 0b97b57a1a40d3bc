"""Where a program's streams begin and end on this side: descriptors, or memory for tests.

A Source yields what the program reads, a Sink takes what it writes. Neither ever blocks the event
loop: descriptors that other processes share are never switched to O_NONBLOCK (that would change
them for those processes too) but opened anew, or written in pieces that poll() promises to take.
"""

import errno
import os
import socket
import stat
from collections.abc import Callable

from tools.event_loop import READ, WRITE, EventLoop

# What a pipe that polls writable takes without blocking (PIPE_BUF, pipe(7)).
_SAFE_WRITE_BYTES = 4096
_READ_BYTES = 64 * 1024


def _replace_by_null(fd: int) -> None:
    """Lets go of what `fd` refers to, but keeps the number taken."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.dup2(null, fd, inheritable=False)
    finally:
        os.close(null)


class BytesSource:
    """Reads from memory."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._deliver: Callable[[bytes], int] | None = None

    def start(self, loop: EventLoop, wanted: Callable[[], int],
              deliver: Callable[[bytes], None]) -> None:
        """`wanted()` says how many bytes there is room for; `deliver(b"")` is end of file."""
        self._wanted = wanted
        self._deliver = deliver

    def resume(self) -> None:
        while self._deliver is not None and (room := self._wanted()) > 0:
            piece = bytes(self._data[:min(room, _READ_BYTES)])
            self._data = self._data[len(piece):]
            deliver = self._deliver
            if not piece:
                self._deliver = None
            deliver(piece)

    def stop(self) -> None:
        self._deliver = None


class FdSource:
    """Reads a descriptor that belongs to somebody else."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop: EventLoop | None = None

    def start(self, loop: EventLoop, wanted: Callable[[], int],
              deliver: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._wanted = wanted
        self._deliver = deliver

    def resume(self) -> None:
        """Looks again whether there is room for more."""
        if self._loop is not None:
            self._loop.watch(self._fd, READ if self._wanted() > 0 else 0, self._on_ready)

    def stop(self) -> None:
        """Reads no more and lets go of the descriptor, so that a writer sees EPIPE."""
        if self._loop is not None:
            self._loop.watch(self._fd, 0, self._on_ready)
            self._loop = None
            _replace_by_null(self._fd)

    def _on_ready(self, _events: int) -> None:
        if self._loop is None:
            return
        room = self._wanted()
        if room <= 0:
            self.resume()
            return
        try:
            data = os.read(self._fd, min(room, _READ_BYTES))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""  # a terminal that hung up, a directory: nothing will ever come
        if not data:
            self._loop.watch(self._fd, 0, self._on_ready)
            self._loop = None
        self._deliver(data)


class CaptureSink:
    """Keeps what is written in memory."""

    def __init__(self, limit_bytes: int = 1 << 30) -> None:
        self.data = bytearray()
        self._limit_bytes = limit_bytes

    def start(self, loop: EventLoop, written: Callable[[int], None],
              broken: Callable[[], None]) -> None:
        self._written = written

    def write(self, data: bytes) -> None:
        self.data += data[:max(0, self._limit_bytes - len(self.data))]
        self._written(len(data))

    def finish(self) -> None:
        pass

    @property
    def pending_bytes(self) -> int:
        return 0

    def close(self) -> None:
        pass


class FdSink:
    """Writes to a descriptor that belongs to somebody else.

    `on_error` hears of an error that is not a broken pipe (a full disk); both break the stream.
    """

    def __init__(self, fd: int, on_error: Callable[[OSError], None] | None = None) -> None:
        self._fd = fd
        self._on_error = on_error
        self._pending = bytearray()
        self._finishing = False
        self._is_broken = False
        self._is_released = False
        self._own_fd: int | None = None
        self._socket: socket.socket | None = None
        mode = os.fstat(fd).st_mode
        self._piece_bytes = 1 << 20
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(fd))
        elif stat.S_ISFIFO(mode) or os.isatty(fd):
            try:
                self._own_fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK |
                                       os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:
                self._piece_bytes = _SAFE_WRITE_BYTES
        elif not stat.S_ISREG(mode):
            self._piece_bytes = _SAFE_WRITE_BYTES

    def start(self, loop: EventLoop, written: Callable[[int], None],
              broken: Callable[[], None]) -> None:
        """`written(n)`: n bytes were passed on (or thrown away); `broken()`: nobody reads."""
        self._loop = loop
        self._written = written
        self._broken = broken

    @property
    def pending_bytes(self) -> int:
        return len(self._pending)

    def write(self, data: bytes) -> None:
        if self._is_broken:
            self._written(len(data))
            return
        self._pending += data
        self._loop.watch(self._target_fd, WRITE, self._on_ready)

    def finish(self) -> None:
        """No more will be written: lets go of the descriptor once everything is out."""
        self._finishing = True
        self._let_go_if_done()

    def close(self) -> None:
        """Frees what was opened here; the descriptor itself stays its owner's."""
        if getattr(self, "_loop", None) is not None:
            self._loop.watch(self._target_fd, 0, self._on_ready)
        if self._own_fd is not None:
            os.close(self._own_fd)
            self._own_fd = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def _target_fd(self) -> int:
        if self._socket is not None:
            return self._socket.fileno()
        return self._fd if self._own_fd is None else self._own_fd

    def _on_ready(self, _events: int) -> None:
        if not self._pending:
            self._loop.watch(self._target_fd, 0, self._on_ready)
            return
        try:
            with memoryview(self._pending) as view, view[:self._piece_bytes] as piece:
                if self._socket is not None:
                    count = self._socket.send(piece, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                else:
                    count = os.write(self._target_fd, piece)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._break(error)
            return
        del self._pending[:count]
        if not self._pending:
            self._loop.watch(self._target_fd, 0, self._on_ready)
        self._written(count)
        self._let_go_if_done()

    def _break(self, error: OSError) -> None:
        self._is_broken = True
        self._loop.watch(self._target_fd, 0, self._on_ready)
        lost = len(self._pending)
        self._pending.clear()
        if error.errno not in (errno.EPIPE, errno.ECONNRESET) and self._on_error is not None:
            self._on_error(error)
        self._broken()
        self._written(lost)
        self._let_go_if_done()

    def _let_go_if_done(self) -> None:
        if self._finishing and not self._pending and not self._is_released:
            self._is_released = True
            self._is_broken = True  # whatever comes now is thrown away
            self.close()
            _replace_by_null(self._fd)
