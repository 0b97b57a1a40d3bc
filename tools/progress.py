"""Progress on standard error: one line that changes on a terminal, a line now and then elsewhere."""

import os
import shutil
import time

from tools import standard_streams

# Where there is no terminal: how long to be silent between two lines.
_LINE_SECONDS = 15.0


class Progress:
    """A context manager; the changing line is gone when it ends."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._live = standard_streams.kind(2) == "tty"
        self._shown = False
        self._next_line = time.monotonic() + _LINE_SECONDS

    def __enter__(self) -> "Progress":
        if self._live:
            self.update("")
        else:
            standard_streams.say(f"holstein: {self._title}")
        return self

    def __exit__(self, *_) -> None:
        if self._shown:
            os.write(2, b"\r\x1b[K")

    def update(self, detail: str) -> None:
        text = f"holstein: {self._title}" + (f": {detail}" if detail else "")
        if self._live:
            width = max(20, shutil.get_terminal_size((80, 24)).columns)
            self._shown = True
            try:
                os.write(2, b"\r" + text[:width - 1].encode() + b"\x1b[K")
            except OSError:
                self._live = self._shown = False
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            standard_streams.say(text)
