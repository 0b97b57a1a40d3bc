"""Finds PROGRAM and makes sure that the image can run it, with one line and a status if not.

The order: a path on the host, a name on the host's PATH, a program inside the image; with --root
only the last. What comes from the host is put into the image under the path that was typed, taken
from `/` (where programs start), or for a name found on PATH under its absolute path.
"""

import dataclasses
import os
import stat

from tools import elf
from tools.tree import Entry, Tree, TreeError, normalise

NOT_EXECUTABLE = 126
NOT_FOUND = 127
# The guest mounts its own file systems here; a program below would be hidden.
_MOUNTED_OVER = (b"proc", b"dev", b"sys")
_MAX_INTERPRETERS = 4  # a script of a script ...: Linux gives up after as many


class ProgramError(Exception):
    """One line for the user, and the exit status that goes with it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Found:
    path_in_image: bytes  # absolute
    host_path: str | None  # where it came from, if from the host; has its symbols
    interpreter: str | None = None  # the ld.so that a dynamic program wants


def find_program(tree: Tree, name: str, search_path: str, from_host: bool,
                 applets: frozenset[str] = frozenset()) -> Found:
    """Finds a program, puts it into the tree if it comes from the host, and checks it.

    `applets` are busybox's, for a hint where a dynamic program has one of the same name.
    """
    if not name:
        raise ProgramError(NOT_FOUND, "'': no such program")
    found = _find_on_host(tree, name) if from_host else None
    if found is None:
        found = _find_in_image(tree, name, search_path)
    if found is None:
        where = "on this machine or in the image" if from_host else "under --root"
        raise ProgramError(NOT_FOUND, f"{name}: not found {where}")
    return dataclasses.replace(found,
                               interpreter=_check(tree, name, found.path_in_image, applets))


def _find_on_host(tree: Tree, name: str) -> Found | None:
    if "/" in name:
        if not os.path.lexists(name):
            return None
        return _adopt(tree, name, name, normalise(name))
    candidates = [name] + [os.path.join(folder or ".", name)
                           for folder in os.environ.get("PATH", os.defpath).split(":")]
    unusable = None
    for candidate in candidates:
        if not os.path.isfile(candidate):
            continue
        if os.access(candidate, os.X_OK):
            return _adopt(tree, name, candidate, normalise(
                name if candidate == name else os.path.abspath(candidate)))
        unusable = unusable or candidate
    if unusable is not None and tree.lookup(f"/bin/{name}") is None:
        raise ProgramError(NOT_EXECUTABLE, f"{unusable}: not executable")
    return None


def _adopt(tree: Tree, name: str, host_path: str, place: bytes) -> Found:
    if not os.path.exists(host_path):
        raise ProgramError(NOT_FOUND, f"{name}: a symbolic link that leads nowhere")
    if os.path.isdir(host_path):
        raise ProgramError(NOT_EXECUTABLE, f"{name}: a folder, not a program")
    if not os.path.isfile(host_path):
        raise ProgramError(NOT_EXECUTABLE, f"{name}: not a regular file")
    if not os.access(host_path, os.X_OK):
        raise ProgramError(NOT_EXECUTABLE, f"{name}: not executable")
    if not os.access(host_path, os.R_OK):
        raise ProgramError(NOT_EXECUTABLE, f"{name}: cannot be read")
    known = tree.lookup("/bin/busybox")
    if known is not None and known.host_path and os.path.samefile(host_path, known.host_path):
        return Found(b"/bin/busybox", os.path.abspath(host_path))
    if place.split(b"/")[0] in _MOUNTED_OVER:
        place = b"bin/" + os.fsencode(os.path.basename(name))
    try:
        place = tree.put_host_file(place, host_path)
    except TreeError as error:
        raise ProgramError(NOT_EXECUTABLE, f"{name}: {error}") from None
    return Found(b"/" + place, os.path.abspath(host_path))


def _find_in_image(tree: Tree, name: str, search_path: str) -> Found | None:
    if "/" in name:
        folders = [""]
    else:
        folders = [folder or "/" for folder in search_path.split(":")]
    unusable = None
    for folder in folders:
        path = b"/" + normalise(os.path.join("/", folder, name) if folder else name)
        entry = tree.lookup(path)
        if entry is None:
            continue
        if entry.is_file and entry.mode & 0o111:
            return Found(path, None)
        unusable = unusable or (path, entry)
    if unusable is not None:
        path, entry = unusable
        what = "a folder, not a program" if stat.S_ISDIR(entry.mode) else "not executable"
        raise ProgramError(NOT_EXECUTABLE, f"{os.fsdecode(path)}: {what}")
    return None


def _check(tree: Tree, name: str, path: bytes, applets: frozenset[str]) -> str | None:
    """Follows a program to its interpreters; all of them have to be in the image. Gives the last
    one if that is for a dynamic program."""
    for _ in range(_MAX_INTERPRETERS + 1):
        entry = tree.lookup(path)
        assert entry is not None
        program = _inspect(tree, os.fsdecode(path) if path != b"/" + normalise(name) else name,
                           entry)
        if program.interpreter is None:
            return None
        needed = os.fsdecode(program.interpreter)
        target = tree.lookup(program.interpreter)
        if target is None or not target.is_file:
            raise ProgramError(NOT_EXECUTABLE,
                               _missing(name, needed, program.is_script, applets))
        if not target.mode & 0o111:
            raise ProgramError(NOT_EXECUTABLE, f"{name}: its interpreter {needed} is not executable")
        if not program.is_script:
            return needed  # which itself is a program without an interpreter
        path = b"/" + normalise(program.interpreter)
    raise ProgramError(NOT_EXECUTABLE, f"{name}: too many scripts that interpret scripts")


def _inspect(tree: Tree, name: str, entry: Entry) -> elf.Program:
    try:
        return elf.inspect(tree.read(entry, elf.HEAD_BYTES))
    except elf.NotExecutable as reason:
        raise ProgramError(NOT_EXECUTABLE, f"{name}: {reason}") from None
    except OSError as error:
        raise ProgramError(NOT_EXECUTABLE, f"{name}: {error.strerror}") from None


def _missing(name: str, interpreter: str, is_script: bool, applets: frozenset[str]) -> str:
    if is_script:
        return f"{name}: a script for {interpreter}, which is not in the image"
    applet = os.path.basename(name)
    hint = f"there is also: busybox {applet}" if applet in applets else "link it with -static"
    return (f"{name}: a dynamic program that wants the interpreter {interpreter}, "
            f"which is not in the image ({hint})")
