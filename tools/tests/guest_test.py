"""What becomes of a run, whatever the guest does: tools/guest.py with a fake QEMU."""

import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from tools import firmware, guest, image, qemu
from tools.guest import Outcome
from tools.runner import BootFiles, RunRequest, run_guest
from tools.tests import elf_files

FAKE_QEMU = str(Path(__file__).with_name("fake_qemu.sh").absolute())


class GuestTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        program = self.folder / "program"
        program.write_bytes(elf_files.program())
        program.chmod(0o755)
        self.program = str(program)
        # The firmware need not be installed where there is no QEMU to use it.
        file = self.folder / "firmware"
        file.write_bytes(b"firmware")
        self.enterContext(mock.patch.multiple(firmware, CODE=file, VARIABLES=file))

    def run_scene(self, scene: str, **request):
        self.enterContext(mock.patch.dict(os.environ, HOLSTEIN_FAKE_GUEST=scene))
        self.enterContext(mock.patch.object(qemu, "QEMU", FAKE_QEMU))
        self.enterContext(mock.patch.object(image, "BUSYBOX", self.program))
        self.enterContext(mock.patch.object(image, "base_tree",
                                            lambda: (image.Tree(), frozenset())))
        boot = BootFiles(*[Path(self.program)] * 3)
        return run_guest(RunRequest(boot, [self.program], **request))

    def test_output_and_input_pass_through(self):
        data = os.urandom(3_000_000)
        result = self.run_scene("cat", stdin=data)
        self.assertEqual(result.stdout, data)
        self.assertEqual((result.outcome, result.exit_status, result.message),
                         (Outcome.EXITED, 0, ""))
        self.assertTrue(result.powered_off)

    def test_the_status_is_the_program_s(self):
        result = self.run_scene("both")
        self.assertEqual(result.exit_status, 7)
        self.assertEqual(result.stdout.count(b"out"), 100)
        self.assertEqual(result.stderr.count(b"err"), 100)

    def test_a_signal_is_128_and_its_number(self):
        self.assertEqual(self.run_scene("segfault").exit_status, 139)

    def test_a_panic_is_reported_with_what_came_before(self):
        result = self.run_scene("panic")
        self.assertEqual((result.outcome, result.exit_status), (Outcome.PANICKED, 125))
        self.assertIn("bad thing", result.message)
        self.assertNotIn("all is well", result.message)
        self.assertIn(b"all is well", result.log)
        self.assertEqual(result.stdout, b"before\n")

    def test_the_loader_s_line_is_passed_on_without_escape_codes(self):
        result = self.run_scene("loader")
        self.assertEqual((result.outcome, result.exit_status, result.message),
                         (Outcome.LOADER_FAILED, 125, "holstein loader: kernel.elf is missing"))

    def test_a_reset_is_named(self):
        result = self.run_scene("reset")
        self.assertEqual((result.outcome, result.exit_status), (Outcome.BROKEN, 125))
        self.assertIn("reset (a triple fault", result.message)

    def test_what_qemu_says_when_it_dies_is_passed_on(self):
        result = self.run_scene("die")
        self.assertEqual((result.outcome, result.exit_status), (Outcome.BROKEN, 125))
        self.assertIn("could not open the moon", result.message)

    def test_the_time_limit_ends_a_hanging_program_and_keeps_its_output(self):
        began = time.monotonic()
        result = self.run_scene("hang", timeout_seconds=1.0)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual((result.outcome, result.exit_status), (Outcome.TIMED_OUT, 124))
        self.assertTrue(result.timed_out)
        self.assertEqual(result.stdout, b"partial")

    def test_a_machine_that_never_answers_is_given_up(self):
        result = self.run_scene("silent", boot_timeout_seconds=0.5)
        self.assertEqual((result.outcome, result.exit_status), (Outcome.NOT_BOOTED, 125))

    def test_a_guest_that_talks_nonsense_is_ended(self):
        result = self.run_scene("garbage")
        self.assertEqual((result.outcome, result.exit_status), (Outcome.BROKEN, 125))
        self.assertIn("protocol", result.message)

    def test_a_program_that_cannot_start(self):
        result = self.run_scene("not_found")
        self.assertEqual((result.outcome, result.exit_status), (Outcome.NOT_STARTED, 127))
        self.assertIn("no such program", result.message)

    def test_a_guest_that_stays_on_is_switched_off(self):
        with mock.patch.object(guest, "_POWER_OFF_SECONDS", 0.5):
            result = self.run_scene("no_power_off")
        self.assertEqual((result.outcome, result.exit_status), (Outcome.EXITED, 0))
        self.assertFalse(result.powered_off)
        self.assertIn("did not power off", result.message)

    def test_a_conversation_types_when_it_is_time(self):
        result = self.run_scene("echo_keys", stdout="tty", stderr="tty", window=(5, 6),
                                conversation=[(b"size 5 6", b"a"), (b"key 97", b"bc"),
                                              (b"key 99", b"q")])
        self.assertEqual(result.exit_status, 0)
        self.assertEqual(result.terminal, b"ready\r\nsize 5 6\r\nkey 97\r\nkey 98\r\nkey 99\r\n")

    def test_nothing_is_left_behind(self):
        before = set(os.listdir("/proc/self/fd")), set(os.listdir(tempfile.gettempdir()))
        self.run_scene("cat", stdin=b"x")
        self.run_scene("hang", timeout_seconds=0.5)
        after = set(os.listdir("/proc/self/fd")), set(os.listdir(tempfile.gettempdir()))
        self.assertEqual(len(before[0]), len(after[0]))
        self.assertFalse([name for name in after[1] - before[1] if name.startswith("holstein")])


class CommandLineTest(unittest.TestCase):
    def test_memory_is_exact_and_gdb_stops_the_machine(self):
        words = qemu.command_line(qemu.Machine(3, 4, 64 << 20, gdb_port=1234), 5, 6, 7, 8)
        self.assertEqual(words[words.index("-m") + 1], "size=65536K")
        self.assertIn("-S", words)

    def test_what_the_user_hands_to_qemu_comes_last(self):
        words = qemu.command_line(qemu.Machine(3, 4, extra_arguments=("-d", "int")), 5, 6, 7, 8)
        self.assertEqual(words[-2:], ["-d", "int"])


class ExitStatusTest(unittest.TestCase):
    def test_as_a_shell_sees_it(self):
        for wait_status, expected in ((0, 0), (255 << 8, 255), (9, 137), (6 | 0x80, 134)):
            self.assertEqual(guest.exit_status_of(wait_status), expected)


if __name__ == "__main__":
    unittest.main()
