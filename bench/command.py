"""`./holstein bench`: from parsed options to tables, files and an exit status."""

import argparse
import datetime
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools import accelerator, build, firmware, packages, qemu, standard_streams, state
from tools.errors import USAGE, CommandError
from tools.program import ProgramError
from tools.runner import BootFiles, RequestError, nameless_file
from tools.tree import TreeError

from bench import linux, plots, record, report, systems
from bench.linux import LinuxKernel, LinuxMissing
from bench.measure import Plan, measure
from bench.protocol import Reader, Row
from bench.report import Measure
from bench.results import Comparison, SystemResult
from bench.systems import HOLSTEIN, Setup

_FAILED = 1
_QUICK_SECONDS = 300.0
_QUICK_ROUNDS = 3
_TIME_REPEATS = 5
_GIB = 1 << 30
_MIB = 1 << 20
_MEMORY_BYTES = 6 * _GIB
# Of a guest's memory, what the program may fill: the rest is the kernel's, and the image.
_PROGRAM_SHARE = 7 / 8
_ICOUNT = ("-icount", "shift=0,sleep=off")
_KERNEL_MODE = "opt"


def run(options: argparse.Namespace) -> int:
    chosen = _choose_systems(options)
    _check_places(options)
    packages.ensure(packages.needed(), not options.no_install)
    boot, program, small = build.build_with_bench(_KERNEL_MODE)
    program = Path(options.program or program)
    expected = list_rows(program, [name for names in options.only for name in names])
    if options.list:
        for row in expected:
            print(f"{row.group}/{row.name}")
        return 0
    kernel = _find_linux(options.linux, chosen)
    if kernel is None:
        chosen = [name for name in chosen if name == HOLSTEIN]
        if not chosen:
            return _FAILED
    how = _choose_measure(options, accelerator.choose(options.accel, boot.loader))
    jobs = min(len(chosen), options.jobs or _jobs(how, options.mem or _MEMORY_BYTES))
    memory_bytes = options.mem or _memory_bytes(jobs)
    files = [(_frozen(program), systems.PROGRAM), (_frozen(small), systems.SMALL_PROGRAM)]
    frozen = BootFiles(*(Path(_frozen(file)) for file in (boot.kernel, boot.loader, boot.init)))
    setup = Setup(frozen, files, _arguments(options, how, memory_bytes), memory_bytes, how.cpu,
                  how.accelerator, _ICOUNT if how.name == "instructions" else ())
    comparison = Comparison(expected, how.name, [
        SystemResult(name, systems.title(name), _kernel_facts(name, boot, frozen, kernel))
        for name in chosen])
    plan = Plan(chosen, options.repeat or (_TIME_REPEATS if how.name == "time" else 1), jobs,
                _QUICK_SECONDS if options.quick else None)
    about = _about(options, how, setup, program, plan)
    for line in head(comparison, how, setup, about):
        print(line)
    print(flush=True)
    try:
        measure(plan, setup, kernel, {one.name: one for one in comparison.systems})
    except KeyboardInterrupt:
        print(finish(comparison, how), flush=True)
        raise
    except (ProgramError, RequestError, TreeError) as error:
        raise CommandError(f"bench: {error}") from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        raise CommandError(f"bench: {place}{error.strerror or error}") from None
    print(finish(comparison, how), end="", flush=True)
    _write_files(options, comparison, how, about)
    return _FAILED if comparison.not_run() or comparison.clock_problems() else 0


def _frozen(file: Path) -> str:
    """A copy, without a name and open until the end: a build meanwhile must not give a later boot
    another program, or another kernel."""
    fd = nameless_file()
    with open(file, "rb") as source, open(fd, "wb", closefd=False) as copy:
        shutil.copyfileobj(source, copy)
    os.fchmod(fd, 0o755)
    # Not /proc/self: what symbolizes a panic is another process.
    return f"/proc/{os.getpid()}/fd/{fd}"


