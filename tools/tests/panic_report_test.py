"""Is a panic found in a log, and are its addresses turned into lines of code?"""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from tools import panic_report

_SOURCE = """
int sink;
__attribute__((noinline)) void inner(int x) { sink = x; __builtin_trap(); }
__attribute__((noinline)) void outer(int x) {
  inner(x + 1);
  sink = 3;
}
void _start(void) { outer(1); }
"""
_CLANG = shutil.which("clang-19") or shutil.which("/usr/lib/llvm-19/bin/clang")


class FindTest(unittest.TestCase):
    def test_the_report_is_cut_out(self):
        log = "before\n=== KERNEL PANIC ===\nx\n=== END PANIC ===\nafter\n"
        self.assertEqual(panic_report.find(log), "=== KERNEL PANIC ===\nx\n=== END PANIC ===")

    def test_a_report_that_breaks_off(self):
        self.assertEqual(panic_report.find("a\n=== KERNEL PANIC ===\nhalf"),
                         "=== KERNEL PANIC ===\nhalf")
        self.assertIsNone(panic_report.find("all is well"))

    def test_the_loader_s_line(self):
        self.assertEqual(panic_report.loader_message(
            "", "BdsDxe: starting\r\n\x1b[2J\x1b[01;01Hholstein loader: no\r\n"),
            "holstein loader: no")
        self.assertIsNone(panic_report.loader_message("", "BdsDxe: starting\r\n"))


class SymbolizeTest(unittest.TestCase):
    def test_frames_get_function_and_line_and_calls_not_returns(self):
        with tempfile.TemporaryDirectory() as name:
            source, program = Path(name, "code.c"), Path(name, "kernel.elf")
            source.write_text(_SOURCE)
            subprocess.run([_CLANG, "-g", "-O1", "-nostdlib", "-static", "-fno-omit-frame-pointer",
                            "-fuse-ld=lld", source, "-o", program], check=True)
            symbols = subprocess.run(["/usr/lib/llvm-19/bin/llvm-objdump", "-d",
                                      "--no-show-raw-insn", program], check=True,
                                     capture_output=True, text=True).stdout
            lines = symbols.splitlines()
            trap = next(line for line in lines if "ud2" in line).split(":")[0].strip()
            call = next(number for number, line in enumerate(lines) if "call" in line and
                        "inner" in line)
            after_call = lines[call + 1].split(":")[0].strip()
            report = (f"=== KERNEL PANIC ===\nwhy\nRIP 0x1\n  #0 0xffff{trap} (link 0x{trap})\n"
                      f"  #1 0xffff{after_call} (link 0x{after_call})\n"
                      "  #2 0x1 (link 0x1)\n=== END PANIC ===")
            text = panic_report.symbolize(report, program)
            called = panic_report.symbolize(
                f"=== KERNEL PANIC ===\nwhy\n  #0 0xffff{after_call} (link 0x{after_call})\n",
                program)
        self.assertRegex(text, r"#0 .*\n\s+inner at .*code\.c:3\n")
        self.assertRegex(text, r"#1 .*\n\s+outer at .*code\.c:5\n")
        self.assertRegex(called, r"#0 .*\n\s+outer at .*code\.c:5")
        self.assertIn("  #2 0x1 (link 0x1)\n", text)

    def test_without_symbols_the_report_stays(self):
        report = "=== KERNEL PANIC ===\n  #0 0x1 (link 0x1)\n=== END PANIC ==="
        self.assertEqual(panic_report.symbolize(report, None), report)
        self.assertEqual(panic_report.symbolize(report, Path("/no/such/file")), report)


if __name__ == "__main__":
    unittest.main()
