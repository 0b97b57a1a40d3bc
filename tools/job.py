"""The job description: what PID 1 of the guest is to run, as the file /etc/holstein/job.

The file is a sequence of `key NUL value NUL` records, so every value but NUL survives:

  program  path inside the image of the file to execute, once
  argv     one argument, in order, repeated
  env      one `NAME=VALUE`, in order, repeated
  cwd      the directory to start in, once
  stdin, stdout, stderr   `tty`, `stream` or `closed`, once each
  rows, columns   size of the terminal in decimal, once each, where one of the three is `tty`
"""

import dataclasses
import os

PATH_IN_IMAGE = "etc/holstein/job"
DEFAULT_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STREAM_KINDS = ("tty", "stream", "closed")


@dataclasses.dataclass
class Job:
    program: str | bytes
    argv: list[str | bytes]
    env: dict[str | bytes, str | bytes] = dataclasses.field(default_factory=dict)
    cwd: str | bytes = "/"
    stdin: str = "stream"
    stdout: str = "stream"
    stderr: str = "stream"
    rows: int = 0
    columns: int = 0

    @property
    def uses_terminal(self) -> bool:
        return "tty" in (self.stdin, self.stdout, self.stderr)

    def encode(self) -> bytes:
        """The file's contents; raises ValueError for what cannot be expressed."""
        for name in ("stdin", "stdout", "stderr"):
            if getattr(self, name) not in STREAM_KINDS:
                raise ValueError(f"{name} cannot be {getattr(self, name)!r}")
        records = [("program", self.program)]
        records += [("argv", argument) for argument in self.argv]
        records += [("env", os.fsencode(key) + b"=" + os.fsencode(value))
                    for key, value in self.env.items()]
        records += [("cwd", self.cwd), ("stdin", self.stdin), ("stdout", self.stdout),
                    ("stderr", self.stderr)]
        if self.uses_terminal:
            records += [("rows", str(self.rows)), ("columns", str(self.columns))]
        encoded = bytearray()
        for key, value in records:
            raw = os.fsencode(value)
            if b"\0" in raw:
                raise ValueError(f"{key} holds a NUL byte")
            encoded += key.encode() + b"\0" + raw + b"\0"
        return bytes(encoded)
