"""What one run of the command leaves for the next, in .cache/ of the project; never needed.

Everything here may be deleted at any time, and a folder that cannot be written only makes the
command slower.
"""

import json
import os
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
_FOLDER = PROJECT / ".cache" / "holstein"


def load(name: str) -> dict:
    """The facts kept under a name; empty where there are none."""
    try:
        value = json.loads((_FOLDER / f"{name}.json").read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def save(name: str, value: dict) -> None:
    """Replaces what is kept as a whole, so that no reader ever sees half of it."""
    name = f"{name}.json"
    try:
        _FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=_FOLDER, prefix=f".{name}.", delete=False) as file:
            try:
                file.write(json.dumps(value, indent=1).encode())
                file.close()
                os.replace(file.name, _FOLDER / name)
            except OSError:
                os.unlink(file.name)
    except OSError:
        pass


def stamp(file: str | os.PathLike) -> list:
    """Changes when the file does."""
    try:
        status = os.stat(file)
    except OSError:
        return [os.fspath(file), 0, 0, 0]
    return [os.fspath(file), status.st_size, status.st_mtime_ns, status.st_ino]
