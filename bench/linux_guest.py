"""Linux in the same machine as Holstein: kernel and initramfs by way of the firmware, output by the
serial port."""

import dataclasses
import os
import shlex
import time
from collections.abc import Callable

from tools import image, qemu
from tools.cpio import Archive
from tools.event_loop import READ, EventLoop
from tools.job import DEFAULT_SEARCH_PATH
from tools.runner import Prepared, nameless_file

from bench.linux import LinuxKernel

_READ_BYTES = 1 << 16
_ERROR_BYTES = 1 << 16
# QEMU is gone: what its sockets may take to deliver what it had written.
_LAST_WORDS_SECONDS = 5.0
# What every system gets: no console messages between the program's lines, and an end where the
# kernel panics (QEMU runs with -no-reboot).
_COMMAND_LINE = "console=ttyS0 quiet loglevel=0 panic=-1"

# PID 1. The empty line ends what the firmware left on the console.
_INIT = """\
#!/bin/busybox sh
export PATH={path} HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o mode=1777 tmpfs /tmp
exec </dev/null >/dev/ttyS0 2>&1
echo
echo {huge_pages} >/sys/kernel/mm/transparent_hugepage/enabled
echo {overcommit} >/proc/sys/vm/overcommit_memory
fact() {{ printf 'linux\\t%s\\t%s\\n' "$1" "$2"; }}
fact version "$(cat /proc/version)"
fact command_line "$(cat /proc/cmdline)"
fact huge_pages "$(cat /sys/kernel/mm/transparent_hugepage/enabled)"
fact overcommit_memory "$(cat /proc/sys/vm/overcommit_memory)"
for file in /sys/devices/system/cpu/vulnerabilities/*; do
  fact "${{file##*/}}" "$(cat "$file")"
done
# What the kernel put off while it booted is not to be charged to the program.
sleep 2
cd /
{program}
fact status $?
# Waits until the serial port has sent everything (TCSADRAIN); switching off does not.
busybox stty -echo </dev/ttyS0
poweroff -f
"""


@dataclasses.dataclass(frozen=True)
class LinuxSettings:
    huge_pages: str  # "always" or "never"
    more_parameters: str = ""
    overcommit: int = 0  # the default of both kernels

    @property
    def command_line(self) -> str:
        return f"{_COMMAND_LINE} transparent_hugepage={self.huge_pages} " \
               f"{self.more_parameters}".rstrip()


def init_script(arguments: list[str], settings: LinuxSettings) -> bytes:
    return _INIT.format(path=DEFAULT_SEARCH_PATH, huge_pages=settings.huge_pages,
                        overcommit=settings.overcommit,
                        program=shlex.join(arguments)).encode()


def write_initramfs(arguments: list[str], settings: LinuxSettings,
                    files: list[tuple[str, str]]) -> int:
    """A nameless file with the tree that Holstein's image has, and an /init."""
    tree, _ = image.base_tree()
    for source, destination in files:
        tree.put_host_file(destination.lstrip("/"), source, 0o755)
    tree.put_file("init", init_script(arguments, settings), 0o755)
    fd = nameless_file()
    try:
        Archive(tree).write(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def add_linux(prepared: Prepared, kernel: LinuxKernel, initramfs_fd: int,
              settings: LinuxSettings) -> tuple[qemu.Machine, int]:
    """Holstein's machine with Linux in it; its disk stays, and is not looked at. Also returns the
    kernel's descriptor, for the caller to close."""
    kernel_fd = os.open(kernel.vmlinuz, os.O_RDONLY | os.O_CLOEXEC)
    more = ("-kernel", f"/proc/self/fd/{kernel_fd}", "-initrd", f"/proc/self/fd/{initramfs_fd}",
            "-append", settings.command_line)
    machine = dataclasses.replace(
        prepared.machine, extra_arguments=prepared.machine.extra_arguments + more,
        boot_index=1, more_fds=(kernel_fd, initramfs_fd))
    return machine, kernel_fd


class LinuxGuest:
    """One run of QEMU; `on_output` hears what comes out of the serial port."""

    def __init__(self, machine: qemu.Machine, on_output: Callable[[bytes], None]) -> None:
        self._on_output = on_output
        self._loop = EventLoop()
        self._process = qemu.start(machine)
        self._exit_fd = os.pidfd_open(self._process.popen.pid)
        self._errors = bytearray()
        self._open = 0  # descriptors that have not ended
        self._last_words_deadline: float | None = None  # set once QEMU is gone
        self._loop.watch(self._exit_fd, READ, lambda events: self._on_exit())
        self._watch(self._process.serial.fileno(), on_output)
        self._watch(self._process.popen.stderr.fileno(), self._on_error)
        # What nobody wants must be read as well: QEMU waits for its sockets.
        for end in (self._process.log, self._process.monitor):
            self._watch(end.fileno(), lambda data: None)

    @property
    def arguments(self) -> list[str]:
        return list(self._process.popen.args)

    def step(self, most_seconds: float) -> bool:
        """Waits for the next event, at most so long, and serves it; true once QEMU is gone and
        all that it wrote is read."""
        if not self._is_over:
            self._loop.run_once(most_seconds)
        return self._is_over

    @property
    def _is_over(self) -> bool:
        return self._last_words_deadline is not None and \
            (self._open == 0 or time.monotonic() >= self._last_words_deadline)

    def problem(self) -> str:
        """What is wrong with the end of QEMU; empty where Linux switched it off."""
        status = self._process.popen.returncode
        if status == 0:
            return ""
        said = self._errors.decode("utf-8", "replace").strip()
        return f"QEMU ended with status {status}" + (f": {said}" if said else "")

    def close(self) -> None:
        self._process.close()
        os.close(self._exit_fd)
        self._loop.close()

    def _on_exit(self) -> None:
        self._loop.watch(self._exit_fd, 0, lambda events: None)
        self._process.popen.wait()
        self._last_words_deadline = time.monotonic() + _LAST_WORDS_SECONDS

    def _on_error(self, data: bytes) -> None:
        self._errors += data[:_ERROR_BYTES - len(self._errors)]

    def _watch(self, fd: int, take: Callable[[bytes], None]) -> None:
        self._open += 1

        def read(_events: int) -> None:
            try:
                data = os.read(fd, _READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if data:
                take(data)
            else:
                self._open -= 1
                self._loop.watch(fd, 0, read)

        self._loop.watch(fd, READ, read)
