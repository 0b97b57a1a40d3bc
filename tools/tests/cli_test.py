"""Do options mean what --help says, and does each mistake get one line and its status?"""

import contextlib
import io
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools import build, cli, packages, run_command, runner, standard_streams, state
from tools.errors import CommandError
from tools.runner import BootFiles, RequestError

_PROJECT = Path(__file__).absolute().parent.parent.parent


def parse(*words: str):
    before, program = cli.split_program(list(words))
    return cli.make_parser().parse_args(["run", *before]), program


class SplitTest(unittest.TestCase):
    def test_options_end_at_the_program(self):
        options, program = parse("--mem", "64M", "--log", "sort", "-r", "--mem", "x", "--", "-n")
        self.assertEqual(options.mem, 64 << 20)
        self.assertTrue(options.log)
        self.assertEqual(program, ["sort", "-r", "--mem", "x", "--", "-n"])

    def test_a_double_dash_ends_options_too(self):
        _, program = parse("--log", "--", "-odd-name", "--", "x")
        self.assertEqual(program, ["-odd-name", "--", "x"])

    def test_values_may_look_like_options(self):
        options, program = parse("--qemu", "-d", "--qemu", "int", "--append", "-x", "prog")
        self.assertEqual((options.qemu, options.append, program),
                         (["-d", "int"], ["-x"], ["prog"]))


class OptionsTest(unittest.TestCase):
    def assert_usage_error(self, *words: str) -> str:
        with self.assertRaises(CommandError) as caught:
            parse(*words)
        self.assertEqual(caught.exception.status, 2)
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def test_sizes(self):
        for text, size in (("64M", 64 << 20), ("64", 64 << 20), ("4G", 4 << 30), ("1g", 1 << 30),
                           ("65536K", 64 << 20), ("1GiB", 1 << 30), ("64MB", 64 << 20)):
            self.assertEqual(cli.memory_size(text), size)
        for text in ("", "M", "0", "-1G", "1.5G", "64Q", "1K", "31M", "2T"):
            self.assert_usage_error(f"--mem={text}", "x")

    def test_environment(self):
        options, _ = parse("--env", "A=b=c", "--env", "E=", "x")
        self.assertEqual(dict(options.env), {"A": "b=c", "E": ""})
        self.assert_usage_error("--env", "A", "x")
        self.assert_usage_error("--env", "=b", "x")

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            plain, colon = f"{folder}/plain", f"{folder}/with:colon"
            for name in (plain, colon):
                Path(name).touch()
            options, _ = parse("--with", plain, "--with", f"{plain}:/etc/x", "--with", colon,
                               "--with", f"{colon}:sub/", "x")
            self.assertEqual(options.with_files, [(plain, None), (plain, "/etc/x"), (colon, None),
                                                  (colon, "sub/")])
            self.assertEqual(runner.destination_of(colon, "sub/"), b"sub/with:colon")
            self.assertEqual(runner.destination_of("../a/b", None), b"a/b")
            self.assert_usage_error("--with", f"{plain}:", "x")
            self.assert_usage_error("--root", plain, "x")
        self.assertIn("no such file", self.assert_usage_error("--with", "/no/such", "x"))
        self.assert_usage_error("--with", "/no/such:/x", "x")
        self.assert_usage_error("--root", "/no/such", "x")

    def test_the_rest(self):
        self.assert_usage_error("--timeout", "0", "x")
        self.assert_usage_error("--timeout", "soon", "x")
        self.assert_usage_error("--timeout", "nan", "x")
        self.assert_usage_error("--smp", "2", "x")
        self.assert_usage_error("--accel", "xen", "x")
        self.assert_usage_error("--build", "fast", "x")
        self.assert_usage_error("--unknown", "x")
        self.assert_usage_error("--mem")
        self.assert_usage_error("--ti", "1", "x")  # no abbreviations: new options break nobody

    def test_every_option_of_the_issue_is_in_the_help(self):
        text = io.StringIO()
        with contextlib.redirect_stdout(text), self.assertRaises(SystemExit) as caught:
            cli.make_parser().parse_args(["run", "--help"])
        self.assertEqual(caught.exception.code, 0)
        for option in ("--with", "--root", "--env", "--mem", "--smp", "--append", "--timeout",
                       "--gdb", "--accel", "--log", "--build", "--qemu", "--no-install"):
            self.assertIn(option, text.getvalue())
        for status in ("2 ", "124", "125", "126", "127", "128+N"):
            self.assertIn(status, text.getvalue())


class RequestTest(unittest.TestCase):
    def request(self, *words: str):
        options, program = parse(*words)
        return run_command.make_request(options, program, BootFiles(*[Path("/x")] * 3))

    def test_gdb_switches_randomisation_off_and_waits_for_ever(self):
        request = self.request("--gdb", "--append", "loglevel=7", "x")
        self.assertEqual(request.append, "nokaslr noaslr loglevel=7")
        self.assertIsNone(request.boot_timeout_seconds)
        self.assertGreater(request.gdb_port, 0)

    def test_the_command_line_is_printable(self):
        self.assertEqual(runner.checked_command_line("a=1 b"), "a=1 b")
        for line in ("a\nb", "\u00fc", "x" * 5000, "\0"):
            with self.assertRaises(RequestError):
                runner.checked_command_line(line)

    def test_memory_grows_with_the_image(self):
        self.assertEqual(runner.default_memory_bytes(5 << 20), 2 << 30)
        self.assertGreaterEqual(runner.default_memory_bytes(1 << 30), 2 << 30)
        self.assertEqual(runner.default_memory_bytes((1 << 30) + 1) % (1 << 20), 0)


