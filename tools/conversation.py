"""A user at the terminal who waits for something to appear and then types: for boot tests."""

from collections.abc import Callable

from tools.event_loop import EventLoop
from tools.streams import CaptureSink


class Conversation:
    """The source of a guest's standard input; `terminal` is the sink of what its terminal prints.

    Each step is (text, keys): once `text` has been printed after where the step before found its
    own, `keys` are typed. Input never ends by itself.
    """

    def __init__(self, steps: list[tuple[bytes, bytes]]) -> None:
        self.terminal = _WatchedSink(self._look)
        self._steps = list(steps)
        self._position = 0
        self._typed = bytearray()
        self._deliver: Callable[[bytes], None] | None = None

    @property
    def missing(self) -> bytes | None:
        """What is still waited for."""
        return self._steps[0][0] if self._steps else None

    def start(self, loop: EventLoop, wanted: Callable[[], int],
              deliver: Callable[[bytes], None]) -> None:
        self._wanted = wanted
        self._deliver = deliver

    def resume(self) -> None:
        while self._deliver is not None and self._typed and (room := self._wanted()) > 0:
            piece = bytes(self._typed[:room])
            del self._typed[:len(piece)]
            self._deliver(piece)

    def stop(self) -> None:
        self._deliver = None

    def _look(self) -> None:
        while self._steps:
            text, keys = self._steps[0]
            found = self.terminal.data.find(text, self._position)
            if found < 0:
                break
            self._position = found + len(text)
            self._typed += keys
            del self._steps[0]
        self.resume()


class _WatchedSink(CaptureSink):
    def __init__(self, on_write: Callable[[], None]) -> None:
        super().__init__()
        self._on_write = on_write

    def write(self, data: bytes) -> None:
        super().write(data)
        self._on_write()
