"""QEMU's command line, and the proof that an accelerator works.

The channel, the debug channel, serial and QEMU's monitor are socket pairs whose far ends QEMU
inherits, disk and firmware are files without a name: nothing is left behind in the file
system however this process ends, nothing has to be waited for, and QEMU's writes are held up, never
lost, while this side is busy.
"""

import ctypes
import dataclasses
import os
import shutil
import signal
import socket
import subprocess

QEMU = "qemu-system-x86_64"

CHANNEL_PORT_NAME = "holstein.channel"

# Exit statuses of QEMU, from isa-debug-exit: (value << 1) | 1.
STATUS_PANIC = (1 << 1) | 1  # the kernel wrote 1
STATUS_LOADER = (2 << 1) | 1  # the loader wrote 2

_PR_SET_PDEATHSIG = 1


@dataclasses.dataclass
class Machine:
    """What QEMU is to emulate."""
    disk_fd: int  # the volume that write_disk made
    firmware_fd: int  # an image that firmware.write_image made
    memory_bytes: int = 1 << 30
    cpus: int = 1
    accelerator: str = "tcg"
    gdb_port: int | None = None
    extra_arguments: tuple[str, ...] = ()
    cpu: str = "max"
    boot_index: int = 0  # of the disk; -kernel takes 0 for itself
    more_fds: tuple[int, ...] = ()  # that extra_arguments name as /proc/self/fd/N


def command_line(machine: Machine, channel_fd: int, log_fd: int, serial_fd: int,
                 monitor_fd: int) -> list[str]:
    """The descriptors are sockets that QEMU inherits under the same numbers."""
    arguments = [
        QEMU, "-name", "holstein", "-nodefaults", "-no-user-config",
        # Fewer devices for the firmware to try; the kernel needs none of them.
        "-machine", "q35,sata=off,usb=off,smbus=off,vmport=off",
        "-accel", machine.accelerator, "-cpu", machine.cpu,
        "-smp", str(machine.cpus), "-m", f"size={machine.memory_bytes >> 10}K",
        "-display", "none", "-vga", "none", "-net", "none", "-no-reboot",
        "-rtc", "base=utc,clock=host",
        "-bios", f"/proc/self/fd/{machine.firmware_fd}",
        "-drive", "if=none,id=boot,format=raw,readonly=on,"
                  f"file=/proc/self/fd/{machine.disk_fd}",
        "-device", f"virtio-blk-pci,drive=boot,bootindex={machine.boot_index}",
        "-chardev", f"socket,id=channel,fd={channel_fd}",
        "-device", "virtio-serial-pci,max_ports=2",
        "-device", f"virtserialport,chardev=channel,name={CHANNEL_PORT_NAME}",
        "-device", "virtio-rng-pci",
        "-chardev", f"socket,id=log,fd={log_fd}",
        "-device", "isa-debugcon,iobase=0xe9,chardev=log",
        "-chardev", f"socket,id=serial,fd={serial_fd}", "-serial", "chardev:serial",
        "-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
    ]
    if machine.gdb_port is not None:
        arguments += ["-gdb", f"tcp:127.0.0.1:{machine.gdb_port}", "-S"]
    return arguments + list(machine.extra_arguments)


@dataclasses.dataclass
class Process:
    """A running QEMU and this side's ends of its sockets."""
    popen: subprocess.Popen
    channel: socket.socket
    log: socket.socket
    serial: socket.socket
    monitor: socket.socket

    def kill(self) -> None:
        """Ends it, whatever it does, and collects it."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()

    def close(self) -> None:
        self.kill()
        for end in (self.channel, self.log, self.serial, self.monitor):
            end.close()
        self.popen.stderr.close()


def start(machine: Machine) -> Process:
    """Raises FileNotFoundError where QEMU is not installed."""
    if shutil.which(QEMU) is None:
        raise FileNotFoundError(f"{QEMU} is not installed")
    pairs = [socket.socketpair() for _ in range(4)]
    theirs = [pair[1].fileno() for pair in pairs]
    try:
        popen = subprocess.Popen(
            command_line(machine, *theirs), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[*theirs, machine.disk_fd, machine.firmware_fd, *machine.more_fds],
            # Out of the terminal's reach: Ctrl-C and Ctrl-Z are for us to handle.
            start_new_session=True, preexec_fn=_die_with_parent(os.getpid()))
    except BaseException:
        for pair in pairs:
            pair[0].close()
        raise
    finally:
        for pair in pairs:
            pair[1].close()
    process = Process(popen, *(pair[0] for pair in pairs))
    process.monitor.sendall(b'{"execute": "qmp_capabilities"}\n')
    return process


def _die_with_parent(parent: int):
    """Even a SIGKILL of this process must not leave QEMU behind."""
    libc = ctypes.CDLL(None)

    def apply() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return apply

