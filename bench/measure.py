"""Runs the systems: as many at a time as is harmless, with progress, up to a deadline."""

import dataclasses
import time
from collections.abc import Callable

from tools.progress import Progress

from bench import systems
from bench.linux import LinuxKernel
from bench.protocol import Reader
from bench.results import SystemResult
from bench.systems import Boot, Setup

# How long all guests together are waited for before the next look at the clock.
_TURN_SECONDS = 0.2
# A guest that says nothing for so long has hung: the longest row takes a few minutes.
_SILENCE_SECONDS = 1800.0


@dataclasses.dataclass
class Plan:
    names: list[str]
    repeat: int = 1
    at_a_time: int = 1
    seconds: float | None = None  # cut off what is not finished by then

    def boots(self) -> list[str]:
        """A B A B: what changes on the host while this runs falls on all systems alike."""
        return self.names * self.repeat


@dataclasses.dataclass
class _Running:
    boot: Boot
    heard: float  # when it said something

    @property
    def text(self) -> str:
        reader = self.boot.reader
        if not reader.started:
            return f"{self.boot.name} boots"
        of = f" of {reader.count}" if reader.count else ""
        return f"{self.boot.name} {reader.group or 'begins'}, row {reader.done}{of}"


def measure(plan: Plan, setup: Setup, linux: LinuxKernel | None,
            results: dict[str, SystemResult], start: Callable[..., Boot] = systems.start) -> None:
    """Fills in `results`, which also has what was measured when this is interrupted."""
    waiting = plan.boots()
    running: list[_Running] = []
    began = time.monotonic()
    try:
        with Progress("bench") as progress:
            while waiting or running:
                cut_off = plan.seconds is not None and time.monotonic() - began >= plan.seconds
                if cut_off:
                    why = f"cut off after {plan.seconds:.0f} s"
                    for name in waiting:
                        _note_cut_off(results[name], why)
                    waiting.clear()
                    for one in running:
                        one.boot.stop(why)
                while waiting and len(running) < plan.at_a_time:
                    running.append(_start(waiting.pop(0), setup, linux, start))
                for one in list(running):
                    if one.boot.step(_TURN_SECONDS / len(running)) or cut_off or _hangs(one):
                        running.remove(one)
                        _finish(one, results[one.boot.name])
                _show(progress, running, time.monotonic() - began)
    finally:
        for one in running:
            one.boot.stop("interrupted")
            _finish(one, results[one.boot.name])


def _start(name: str, setup: Setup, linux: LinuxKernel | None,
           start: Callable[..., Boot]) -> _Running:
    def heard() -> None:
        one.heard = time.monotonic()

    one = _Running(start(name, setup, linux, Reader(heard)), time.monotonic())
    return one


def _hangs(one: _Running) -> bool:
    if time.monotonic() - one.heard < _SILENCE_SECONDS:
        return False
    one.boot.stop(f"nothing was heard for {_SILENCE_SECONDS:.0f} s")
    return True


def _finish(one: _Running, result: SystemResult) -> None:
    try:
        run = one.boot.end()
        result.add(run, one.boot.reader)
    finally:
        one.boot.close()


def _note_cut_off(result: SystemResult, why: str) -> None:
    """For a boot that never began."""
    result.add(systems.never_started(why), Reader())


def _show(progress: Progress, running: list[_Running], seconds: float) -> None:
    minutes, rest = divmod(int(seconds), 60)
    progress.update("; ".join([*(one.text for one in running), f"{minutes}:{rest:02}"]))
