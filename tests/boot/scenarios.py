"""Runs a list of scenarios in one boot, and the same list on Linux, and compares the two."""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.boot.boot_files import boot_files, kernel_name, real_path
from tools.runner import RunRequest, RunResult, run_guest

BUSYBOX = "/bin/busybox"
GUEST_ROOT = "/scenario-root"
_HEADER = re.compile(rb"=== (\S+) (\d+) (\d+) (\d+) (-?\d+)\n")
_SHOWN_BYTES = 3000
# "N": much data is divided by N, where the kernel is slow.
_SHARE = os.environ.get("HOLSTEIN_SCENARIO_SHARE", "1")


@dataclasses.dataclass(frozen=True)
class Section:
    status: int
    stdout: bytes
    stderr: bytes
    seconds: int


def parse(output: bytes) -> dict[str, Section]:
    """The driver's output; what is cut off at the end is left out."""
    sections = {}
    position = 0
    while (header := _HEADER.match(output, position)) is not None:
        status, out_bytes, err_bytes, seconds = (int(field) for field in header.groups()[1:])
        middle = header.end() + out_bytes
        position = middle + err_bytes
        if position > len(output):
            break
        sections[header[1].decode()] = Section(status, output[header.end():middle],
                                               output[middle:position], seconds)
    return sections


def names() -> list[str]:
    return sorted(path.stem for path in Path("tests/boot/scenarios").glob("*.sh"))


def programs() -> dict[str, str]:
    """The programs that scenarios run, by the name they have in ROOT/programs."""
    found = {path.name: str(path.resolve()) for path in Path("tests/guest/programs").iterdir()
             if path.is_file() and os.access(path, os.X_OK)}
    found["bench"] = str(Path("bench/bench").resolve())
    found["bash-static"] = "/bin/bash-static"
    return found


def run_on_linux(scenarios: list[str], limit_seconds: int) -> dict[str, Section]:
    """With busybox alone on PATH, so that both sides run the same binaries."""
    with tempfile.TemporaryDirectory(prefix="scenarios-") as folder:
        for kind, files in _files().items():
            os.makedirs(os.path.join(folder, kind))
            for name, path in files.items():
                shutil.copy(path, os.path.join(folder, kind, name))
        applets = os.path.join(folder, "bin")
        os.mkdir(applets)
        subprocess.run([BUSYBOX, "--install", "-s", applets], check=True)
        run = subprocess.run(
            [BUSYBOX, "sh", os.path.join("tests/boot", "driver.sh"), folder, str(limit_seconds),
             _SHARE, *scenarios],
            env={"PATH": applets, "HOME": "/root"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, check=False,
            preexec_fn=_default_signals)
        return parse(run.stdout)


def run_in_guest(scenarios: list[str], limit_seconds: int, timeout_seconds: float,
                 **request) -> tuple[dict[str, Section], RunResult]:
    with_files = [(real_path("tests/boot/driver.sh"), f"{GUEST_ROOT}/driver.sh")]
    for kind, files in _files().items():
        with_files += [(path, f"{GUEST_ROOT}/{kind}/{name}") for name, path in files.items()]
    result = run_guest(RunRequest(
        boot_files(), [BUSYBOX, "sh", f"{GUEST_ROOT}/driver.sh", GUEST_ROOT, str(limit_seconds),
                       _SHARE, *scenarios],
        with_files=with_files, timeout_seconds=timeout_seconds, **request))
    return parse(result.stdout), result


def report(linux: dict[str, Section], guest: dict[str, Section]) -> str:
    """How long each scenario took, for the test's log."""
    lines = [f"kernel: {kernel_name()}; seconds on Linux and on Holstein (emulated)"]
    lines += [f"  {name:24} {linux[name].seconds:4} {section.seconds:4}"
              for name, section in guest.items() if name in linux]
    return "\n".join(lines)


def difference(name: str, linux: Section, guest: Section) -> str:
    """What differs, in words; empty if nothing does."""
    parts = []
    if linux.status != guest.status:
        parts.append(f"{name}: status {guest.status}, on Linux {linux.status}")
    for stream in ("stdout", "stderr"):
        ours, theirs = getattr(guest, stream), getattr(linux, stream)
        if ours != theirs:
            parts.append(f"{name}: {stream} differs\n" + _difference_of_text(theirs, ours))
    return "\n".join(parts)


def tail_of(result: RunResult) -> str:
    """What a boot that ended badly left behind."""
    def last(data: bytes) -> str:
        return data[-_SHOWN_BYTES:].decode("utf-8", "replace")
    return (f"outcome {result.outcome.name}, status {result.exit_status}: {result.message}\n"
            f"--- end of stderr\n{last(result.stderr)}\n--- end of the kernel's log\n"
            f"{last(result.log)}")


def _difference_of_text(linux: bytes, guest: bytes) -> str:
    with tempfile.TemporaryDirectory(prefix="difference-") as folder:
        for name, data in (("linux", linux), ("holstein", guest)):
            Path(folder, name).write_bytes(data)
        text = subprocess.run([BUSYBOX, "diff", "-a", "-U", "2", "linux", "holstein"], cwd=folder,
                              capture_output=True, check=False).stdout
    shown = text[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return shown + ("\n[...]" if len(text) > _SHOWN_BYTES else "")


def _files() -> dict[str, dict[str, str]]:
    scenarios = {f"{name}.sh": real_path(f"tests/boot/scenarios/{name}.sh") for name in names()}
    for path in Path("tests/boot/scenarios").iterdir():
        scenarios[path.name] = str(path.resolve())
    return {"scenarios": scenarios, "programs": programs()}


def _default_signals() -> None:
    """A signal that is ignored here would stay ignored in the scenarios."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    # By hand, on Linux only: python3 -m tests.boot.scenarios NAME...
    for scenario, section in run_on_linux(sys.argv[1:] or names(), 120).items():
        sys.stdout.write(f"=== {scenario} status {section.status}, {section.seconds} s\n")
        sys.stdout.flush()
        sys.stdout.buffer.write(section.stdout + b"--- stderr\n" + section.stderr)