def list_rows(program: Path, groups: list[str]) -> list[Row]:
    """What the program would measure; asked on this machine, for it is a Linux program."""
    words = [str(program.resolve()), "--list"] + (["--only", ",".join(groups)] if groups else [])
    try:
        listing = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        raise CommandError(f"{program}: {error.strerror}", USAGE) from None
    reader = Reader()
    reader.feed(listing.stdout)
    if listing.returncode != 0 or not reader.ended or reader.malformed or not reader.rows:
        said = listing.stderr.decode("utf-8", "replace").splitlines()
        why = said[0] if said else f"{program}: does not say what it measures (bench/README.md)"
        raise CommandError(why, USAGE)
    return reader.rows


def head(comparison: Comparison, how: Measure, setup: Setup, about: dict[str, Any]) -> list[str]:
    """What the reader of the tables has to know."""
    lines = [f"program     {about['program']['name']}, the same file everywhere, SHA-256 "
             f"{about['program']['sha256']}",
             f"machine     {about['machine']['qemu_version']}, -cpu {setup.cpu}, "
             f"{setup.memory_bytes / _GIB:g} GiB, 1 CPU, OVMF, {setup.accelerator}; the same "
             "devices"]
    for system in comparison.systems:
        kernel = system.kernel
        if system.name == HOLSTEIN:
            lines.append(f"Holstein    commit {kernel['commit']}, optimised kernel, SHA-256 "
                         f"{kernel['sha256']}")
        elif not any(line.startswith("Linux") for line in lines):
            package = f"{kernel['package']} {kernel['version']}".strip() or kernel["file"]
            lines.append(f"Linux       {package}, SHA-256 {kernel['sha256']}")
    return lines + report.describe_measure(how)


def finish(comparison: Comparison, how: Measure) -> str:
    """Everything after the head."""
    lines = [report.tables(comparison, how)]
    for name, value in _linux_facts(comparison):
        lines.append(f"{name}: {value}")
    lines += report.shortcomings(comparison)
    lines += report.verdict(comparison)
    return "\n".join(lines) + "\n"


def _linux_facts(comparison: Comparison) -> list[tuple[str, str]]:
    """What the Linux guests said of themselves."""
    facts = []
    for system in comparison.systems:
        said = next((run.facts for run in system.runs if "version" in run.facts), None)
        if said is None:
            continue
        if not any(name == "Linux says" for name, _ in facts):
            facts.append(("Linux says", said["version"]))
        facts.append((system.title, f"huge pages {said.get('huge_pages', '?')}; spectre_v2: "
                      f"{said.get('spectre_v2', '?')}"))
    return facts


def _choose_systems(options: argparse.Namespace) -> list[str]:
    names = options.systems or list(systems.QUICK_NAMES if options.quick else systems.NAMES)
    for name in names:
        if name not in systems.NAMES:
            raise CommandError(f"bench: no system {name!r}; there are "
                               f"{', '.join(systems.NAMES)}", USAGE)
    return [name for name in systems.NAMES if name in names]


def _check_places(options: argparse.Namespace) -> None:
    """Wrong names are found before anything is run."""
    if options.json is not None:
        if os.path.isdir(options.json):
            raise CommandError(f"bench: {options.json}: is a folder", USAGE)
        if not os.path.isdir(os.path.dirname(options.json) or "."):
            raise CommandError(f"bench: {options.json}: there is no such folder", USAGE)
    if options.plot is not None and os.path.exists(options.plot) and \
            not os.path.isdir(options.plot):
        raise CommandError(f"bench: {options.plot}: is no folder", USAGE)


def _find_linux(file: str | None, chosen: list[str]) -> LinuxKernel | None:
    """None where no Linux is wanted or there is none, which is said."""
    if chosen == [HOLSTEIN]:
        return None
    try:
        return linux.from_file(file) if file is not None else linux.from_debian()
    except LinuxMissing as missing:
        if file is not None:
            raise CommandError(f"bench: {missing}", USAGE) from None
        standard_streams.say(f"holstein: bench: no Linux to compare with: {missing}")
        return None