class PackagesTest(unittest.TestCase):
    def setUp(self):
        self.enterContext(mock.patch.object(state, "load", lambda name: {}))
        self.enterContext(mock.patch.object(state, "save", lambda name, value: None))

    def test_no_install_says_what_is_missing(self):
        with mock.patch.object(packages, "find_missing", lambda names: ["ovmf", "gdb"]), \
                self.assertRaises(CommandError) as caught:
            packages.ensure({"ovmf": "a", "gdb": "b", "x": "c"}, may_install=False)
        self.assertEqual(caught.exception.status, 125)
        self.assertIn("ovmf gdb", str(caught.exception))

    def test_installing_says_what_and_why_first(self):
        events = []
        missing = iter([["ovmf"], []])

        def run(command, **_):
            events.append(" ".join(command))
            return subprocess.CompletedProcess(command, 0)

        with mock.patch.object(packages, "find_missing", lambda names: next(missing)), \
                mock.patch.object(standard_streams, "say", events.append), \
                mock.patch.object(os, "geteuid", lambda: 0), \
                mock.patch.object(subprocess, "run", run):
            packages.ensure({"ovmf": "the firmware"}, may_install=True)
        joined = "\n".join(events)
        self.assertLess(joined.index("the firmware"), joined.index("apt-get install"))
        self.assertTrue(events[-1].startswith("env DEBIAN_FRONTEND=noninteractive apt-get install"))

    def test_every_package_has_a_reason(self):
        for name, reason in packages.needed(for_tests=True, for_gdb=True).items():
            self.assertTrue(reason, name)

    @unittest.skipUnless(Path("/usr/bin/dpkg-query").exists(), "not Debian")
    def test_dpkg_is_asked(self):
        self.assertEqual(packages.find_missing({"dpkg": "", "no-such-package-here": ""}),
                         ["no-such-package-here"])


class BuildTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.project = Path(folder.name)
        self.enterContext(mock.patch.object(state, "PROJECT", self.project))
        (self.project / "vm").mkdir()
        (self.project / "vm/a.cc").write_text("1")

    def test_the_fingerprint_sees_every_change_of_a_source_and_nothing_else(self):
        first = build._fingerprint()
        self.assertEqual(build._fingerprint(), first)
        (self.project / ".git").mkdir()
        (self.project / "vm/README.md").write_text("words")
        (self.project / "bazel-bin").symlink_to("/nowhere")
        self.assertEqual(build._fingerprint(), first)
        for change in (lambda: (self.project / "vm/a.cc").write_text("2"),
                       lambda: (self.project / "vm/b.cc").touch(),
                       lambda: (self.project / "vm/b.cc").rename(self.project / "vm/c.cc"),
                       lambda: (self.project / "vm/c.cc").unlink()):
            before = build._fingerprint()
            change()
            self.assertNotEqual(build._fingerprint(), before)

    def test_test_targets_replace_all_of_them(self):
        for words, expected in ((["--config=x"], ["--config=x", "//..."]),
                                (["//vm/...", "-c", "opt"], ["//vm/...", "-c", "opt"])):
            with mock.patch.object(build, "_require_bazel"), \
                    mock.patch.object(subprocess, "run") as run:
                build.run_tests(words)
            self.assertEqual(run.call_args[0][0][-len(expected) - 1:], ["test", *expected])


class EntryTest(unittest.TestCase):
    """The executable itself, as far as it goes without a build."""

    def run_command(self, *words: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run([_PROJECT / "holstein", *words], capture_output=True, text=True,
                              timeout=60, **options)

    def test_help(self):
        for words in (["--help"], ["run", "--help"], ["shell", "-h"], ["test", "--help"]):
            run = self.run_command(*words)
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            self.assertIn("usage:", run.stdout)

    def test_usage_errors_are_one_line_and_2(self):
        for words in ([], ["fly"], ["run"], ["run", "--bad", "x"], ["run", "--mem", "x", "x"],
                      ["shell", "x"]):
            run = self.run_command(*words)
            self.assertEqual((run.returncode, run.stdout), (2, ""), words)
            self.assertEqual(run.stderr.count("\n"), 1, run.stderr)

    def test_without_python_the_shell_part_refuses_or_installs(self):
        with tempfile.TemporaryDirectory() as empty:
            run = self.run_command("run", "--no-install", "x", env={"PATH": empty})
        self.assertEqual((run.returncode, run.stdout), (125, ""))
        self.assertIn("python3", run.stderr)


if __name__ == "__main__":
    unittest.main()
