"""One thread that waits for many file descriptors, some of which cannot be waited for.

A regular file (or /dev/null, /dev/zero ...) cannot be given to epoll; it never blocks, so here it
counts as always ready. A descriptor without interest is taken out of epoll altogether, because
epoll reports hang-ups even where nobody asked, which would make a paused stream spin.
"""

import selectors
from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class EventLoop:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        # fd -> (events, callback), for the descriptors that are always ready.
        self._always_ready: dict[int, tuple[int, Callable[[int], None]]] = {}

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Calls `callback(ready_events)` while `fd` is ready for `events`; 0 stops that."""
        if fd in self._always_ready:
            if events:
                self._always_ready[fd] = (events, callback)
            else:
                del self._always_ready[fd]
            return
        try:
            key = self._selector.get_key(fd)
        except KeyError:
            key = None
        if key is not None:
            if not events:
                self._selector.unregister(fd)
            elif key.events != events or key.data is not callback:
                self._selector.modify(fd, events, callback)
        elif events:
            try:
                self._selector.register(fd, events, callback)
            except PermissionError:
                self._always_ready[fd] = (events, callback)

    def run_once(self, timeout_seconds: float | None) -> None:
        """Waits until something is ready (None: for ever) and calls its callbacks once."""
        if self._always_ready:
            timeout_seconds = 0
        elif timeout_seconds is not None:
            timeout_seconds = max(0.0, timeout_seconds)
        ready = [(key.data, events) for key, events in self._selector.select(timeout_seconds)]
        ready += [(callback, events) for events, callback in self._always_ready.values()]
        for callback, events in ready:
            callback(events)

    def close(self) -> None:
        self._selector.close()
        self._always_ready.clear()
