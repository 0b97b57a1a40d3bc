"""A broken kernel says so: a report with a symbolized backtrace, status 125, never a hang."""

import re
import unittest

from tests.boot.boot_files import boot_files, kernel_name
from tools.guest import Outcome
from tools.runner import RunRequest, run_guest

# What is broken on purpose, and words of the report that it must end in; by kernel.
_KINDS = {
    "opt": {
        "null": ("page fault: write to 0x8 (null pointer)", "null_dereference"),
        "stack_overflow": ("guard", "recurse"),
        "kcfi": ("control-flow integrity", "wrong_type_call"),
        "write_text": ("write to", "kernel code", "read-only"),
        "execute_data": ("instruction fetch", "kernel data", "no-execute"),
        "user_access": ("SMAP", "touch_user_memory"),
        "assert": ("opaque(1) == 2", "boot_test.cc"),
        "stack_smash": ("stack", "smash_stack"),
        "copy_slab": ("user copy from", "expected 65 bytes", "found slab object kmalloc-64 of 64 bytes"),
        "copy_stack": ("expected 256 bytes", "found stack frame", "copy_out_of_stack_frame"),
        "copy_constants": ("user copy to", "found kernel constants"),
        "copy_below_stack": ("user copy to", "found unused stack"),
        "copy_into_code": ("user copy to", "found kernel code of 0 bytes"),
        "broken_frames": ("invalid opcode", "panic_in_panic"),
        "kernel_root": ("user mode was entered with the kernel's page tables",),
    },
    "debug": {
        "double_free": ("double free", "freed from"),
        "bad_free": ("bad free",),
        "write_text_alias": ("write to", "direct map", "read-only"),
        "write_rodata": ("write to", "kernel constants", "read-only"),
        "write_xor_execute": ("W^X:", "is mapped writable and executable", "kernel_tables_audit"),
        "non_canonical": ("non_canonical",),
        "divide": ("divide", "divide_by_zero"),
        "copy_heap": ("user copy to", "found heap block of 8192 bytes"),
        "copy_free_frame": ("found free frame",),
        "copy_code": ("user copy from", "found kernel code of 0 bytes"),
        "copy_page_table": ("user copy to", "found page table of 0 bytes"),
        "stack_overflow": ("guard", "recurse"),
    },
}
# Those of them that are broken with page-table isolation: a double fault, which comes over a stack of
# its own, and what isolation itself sees.
_ISOLATED = {("debug", "stack_overflow"), ("opt", "kernel_root")}
_SYMBOL = re.compile(r"#0 .*\n\s+\S.* at \S+:\d+")


class PanicTest(unittest.TestCase):
    def panic(self, kind: str, *words: str) -> None:
        append = f"panic_test={kind}"
        if (kernel_name(), kind) in _ISOLATED:
            append += " pti=on"
        result = run_guest(RunRequest(boot_files(), ["busybox", "true"], append=append,
                                      timeout_seconds=100))
        shown = f"panic_test={kind}: {result.outcome.name}\n{result.message}\n" + \
            result.log[-2000:].decode("utf-8", "replace")
        self.assertEqual((result.outcome, result.exit_status), (Outcome.PANICKED, 125), shown)
        self.assertIn("=== KERNEL PANIC ===", result.panic)
        self.assertIn("=== END PANIC ===", result.panic, shown)
        self.assertRegex(result.panic, _SYMBOL, shown)
        for word in words:
            self.assertIn(word, result.panic, shown)
        self.assertNotIn("went unnoticed", result.panic)
        self.assertEqual((result.stdout, result.stderr), (b"", b""))


def _add_tests() -> None:
    for kind, words in _KINDS[kernel_name()].items():
        def test(self, kind=kind, words=words):
            self.panic(kind, *words)
        setattr(PanicTest, f"test_{kind}", test)


_add_tests()
