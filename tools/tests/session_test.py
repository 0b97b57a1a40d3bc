"""Is the terminal as it was, and is everything ended, on every way out of a session?"""

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest
from pathlib import Path

_PROJECT = Path(__file__).absolute().parent.parent.parent
_DRIVER = [sys.executable, "-m", "tools.tests.session_driver"]
_LIMIT_SECONDS = 30


def environment(scene: str) -> dict[str, str]:
    return dict(os.environ, HOLSTEIN_FAKE_GUEST=scene, PYTHONPATH=str(_PROJECT), TERM="vt100")


def children(pid: int) -> set[int]:
    try:
        return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TerminalTest(unittest.TestCase):
    """The session runs on a pseudo-terminal; the test types and reads at its other end."""

    def start(self, scene: str, *arguments: str, size=(30, 100)) -> None:
        self.master, self.slave = os.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)
        self.resize(*size)
        self.before = termios.tcgetattr(self.slave)
        slave = self.slave

        def own_terminal():
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [*_DRIVER, *arguments, "program"], cwd=_PROJECT, env=environment(scene),
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=own_terminal)
        self.addCleanup(self._end)
        self.seen = b""

    def _end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait_for(self, text: bytes) -> None:
        limit = time.monotonic() + _LIMIT_SECONDS
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, limit - time.monotonic()))
            self.assertTrue(ready, f"no {text!r} in {self.seen!r}")
            self.seen += os.read(self.master, 65536)

    def finish(self) -> int:
        """The status, after a check that nothing is left."""
        limit = time.monotonic() + _LIMIT_SECONDS
        guests = children(self.process.pid)
        while self.process.poll() is None:
            guests |= children(self.process.pid)
            self.assertLess(time.monotonic(), limit, f"it hangs: {self.seen!r}")
            if select.select([self.master], [], [], 0.02)[0]:
                self.seen += os.read(self.master, 65536)
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        self.assertEqual(termios.tcgetattr(self.slave), self.before, "terminal not restored")
        self.assertFalse([pid for pid in guests if is_running(pid)], "a guest is left")
        return self.process.returncode

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & (termios.ISIG | termios.ICANON)

    def test_keys_arrive_as_they_are_and_the_end_restores(self):
        self.start("echo_keys")
        self.wait_for(b"ready")
        self.wait_for(b"size 30 100")
        self.assertTrue(self.is_raw())
        self.type(b"\x03\x04\x1a\x00\xff\r\x11\x13\x1c\x7f")
        for key in (3, 4, 26, 0, 255, 13, 17, 19, 28, 127):
            self.wait_for(b"key %d\r\n" % key)
        self.type(b"q")
        self.assertEqual(self.finish(), 0)

    def test_a_new_window_size_is_passed_on(self):
        self.start("echo_keys")
        self.wait_for(b"size 30 100")
        self.resize(41, 132)
        self.wait_for(b"size 41 132")
        self.type(b"q")
        self.assertEqual(self.finish(), 0)

    def test_the_escape_kills_and_can_be_typed(self):
        self.start("echo_keys")
        self.wait_for(b"ready")
        self.type(b"\x1d\x1d")
        self.wait_for(b"key 29")
        self.type(b"\x1da")
        self.wait_for(b"key 97")
        self.type(b"\x1d")
        self.type(b"x")
        self.assertEqual(self.finish(), 125)
        self.assertIn(b"from the keyboard", self.seen)

    def test_time_limit(self):
        self.start("echo_keys", "--timeout", "1")
        self.wait_for(b"ready")
        self.assertEqual(self.finish(), 124)

    def test_panic(self):
        self.start("echo_keys")
        self.wait_for(b"ready")
        self.type(b"p")
        self.assertEqual(self.finish(), 125)
        self.assertIn(b"bad thing", self.seen)

    def test_qemu_killed_from_outside(self):
        self.start("echo_keys")
        self.wait_for(b"ready")
        for pid in children(self.process.pid):
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(self.finish(), 125)
        self.assertIn(b"killed by signal 9", self.seen)

    def test_signals_that_end_it(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(number.name):
                self.start("echo_keys")
                self.wait_for(b"ready")
                self.process.send_signal(number)
                self.assertEqual(self.finish(), -number)

    def test_ctrl_c_ends_it_while_the_guest_has_not_answered(self):
        self.start("silent")
        limit = time.monotonic() + _LIMIT_SECONDS
        while termios.tcgetattr(self.slave)[3] & termios.ICANON:
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.01)
        time.sleep(0.3)
        self.type(b"\x03")
        self.assertEqual(self.finish(), -signal.SIGINT)

    def test_stop_and_continue(self):
        self.start("echo_keys")
        self.wait_for(b"ready")
        self.process.send_signal(signal.SIGTSTP)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        self.assertEqual(termios.tcgetattr(self.slave), self.before)
        self.process.send_signal(signal.SIGCONT)
        self.type(b"a")
        self.wait_for(b"key 97")
        self.assertTrue(self.is_raw())
        self.type(b"q")
        self.assertEqual(self.finish(), 0)

    def test_a_terminal_that_goes_away_ends_the_session(self):
        self.start("echo_keys")
        self.wait_for(b"ready")
        guests = children(self.process.pid)
        # The last descriptor of the other end: the kernel sends SIGHUP.
        os.dup2(os.open(os.devnull, os.O_RDWR), self.master)
        self.assertEqual(self.process.wait(_LIMIT_SECONDS), -signal.SIGHUP)
        self.assertFalse([pid for pid in guests if is_running(pid)])