def _choose_measure(options: argparse.Namespace, chosen_accelerator: str) -> Measure:
    name = options.measure or ("time" if chosen_accelerator == "kvm" else "instructions")
    if name == "instructions" and chosen_accelerator == "kvm":
        raise CommandError("bench: only TCG counts instructions; --accel kvm goes with "
                           "--measure time", USAGE)
    cpu = options.cpu or ("max,erms=off" if name == "instructions" else "max")
    return Measure(name, cpu, chosen_accelerator)


def _jobs(how: Measure, memory_bytes: int) -> int:
    """Two guests at a time where that disturbs no figure and costs no row its memory."""
    if how.name == "time" or (os.cpu_count() or 1) < 2:
        return 1
    return 2 if _memory_for(2) >= memory_bytes else 1


def _memory_bytes(guests: int) -> int:
    """6 GiB each where this machine has that to spare, else less."""
    return max(_GIB, min(_MEMORY_BYTES, _memory_for(guests) // (_GIB // 2) * (_GIB // 2)))


def _memory_for(guests: int) -> int:
    """What each of so many guests can have of this machine's memory."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 // guests - _GIB // 2
    return _MEMORY_BYTES


def _arguments(options: argparse.Namespace, how: Measure, memory_bytes: int) -> list[str]:
    arguments = [systems.PROGRAM, "--clock", "tsc" if how.name == "instructions" else "monotonic",
                 "--max-memory", str(int(memory_bytes * _PROGRAM_SHARE) // _MIB)]
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else None)
    if rounds is not None:
        arguments += ["--rounds", str(rounds)]
    groups = [name for names in options.only for name in names]
    return arguments + (["--only", ",".join(groups)] if groups else [])


def _kernel_facts(name: str, boot: BootFiles, frozen: BootFiles,
                  kernel: LinuxKernel | None) -> dict[str, str]:
    if name != HOLSTEIN:
        return kernel.facts()
    return {"commit": _commit(), "file": str(boot.kernel),
            "sha256": linux.sha256_of(frozen.kernel)}


def _commit() -> str:
    """Of the source tree; `+` where files differ from it."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"], cwd=state.PROJECT,
            stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return described.stdout.strip() or "unknown"


def _about(options: argparse.Namespace, how: Measure, setup: Setup, program: Path,
           plan: Plan) -> dict[str, Any]:
    version = subprocess.run([qemu.QEMU, "--version"], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True).stdout.partition("\n")[0]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv), "measure": how.name,
        "unit": how.ticks, "leaves_out": report.describe_measure(how),
        "program": {"name": options.program or "//bench:bench", "file": str(program), "sha256": linux.sha256_of(setup.files[0][0]),
                    "arguments": setup.arguments,
                    "files": {place: linux.sha256_of(source) for source, place in setup.files}},
        "machine": {"qemu_version": version, "cpu": setup.cpu, "cpus": 1,
                    "memory_bytes": setup.memory_bytes, "accelerator": setup.accelerator,
                    "firmware": str(firmware.CODE),
                    "firmware_sha256": linux.sha256_of(firmware.CODE)},
        "plan": {"systems": plan.names, "repeat": plan.repeat, "at_a_time": plan.at_a_time,
                 "seconds": plan.seconds}}


def _write_files(options: argparse.Namespace, comparison: Comparison, how: Measure,
                 about: dict[str, Any]) -> None:
    if options.json is not None:
        _write(Path(options.json), record.to_json(comparison, about))
    if options.plot is None:
        return
    for name, text in (("fork.svg", plots.fork_plot(comparison, how)),
                       ("stalls.svg", plots.stall_plot(comparison, how))):
        if text is None:
            standard_streams.say(f"holstein: bench: nothing was measured that {name} could show")
        else:
            _write(Path(options.plot) / name, text)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"bench: {file}: {error.strerror}", USAGE) from None
    standard_streams.say(f"holstein: bench: wrote {file}")
