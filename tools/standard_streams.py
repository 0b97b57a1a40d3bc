"""Which of the descriptors 0, 1 and 2 the command was given.

A descriptor that is closed (`>&-`) is filled with /dev/null at once: otherwise the next file to be
opened would become the program's standard output.
"""

import os

_closed: set[int] = set()


def claim() -> None:
    """To be called before anything is opened."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
            _closed.add(fd)


def is_closed(fd: int) -> bool:
    return fd in _closed


def kind(fd: int) -> str:
    """`tty`, `stream` or `closed`, as a job describes it."""
    if fd in _closed:
        return "closed"
    return "tty" if os.isatty(fd) else "stream"


def say(text: str) -> None:
    """A message of the command itself on standard error; lost where that cannot take it."""
    data = text.rstrip("\n") + "\n"
    if os.isatty(2):
        data = data.replace("\r\n", "\n")
    view = memoryview(data.encode("utf-8", "surrogateescape"))
    try:
        while view:
            view = view[os.write(2, view):]
    except OSError:
        pass