class StreamsTest(unittest.TestCase):
    def run_session(self, scene: str, *arguments: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run([*_DRIVER, *arguments, "program"], cwd=_PROJECT,
                              env=environment(scene), timeout=_LIMIT_SECONDS, **options)

    def test_streams_and_status_are_the_program_s(self):
        run = self.run_session("both", stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(run.returncode, 7)
        self.assertEqual(run.stdout, b"".join(b"out %d\n" % n for n in range(100)))
        self.assertEqual(run.stderr, b"".join(b"err %d\n" % n for n in range(100)))

    def test_bytes_pass_through(self):
        data = os.urandom(5_000_000)
        run = self.run_session("cat", input=data, capture_output=True)
        self.assertEqual((run.returncode, run.stdout == data, run.stderr), (0, True, b""))

    def test_a_reader_that_leaves_ends_the_program_by_sigpipe(self):
        with subprocess.Popen([*_DRIVER, "program"], cwd=_PROJECT, env=environment("yes"),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.read(4), b"y\ny\n")
            process.stdout.close()
            self.assertEqual(process.wait(_LIMIT_SECONDS), 128 + signal.SIGPIPE)

    def test_closed_descriptors(self):
        """`<&- >&-`: nothing is taken for the program's streams that is not."""
        run = subprocess.run(
            ["sh", "-c", 'exec "$@" <&- >&-', "sh", *_DRIVER, "program"], cwd=_PROJECT,
            env=environment("segfault"), timeout=_LIMIT_SECONDS, stderr=subprocess.PIPE)
        self.assertEqual((run.returncode, run.stderr), (139, b""))

    def test_the_log_goes_to_standard_error_only_when_asked_for(self):
        for arguments, count in (((), 0), (("--log",), 1000)):
            run = self.run_session("log_lines", *arguments, stdin=subprocess.DEVNULL,
                                   capture_output=True)
            self.assertEqual(run.stdout, b"")
            self.assertEqual(run.stderr.count(b"log line"), count)
            self.assertEqual(run.stderr.count(b"the program's own"), 1)

    def test_a_signal_ends_it_with_no_guest_left(self):
        with subprocess.Popen([*_DRIVER, "program"], cwd=_PROJECT, env=environment("hang"),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.read(7), b"partial")
            guests = children(process.pid)
            self.assertTrue(guests)
            process.terminate()
            self.assertEqual(process.wait(_LIMIT_SECONDS), -signal.SIGTERM)
            self.assertFalse([pid for pid in guests if is_running(pid)])

    def test_even_sigkill_leaves_no_guest(self):
        with subprocess.Popen([*_DRIVER, "program"], cwd=_PROJECT, env=environment("hang"),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.read(7), b"partial")
            guests = children(process.pid)
            self.assertTrue(guests)
            process.kill()
            process.wait()
            limit = time.monotonic() + _LIMIT_SECONDS
            while any(is_running(pid) for pid in guests):
                self.assertLess(time.monotonic(), limit)
                time.sleep(0.01)


if __name__ == "__main__":
    unittest.main()
