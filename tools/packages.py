"""The Debian packages that Holstein needs, why, and how they get here."""

import os
import shlex
import shutil
import subprocess

from tools import standard_streams, state
from tools.errors import CommandError

_STATUS_FILE = "/var/lib/dpkg/status"

_RUN = {
    "bazel-bootstrap": "builds everything",
    "bazel-platforms": "Bazel's own definitions, which it would download otherwise",
    "bazel-rules-java": "Bazel's own definitions, which it would download otherwise",
    "bazel-rules-proto": "Bazel's own definitions, which it would download otherwise",
    "clang-19": "compiles kernel, loader and tests",
    "lld-19": "links kernel and loader",
    "llvm-19": "names the functions in a panic report",
    "libclang-rt-19-dev": "sanitizers for what runs on this machine",
    "libc++-19-dev": "the C++ library that the kernel uses too",
    "libc++abi-19-dev": "belongs to the C++ library",
    "libboost-dev": "intrusive trees and lists in the kernel",
    "libstb-dev": "a header that the kernel's console can use",
    "gnu-efi": "UEFI's definitions for the loader",
    "ovmf": "the UEFI firmware that boots the guest",
    "qemu-system-x86": "the machine that the guest runs on",
    "busybox-static": "the programs that every image has",
}
_TEST = {
    "googletest": "host tests and the guest's test program",
    "libgtest-dev": "host tests and the guest's test program",
    "clang-format-19": "formatting is a test",
    "clang-tidy-19": "static checks are tests",
    "bash-static": "a program that is run in the guest and on Linux",
    "musl-tools": "builds a test program with another C library",
    "cpio": "reads what the image builder writes",
    "mtools": "reads what the image builder writes",
    "dosfstools": "checks what the image builder writes",
}
_GDB = {"gdb": "for --gdb"}


def needed(for_tests: bool = False, for_gdb: bool = False) -> dict[str, str]:
    """Package names with the reason for each."""
    return _RUN | (_TEST if for_tests else {}) | (_GDB if for_gdb else {})


def ensure(packages: dict[str, str], may_install: bool) -> None:
    """Returns once all are installed; raises CommandError where that cannot be."""
    stamp = state.stamp(_STATUS_FILE)
    known = state.load("packages")
    if known.get("stamp") == stamp and set(packages) <= set(known.get("installed", [])):
        return
    missing = find_missing(packages)
    if missing:
        names = " ".join(missing)
        if not may_install:
            raise CommandError(f"not installed, and --no-install was given: {names}")
        _install({name: packages[name] for name in missing})
        still_missing = find_missing(packages)
        if still_missing:
            raise CommandError("apt-get did not install " + " ".join(still_missing))
    state.save("packages", {"stamp": state.stamp(_STATUS_FILE), "installed": sorted(packages)})


def find_missing(packages: dict[str, str]) -> list[str]:
    if shutil.which("dpkg-query") is None:
        raise CommandError("this system has no dpkg; Holstein is built on Debian 12")
    run = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *packages],
        capture_output=True, text=True, stdin=subprocess.DEVNULL)
    installed = {line.split()[0] for line in run.stdout.splitlines()
                 if line.endswith(" installed")}
    return [name for name in packages if name not in installed]


def _install(missing: dict[str, str]) -> None:
    width = max(len(name) for name in missing)
    standard_streams.say("holstein: these Debian packages are needed and not installed:")
    for name, reason in missing.items():
        standard_streams.say(f"  {name:<{width}}  {reason}")
    prefix = []
    if os.geteuid() != 0:
        if shutil.which("sudo") is None:
            raise CommandError("there is no sudo here; as root, type: apt-get install " +
                               " ".join(missing))
        prefix = ["sudo"]
    # Without recommended packages: they would bring desktops and other emulators.
    install = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes",
               "--no-install-recommends", *missing]
    for command in ([*prefix, "apt-get", "update"], install):
        standard_streams.say("holstein: " + shlex.join(command))
        try:
            # On standard error: standard output is the program's.
            status = subprocess.run(command, stdout=2).returncode
        except OSError as error:
            raise CommandError(f"{command[0]}: {error.strerror}") from None
        if status != 0 and command is install:
            raise CommandError(f"apt-get failed with status {status}")
