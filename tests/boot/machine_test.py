"""Machines with little memory, much memory and holes in it; programs that end in every way.

Each boot checks one of the former and one of the latter.
"""

import concurrent.futures
import hashlib
import itertools
import json
import os
import re
import socket
import tempfile
import threading
import unittest

from tests.boot.boot_files import boot_files
from tools.guest import Outcome
from tools.runner import RunRequest, RunResult, run_guest

_MIB = 1 << 20
# Uses memory that has to come from everywhere: 24 MiB in files, 24 MiB in a process.
_WORK = ("head -c 25165824 /dev/zero | tr '\\0' x > /tmp/file && sha256sum < /tmp/file; "
         "x=$(seq 1 400000); echo ${#x}; grep MemTotal /proc/meminfo | tr -s ' '; ")
_DIGEST = hashlib.sha256(b"x" * 25165824).hexdigest().encode()


class NmiSender(threading.Thread):
    """Sends NMIs to a guest from the end of its boot on, each once it has reported the one before.

    `on_log` is to be told what the guest's kernel writes.
    """

    _REPORT = b"NMI without a known reason"

    def __init__(self, monitor: str, most: int) -> None:
        super().__init__(daemon=True)
        self._monitor = monitor
        self._most = most
        self._log = bytearray()
        self._may_send = threading.Semaphore(0)
        self._has_booted = False
        self.reported = 0

    def on_log(self, data: bytes) -> None:
        self._log += data
        if not self._has_booted and b"boot: file system ready" in self._log:
            self._has_booted = True
            self._may_send.release()
        for _ in range(self._log.count(self._REPORT) - self.reported):
            self.reported += 1
            self._may_send.release()

    def run(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as monitor, monitor.makefile("rwb") as stream:
                for sent in range(self._most):
                    self._may_send.acquire()
                    if sent == 0:
                        monitor.connect(self._monitor)
                        stream.readline()
                        self._execute(stream, "qmp_capabilities")
                    self._execute(stream, "inject-nmi")
        except OSError:
            pass  # the guest has ended

    @staticmethod
    def _execute(stream, command: str) -> None:
        stream.write(json.dumps({"execute": command}).encode() + b"\n")
        stream.flush()
        while (line := stream.readline()) and b'"return"' not in line:
            pass


def shown(result: RunResult) -> str:
    """What a failure prints of a run."""
    return f"{result.outcome.name}: {result.message}\n" + "\n".join(
        data[-2000:].decode("utf-8", "replace")
        for data in (result.stdout, result.stderr, result.log))


class MachineTest(unittest.TestCase):
    def run_shell(self, script: str, on_log=None, **request) -> RunResult:
        result = run_guest(RunRequest(boot_files(), ["/bin/busybox", "sh", "-c", script],
                                      **{"timeout_seconds": 120, **request}), on_log)
        self.shown = shown(result)
        return result

    def check_work(self, result: RunResult, least_mib: int, most_mib: int) -> None:
        lines = result.stdout.splitlines()
        self.assertEqual(lines[:2], [_DIGEST + b"  -", b"2688894"], self.shown)
        self.assertRegex(lines[2], rb"^MemTotal: \d+ kB$", self.shown)
        kib = int(lines[2].split()[1])
        self.assertTrue(least_mib * 1024 <= kib <= most_mib * 1024, lines[2])

    def test_256_mib_and_file_systems_that_are_full(self):
        # More than all memory into the root: half of memory is the limit, and nobody is killed.
        script = '''
            dd if=/dev/zero of=/full bs=1M count=400 2>&1 | grep -o 'No space left on device'
            size=$(stat -c %s /full); total=$(awk '/MemTotal/ { print $2 * 1024 }' /proc/meminfo)
            [ $((size * 2)) -lt "$total" ] && [ $((size * 3)) -gt "$total" ] && echo 'about half'
            rm /full
            df -k / | awk 'NR == 2 { print $1, $6; if ($2 > 0 && $3 + $4 == $2) print "adds up" }'
            grep -o '^tmpfs / tmpfs rw,relatime,size=' /proc/mounts
            mkdir /small; mount -t tmpfs -o size=1m small /small
            dd if=/dev/zero of=/small/file bs=64k count=17 2>&1 | grep -o 'No space left on device'
            stat -c %s /small/file; df -k /small | awk 'NR == 2 { print $2, $4 }'
            mount -o remount,size=512k /small || echo 'too small'
            mount -o remount,size=2m /small
            echo more >> /small/file; df -k /small | awk 'NR == 2 { print $2, $4 }'
            exit 7'''
        result = self.run_shell(script, memory_bytes=256 * _MIB)
        self.assertEqual((result.outcome, result.exit_status), (Outcome.EXITED, 7), self.shown)
        self.assertEqual(
            result.stdout.decode().splitlines(),
            ["No space left on device", "about half", "tmpfs /", "adds up",
             "tmpfs / tmpfs rw,relatime,size=", "No space left on device", "1048576", "1024 0",
             "too small", "2048 1020"], self.shown)
        self.assertNotIn(b"out of memory", result.log, self.shown)

    def test_64_mib_are_too_little_for_one_and_status_77(self):
        # A program that wants more than there is dies of it, and only that one.
        script = ("head -c 8388608 /dev/zero | sha256sum; x=$(seq 1 400000); echo ${#x}; "
                  "grep MemTotal /proc/meminfo | tr -s ' '; "
                  "sh -c 'exec awk \"BEGIN { x = 1; while (1) x = x x }\"'; echo $?; "
                  "exit 77")
        result = self.run_shell(script, memory_bytes=64 * _MIB)
        self.assertEqual((result.outcome, result.exit_status), (Outcome.EXITED, 77), self.shown)
        lines = result.stdout.splitlines()
        self.assertEqual(lines[1], b"2688894", self.shown)
        self.assertTrue(16 * 1024 <= int(lines[2].split()[1]) <= 64 * 1024, self.shown)
        self.assertEqual(lines[3:], [b"137"], self.shown)
        kills = re.findall(rb"out of memory \(.* in process \d+\): killed process \d+ \(.*\), "
                           rb"(\d+) KiB resident, score \d+", result.log)
        self.assertEqual(len(kills), 1, self.shown)
        # The largest: most of what 64 MiB leave to programs.
        self.assertTrue(16 * 1024 <= int(kills[0]) <= 64 * 1024, self.shown)
        self.assertTrue(result.powered_off)

    def test_4_gib_and_status_255(self):
        script = _WORK + ("mkdir /tmp/big; i=0; while [ $i -lt 6 ]; do "
                          "head -c 67108864 /dev/zero > /tmp/big/$i; i=$((i + 1)); done; "
                          "du -sm /tmp/big | cut -f 1; exit 255")
        result = self.run_shell(script, memory_bytes=4096 * _MIB)
        self.assertEqual((result.outcome, result.exit_status), (Outcome.EXITED, 255), self.shown)
        self.check_work(result, 3600, 4096)
        self.assertEqual(result.stdout.splitlines()[3], b"384", self.shown)

    def test_holes_in_the_memory_map_meltdown_nmis_and_death_by_signal(self):
        holes = ["1M$40M", "4K$50M", "64M$100M", "12K$200M", "2M$256M", "100M$300M"]
        # The processor has Meltdown, so that page-table isolation is on. NMIs fall between a change of
        # page tables and user mode, too: hundreds are sent while little is done but to go in and out.
        script = _WORK + ("grep bugs /proc/cpuinfo; for i in $(seq 1 20); do "
                          "dd if=/dev/zero of=/dev/null bs=1 count=2000 2>&1 | grep -c records; done "
                          "| uniq -c; kill -TERM $$; sleep 5")
        with tempfile.TemporaryDirectory() as folder:
            monitor = os.path.join(folder, "monitor")
            sender = NmiSender(monitor, most=400)
            sender.start()
            result = self.run_shell(
                script, sender.on_log, memory_bytes=512 * _MIB,
                append=" ".join(f"memmap={hole}" for hole in holes),
                qemu_arguments=("-cpu", "Skylake-Client",
                                "-qmp", f"unix:{monitor},server=on,wait=off"))
        self.assertEqual((result.outcome, result.exit_status, result.wait_status),
                         (Outcome.EXITED, 128 + 15, 15), self.shown)
        self.check_work(result, 512 - 167 - 64, 512 - 167)
        self.assertEqual(result.stdout.splitlines()[3:], [b"bugs\t\t: cpu_meltdown", b"     20 2"],
                         self.shown)
        self.assertIn(b"Kernel/User page tables isolation: enabled (automatic; "
                      b"Intel processor without RDCL_NO)", result.log, self.shown)
        self.assertGreater(sender.reported, 50, self.shown)

    def test_sleeps_of_seconds_and_minutes_on_an_idle_machine(self):
        # Virtual time, which leaps where nobody has anything to do: no busy host can make a sleep
        # long. The longest is more than the timer's 32 bits can count at once.
        asked = (1, 2, 3, 8, 70, 600)
        script = "cat /proc/uptime; " + "; ".join(f"sleep {seconds}; cat /proc/uptime"
                                                  for seconds in asked)
        result = self.run_shell(script, qemu_arguments=("-icount", "shift=0,sleep=off"))
        self.assertEqual((result.outcome, result.exit_status), (Outcome.EXITED, 0), self.shown)
        ends = [float(line.split()[0]) for line in result.stdout.splitlines()]
        for seconds, (start, end) in zip(asked, itertools.pairwise(ends), strict=True):
            # Both are cut off to hundredths.
            self.assertTrue(seconds - 0.02 < end - start < seconds + 0.2, f"{seconds}: {ends}")

    def test_a_program_and_a_kernel_that_hang_are_ended_by_the_timeout(self):
        # Both at once: neither has anything to do.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            program, kernel = pool.map(
                lambda script, append: self.run_shell(script, append=append, timeout_seconds=20),
                ("echo started; sleep 1000", "true"), ("", "panic_test=hang"))
        for result in program, kernel:
            self.assertEqual((result.outcome, result.exit_status), (Outcome.TIMED_OUT, 124),
                             shown(result))
        self.assertEqual(program.stdout, b"started\n", shown(program))
        self.assertEqual(kernel.stdout, b"", shown(kernel))
