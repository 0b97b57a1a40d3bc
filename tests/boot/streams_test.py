"""The program's streams: every byte value, both ways at 5 MB/s at least, apart, with their ends."""

import os
import time
import unittest

from tests.boot.boot_files import boot_files
from tools.guest import Outcome
from tools.runner import RunRequest, RunResult, run_guest

_MEGABYTE = 1_000_000
_BYTES = 48 * _MEGABYTE
_LEAST_BYTES_PER_SECOND = 5 * _MEGABYTE


class StreamsTest(unittest.TestCase):
    def run_shell(self, script: str, **request) -> RunResult:
        result = run_guest(RunRequest(boot_files(), ["/bin/busybox", "sh", "-c", script],
                                      **{"timeout_seconds": 120, **request}))
        self.shown = f"{result.outcome.name}: {result.message}\n" + \
            result.log[-2000:].decode("utf-8", "replace")
        return result

    def test_bytes_pass_unchanged_and_fast_in_both_directions_at_once(self):
        # The guest tells on standard error when it began and ended: its boot is not measured.
        data = bytes(range(256)) * 4096 + os.urandom(_BYTES - 256 * 4096)
        result = self.run_shell(
            "cut -d ' ' -f 1 /proc/uptime >&2; cat; cut -d ' ' -f 1 /proc/uptime >&2", stdin=data)
        self.assertEqual((result.outcome, result.exit_status), (Outcome.EXITED, 0), self.shown)
        self.assertEqual(len(result.stdout), len(data), self.shown)
        self.assertTrue(result.stdout == data, "bytes have changed on the way")
        began, ended = (float(line) for line in result.stderr.split())
        rate = len(data) / (ended - began)
        print(f"{rate / _MEGABYTE:.1f} MB/s in and out", flush=True)
        self.assertGreater(rate, _LEAST_BYTES_PER_SECOND)

    def test_output_and_error_are_kept_apart_and_input_ends(self):
        script = ("read -r first; echo \"out $first\"; echo \"err $first\" >&2; wc -c; "
                  "cat; printf '\\000\\377\\r\\n\\004' >&2; exit 3")
        result = self.run_shell(script, stdin=b"line\n" + bytes(1000))
        self.assertEqual((result.exit_status, result.stdout, result.stderr),
                         (3, b"out line\n1000\n", b"err line\n\0\xff\r\n\4"), self.shown)

    def test_input_that_nobody_reads_and_streams_that_are_closed(self):
        script = ("[ -e /proc/self/fd/2 ] || echo 'no standard error'; echo lost >&2; "
                  "exec 0<&-; echo 'input closed'; exec >&-; sleep 1; kill -KILL $$")
        result = self.run_shell(script, stdin=bytes(2 * _MEGABYTE), stderr="closed")
        self.assertEqual((result.exit_status, result.stdout),
                         (128 + 9, b"no standard error\ninput closed\n"), self.shown)

    def test_first_output_comes_soon(self):
        # Printed, not asserted: the machine may be busy with other tests.
        moments = []
        started = time.monotonic()
        result = run_guest(RunRequest(boot_files(), ["busybox", "echo", "first"],
                                      timeout_seconds=120),
                           on_log=lambda data: moments.append(time.monotonic() - started))
        self.assertEqual((result.exit_status, result.stdout), (0, b"first\n"))
        print(f"QEMU to the first word of loader or kernel: {moments[0]:.2f} s; "
              f"to the end of the run: {time.monotonic() - started:.2f} s", flush=True)
