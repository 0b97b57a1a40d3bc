"""What `./holstein fuzz` makes of a fuzzer's output and end."""

import argparse
import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools import cli, fuzz_command, state, syscall_fuzzer
from tools.errors import CommandError

_FUZZER = """#!/bin/sh
echo '#1024	pulse  cov: 79 ft: 151 corp: 42/1374b lim: 4096 exec/s: 512 rss: 30Mb' >&2
{body}
"""
_QUIET = "echo 'stat::number_of_executed_units: 2048' >&2"
_CRASH = """echo 'elf.cc:1: does not hold: x' >&2
echo 'artifact_prefix=/f/; Test unit written to /f/crash-1' >&2
exit 77"""


class FuzzCommandTest(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "fuzz").mkdir()
        (self.folder / "fuzz" / "BUILD.bazel").write_text('fuzz_target(\n    name = "elf",\n)\n')
        (self.folder / "fuzz" / "elf.cc").write_text("// Programs, as they\n// come. More.\n")
        self.enterContext(mock.patch.object(state, "PROJECT", self.folder))
        self.enterContext(mock.patch.object(fuzz_command.packages, "ensure"))

    def run_fuzzer(self, body: str, *arguments: str) -> tuple[int, str]:
        program = self.folder / "program"
        program.write_text(_FUZZER.format(body=body))
        program.chmod(0o755)
        said = []
        with mock.patch.object(fuzz_command.build, "build_programs",
                               return_value=[str(program)]), \
                mock.patch.object(fuzz_command.standard_streams, "say", said.append):
            status = fuzz_command.run(cli.make_parser().parse_args(["fuzz", *arguments]))
        return status, "\n".join(said)

    def test_times_are_understood(self):
        self.assertEqual([fuzz_command.duration(text) for text in ("90", "90s", "10m", "2h", "0.5h")],
                         [90, 90, 600, 7200, 1800])
        for text in ("", "10x", "-1s", "0"):
            with self.assertRaises(argparse.ArgumentTypeError):
                fuzz_command.duration(text)

    def test_targets_are_listed_with_what_their_harness_says(self):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            self.assertEqual(self.run_fuzzer(_QUIET, "--list")[0], 0)
        self.assertEqual(said.getvalue().split(), ["elf", "Programs,", "as", "they", "come", "syscalls",
                                                   *syscall_fuzzer.ABOUT.split()])

    def test_a_run_that_finds_nothing(self):
        status, said = self.run_fuzzer(_QUIET, "elf", "--time", "5s", "--seed", "7")
        self.assertEqual(status, 0)
        self.assertIn("fuzz elf: 5 s, seed 7", said)
        self.assertIn("1024 executions, 512 a second, 79 edges, 42 inputs kept", said)
        self.assertIn("2048 executions, nothing found", said)

    def test_a_dictionary_is_used_where_there_is_one(self):
        asked = 'echo "stat::number_of_executed_units: 1 $*" >&2; case "$*" in *-dict=*) exit 3;; esac'
        self.assertEqual(self.run_fuzzer(asked, "elf")[0], 0)
        (self.folder / "fuzz" / "dictionaries").mkdir()
        (self.folder / "fuzz" / "dictionaries" / "elf.dict").write_text('"ELF"\n')
        self.assertIn("ended with 3", self.run_fuzzer(asked, "elf")[1])

    def test_a_crash_names_the_input_and_how_to_see_it_again(self):
        status, said = self.run_fuzzer(_CRASH, "elf")
        self.assertEqual(status, 1)
        self.assertIn("does not hold: x", said)
        self.assertIn("./holstein fuzz elf --replay /f/crash-1", said)

    def test_a_fuzzer_that_ends_otherwise_is_no_success(self):
        status, said = self.run_fuzzer("kill -KILL $$", "elf")
        self.assertEqual(status, 1)
        self.assertIn("ended with -9", said)

    def test_unknown_targets_are_wrong_usage(self):
        with self.assertRaisesRegex(CommandError, "no target 'nothing'; there are elf"):
            self.run_fuzzer(_QUIET, "nothing")
        with self.assertRaisesRegex(CommandError, "no such file"):
            self.run_fuzzer(_QUIET, "elf", "--replay", os.fspath(self.folder / "none"))


if __name__ == "__main__":
    unittest.main()
