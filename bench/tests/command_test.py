"""`./holstein bench` as a whole, with a fake QEMU: what is printed, written and returned."""

import argparse
import contextlib
import io
import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools import cli, firmware, image, qemu
from tools.errors import CommandError
from tools.runner import BootFiles
from tools.tests import elf_files

from bench import command, linux, systems
from bench.linux import LinuxKernel, LinuxMissing
from bench.measure import Plan, measure
from bench.protocol import Reader
from bench.results import Run, SystemResult
from bench.tests import texts

_FAKE_QEMU = str(Path(elf_files.__file__).with_name("fake_qemu.sh").absolute())


def _base_tree() -> tuple[image.Tree, frozenset[str]]:
    tree = image.Tree()
    # The fake program is a script.
    tree.put_file("bin/sh", elf_files.program(), 0o755)
    return tree, frozenset()


class CommandTest(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        file = self.folder / "file"
        file.write_bytes(elf_files.program())
        self.program = self.folder / "bench"
        self.write_program(f"cat <<'END'\n{texts.LIST}END\n")
        self.write("holstein", texts.HOLSTEIN)
        self.write("linux", texts.LINUX)
        kernel = self.folder / "vmlinuz"
        kernel.write_bytes(b"kernel")
        self.kernel = LinuxKernel(kernel, "linux-image-6.1.0-57-cloud-amd64", "6.1.192-3", "cd")
        for target, name, value in (
                (qemu, "QEMU", _FAKE_QEMU), (firmware, "CODE", file),
                (firmware, "VARIABLES", file),
                (image, "base_tree", _base_tree),
                (command.packages, "ensure", lambda *_: None),
                (command.build, "build_with_bench",
                 lambda mode: (BootFiles(file, file, file), self.program, file)),
                (linux, "from_debian", lambda: self.kernel)):
            self.enterContext(mock.patch.object(target, name, value))
        self.enterContext(mock.patch.dict(
            os.environ, HOLSTEIN_FAKE_GUEST="speak",
            HOLSTEIN_FAKE_HOLSTEIN=str(self.folder / "holstein"),
            HOLSTEIN_FAKE_LINUX=str(self.folder / "linux")))

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_bytes(text.encode())

    def write_program(self, body: str) -> None:
        self.program.write_text(f"#!/bin/sh\n{body}")
        self.program.chmod(0o755)

    def bench(self, *words: str) -> tuple[int, str, str]:
        """(status, standard output, what was said)"""
        printed, said = io.StringIO(), []
        with contextlib.redirect_stdout(printed), \
                mock.patch("tools.standard_streams.say", said.append):
            options = cli.make_parser().parse_args(["bench", *words])
            status = command.run(options)
        return status, printed.getvalue(), "\n".join(said)

    def test_two_systems_side_by_side(self):
        file, folder = self.folder / "out.json", self.folder / "plots"
        status, printed, _ = self.bench("--systems", "holstein,linux", "--json", str(file), "--plot",
                                        str(folder))
        self.assertEqual(status, 0)
        for words in ("fork-return-1MiB    10,741  71,000  6.61x", "6.1.192-3", "erms=off",
                      "slower than Linux: fork/fork-return-1GiB",
                      "Linux says: Linux version 6.1.0-57-cloud-amd64"):
            self.assertIn(words, printed)
        value = json.loads(file.read_text())
        lines = [value["systems"][name]["runs"][0]["qemu"] for name in ("holstein", "linux")]
        self.assertIn("shift=0,sleep=off", lines[0])
        # The same machine, but for descriptors, the disk's place in the order of boot, and Linux.
        at = lines[1].index("-kernel")
        self.assertEqual(lines[1][at::2], ["-kernel", "-initrd", "-append"])
        changed = [ours for ours, theirs in zip(lines[0], lines[1][:at], strict=True)
                   if ours != theirs and "fd=" not in ours and "/proc/self/fd/" not in ours]
        self.assertEqual(changed, ["virtio-blk-pci,drive=boot,bootindex=0"])
        self.assertEqual(sorted(path.name for path in folder.iterdir()), ["fork.svg", "stalls.svg"])

    def test_all_four_systems_are_the_default(self):
        status, printed, _ = self.bench()
        self.assertEqual(status, 0)
        for title in ("Holstein", "Linux", "4 KiB pages", "no mitigations"):
            self.assertIn(f"  {title}  ", printed)

    def test_without_linux_holstein_is_shown_alone(self):
        def missing():
            raise LinuxMissing("apt-get download x: E: no network")

        with mock.patch.object(linux, "from_debian", missing):
            status, printed, said = self.bench()
        self.assertEqual(status, 0)
        self.assertIn("no Linux to compare with: apt-get download x: E: no network", said)
        self.assertIn("fork-return-1MiB    10,741\n", printed)
        self.assertNotIn("Linux", printed.replace("without erms=off Linux would", ""))

    def test_a_crash_of_linux_leaves_the_rest(self):
        self.write("linux", texts.LINUX.partition("group\ttables")[0] +
                   "Kernel panic - not syncing: x\r\n")
        status, printed, _ = self.bench("--systems", "holstein,linux")
        self.assertEqual(status, 1)
        self.assertIn("fork-return-1MiB    10,741  71,000  6.61x", printed)
        self.assertIn("Linux: Linux ended before the program did", printed)
        self.assertIn("    | Kernel panic - not syncing: x", printed)
        self.assertIn("not measured on Linux: tables/child-page-tables, server/fork-server, "
                      "stalls/stall-p99 (Linux ended before the program did)", printed)

    def test_a_crash_of_holstein_leaves_the_rest(self):
        self.enterContext(mock.patch.dict(os.environ, HOLSTEIN_FAKE_GUEST="panic"))
        status, printed, _ = self.bench("--systems", "holstein")
        self.assertEqual(status, 1)
        self.assertIn("Holstein: the guest's kernel panicked", printed)
        self.assertIn("    | bad thing", printed)

    def test_a_row_that_fails_is_a_failure(self):
        self.write("holstein", texts.HOLSTEIN.replace("row\tstalls\tstall-p99\tticks\t900",
                                                      "failed\tstalls\tstall-p99\tfork: EAGAIN"))
        status, printed, _ = self.bench("--systems", "holstein")
        self.assertEqual(status, 1)
        self.assertIn("not measured on Holstein: stalls/stall-p99 (fork: EAGAIN)", printed)

    def test_a_clock_that_is_none_is_a_failure(self):
        self.write("holstein", texts.HOLSTEIN.replace("2000011 2000410 2000011", "7"))
        status, printed, _ = self.bench("--systems", "holstein")
        self.assertEqual(status, 1)
        self.assertIn("its clock does not count instructions", printed)

    def test_time_is_measured_by_turns_and_without_icount(self):
        file = self.folder / "out.json"
        status, printed, _ = self.bench("--systems", "holstein,linux", "--measure", "time",
                                        "--repeat", "2", "--json", str(file))
        self.assertEqual(status, 0)
        self.assertIn("nanoseconds", printed)
        value = json.loads(file.read_text())
        self.assertEqual((value["plan"]["repeat"], value["plan"]["at_a_time"]), (2, 1))
        self.assertEqual(len(value["systems"]["linux"]["runs"]), 2)
        self.assertNotIn("-icount", value["systems"]["linux"]["runs"][0]["qemu"])
        self.assertEqual(value["machine"]["cpu"], "max")
        self.assertIn("--clock monotonic", " ".join(value["program"]["arguments"]))

    def test_a_build_meanwhile_changes_nothing(self):
        def rebuild(plan, setup, kernel, results):
            was = [Path(file).read_bytes() for file in (setup.files[0][0], setup.boot.kernel)]
            self.program.write_text("another")
            (self.folder / "file").write_text("another")
            self.assertEqual(was, [Path(file).read_bytes()
                                   for file in (setup.files[0][0], setup.boot.kernel)])

        with mock.patch.object(command, "measure", rebuild):
            self.bench()

    def test_rows_can_be_listed_without_a_guest(self):
        self.enterContext(mock.patch.object(qemu, "QEMU", "/nonexistent"))
        status, printed, _ = self.bench("--list")
        self.assertEqual((status, printed.splitlines()[1]), (0, "fork/fork-return-1MiB"))

    def test_quick_is_two_systems_and_few_rounds(self):
        file = self.folder / "out.json"
        self.bench("--quick", "--json", str(file))
        value = json.loads(file.read_text())
        self.assertEqual(list(value["systems"]), ["holstein", "linux"])
        self.assertEqual(value["plan"]["seconds"], 300)
        self.assertIn("--rounds 3", " ".join(value["program"]["arguments"]))

    def test_mistakes_get_one_line_and_a_status(self):
        for words, message in (
                (["--systems", "holstein,minix"], "no system 'minix'"),
                (["--systems", ","], "write one name"),
                (["--rounds", "0"], "'0' is no number"),
                (["--linux", "/nonexistent"], "/nonexistent: no such file"),
                (["--program", "/nonexistent"], "/nonexistent: no such file"),
                (["--json", "/nonexistent/x"], "there is no such folder"),
                (["--json", str(self.folder)], "is a folder"),
                (["--plot", str(self.program)], "is no folder"),
                (["--accel", "kvm", "--measure", "instructions"], "only TCG counts"),
                (["--mem", "2M"], "too little"),
                (["--linux", str(self.program)], "neither a vmlinuz nor")):
            with self.assertRaises(CommandError) as caught:
                self.bench(*words)
            self.assertEqual(caught.exception.status, 2, words)
            self.assertIn(message, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))

    def test_a_wrong_group_is_the_program_s_to_refuse(self):
        self.write_program("echo 'bench: --only: no such group: x' >&2; exit 2\n")
        with self.assertRaisesRegex(CommandError, "^bench: --only: no such group: x$"):
            self.bench("--only", "x")

    def test_a_program_that_cannot_run_inside_is_refused(self):
        self.write_program("exec cat <<'END'\n" + texts.LIST + "END\n")
        with mock.patch.object(image, "base_tree", lambda: (image.Tree(), frozenset())), \
                self.assertRaisesRegex(CommandError, "a script for /bin/sh"):
            self.bench()

    def test_a_program_that_does_not_speak_is_refused(self):
        self.write_program("echo hello\n")
        with self.assertRaisesRegex(CommandError, "does not say what it measures"):
            self.bench("--program", str(self.program))


class _FakeBoot:
    """Says one line a step, and then ends or goes on for ever."""

    log: list[str] = []

    def __init__(self, name: str, lines: list[str], reader: Reader, ends: bool) -> None:
        self.name, self.reader = name, reader
        self._lines, self._ends, self._stopped = list(lines), ends, ""
        self.log.append(f"{name} starts")

    def step(self, most_seconds: float) -> bool:
        if self._lines:
            self.reader.feed(self._lines.pop(0).encode() + b"\n")
            return False
        return self._ends

    def stop(self, why: str) -> None:
        self._stopped = why

    def end(self) -> Run:
        return Run([], problem=self._stopped)

    def close(self) -> None:
        self.log.append(f"{self.name} ends")


class MeasureTest(unittest.TestCase):
    def measure(self, plan: Plan, ends: dict[str, bool]) -> dict[str, SystemResult]:
        _FakeBoot.log = []
        results = {name: SystemResult(name, name) for name in ends}
        lines = ["bench\t1", "rows\t2", "row\tg\tn\tticks\t1"]
        self.enterContext(mock.patch("tools.standard_streams.say"))
        measure(plan, argparse.Namespace(), None, results,
                lambda name, setup, linux, reader: _FakeBoot(name, lines, reader, ends[name]))
        return results

    def test_what_is_not_finished_in_time_is_cut_off_with_what_it_has(self):
        results = self.measure(Plan(["holstein", "linux"], seconds=0.05),
                               {"holstein": False, "linux": True})
        self.assertEqual(results["holstein"].problems, ["cut off after 0 s"])
        self.assertEqual(results["holstein"].median(("g", "n")), 1)
        # The second had no turn.
        self.assertEqual(results["linux"].problems, ["cut off after 0 s"])
        self.assertEqual(results["linux"].rows, {})
        self.assertEqual(_FakeBoot.log, ["holstein starts", "holstein ends"])

    def test_boots_go_in_turn_one_at_a_time(self):
        results = self.measure(Plan(["a", "b"], repeat=2), {"a": True, "b": True})
        self.assertEqual(_FakeBoot.log, [f"{name} {what}" for name in "abab"
                                         for what in ("starts", "ends")])
        self.assertEqual(results["a"].rows["g", "n"].samples, (1, 1))

    def test_boots_may_go_two_at_a_time(self):
        self.measure(Plan(["a", "b", "c"], at_a_time=2), {"a": True, "b": True, "c": True})
        self.assertEqual(_FakeBoot.log[:2], ["a starts", "b starts"])
        self.assertEqual(_FakeBoot.log.count("c ends"), 1)

    def test_an_interruption_leaves_no_guest(self):
        with mock.patch("bench.measure._show", side_effect=KeyboardInterrupt), \
                self.assertRaises(KeyboardInterrupt):
            self.measure(Plan(["a", "b"], at_a_time=2), {"a": False, "b": False})
        self.assertEqual(_FakeBoot.log, ["a starts", "b starts", "a ends", "b ends"])

    def test_silence_is_not_waited_for_for_ever(self):
        with mock.patch("bench.measure._SILENCE_SECONDS", 0.05):
            results = self.measure(Plan(["a"]), {"a": False})
        self.assertEqual(results["a"].problems, ["nothing was heard for 0 s"])

    def test_the_systems_are_those_of_the_help(self):
        self.assertEqual(systems.NAMES,
                         ("holstein", "linux", "linux-4k", "linux-nomitigations"))


if __name__ == "__main__":
    unittest.main()
