"""Does `./holstein profile` count exactly?"""

import contextlib
import io
import unittest
from pathlib import Path
from unittest import mock

from tests.boot.boot_files import boot_files, real_path
from tools import cli, kernel_functions, kernel_profile, profile_command

_PLUGIN = "tools/qemu_plugin/holstein-profile.so"
_OPERATIONS = "tests/guest/profile/operations"
_CALLS = 1000
_TIMEOUT_SECONDS = 200


class ProfileTest(unittest.TestCase):
    def test_a_thousand_system_calls(self):
        before, program = cli.split_program(
            ["--marked", f"--timeout={_TIMEOUT_SECONDS}", "--with",
             f"{real_path(_OPERATIONS)}:/operations", "/operations", "null", str(_CALLS)],
            cli._add_profile_options)
        options = cli.make_parser().parse_args(["profile", *before])
        texts: list[str] = []
        report = profile_command.report

        def keep(options, text, *rest):
            texts.append(text)
            return report(options, text, *rest)

        output = io.StringIO()
        with mock.patch("tools.profile_command.report", keep), contextlib.redirect_stdout(output):
            status = profile_command.run_built(options, program, boot_files(),
                                               Path(real_path(_PLUGIN)))
        print(output.getvalue(), flush=True)
        self.assertEqual(status, 0)
        functions = kernel_functions.read(boot_files().kernel)
        profile = kernel_profile.parse(texts[0], functions)
        rows = {row.name: row for row in kernel_profile.rows(profile)}
        entry = rows["x86_syscall_entry"]
        self.assertEqual(entry.calls, _CALLS)
        # Straight code, and the same each time.
        self.assertEqual(entry.instructions % _CALLS, 0)
        self.assertGreater(entry.instructions, 40 * _CALLS)
        start = next(start for start, name in zip(functions.starts, functions.names)
                     if name == "x86_syscall_entry")
        first = [block for block in profile.blocks if block.address == start]
        self.assertEqual(sum(block.executions for block in first), _CALLS)
        # Everything that was counted is in the tree and in the blocks.
        self.assertEqual(profile.root.total(), sum(block.instructions for block in profile.blocks))
        handler = kernel_profile.under(profile, "Adapter<sys_getppid>::invoke")
        self.assertEqual(sum(node.calls for node in handler.root.children), _CALLS)
        self.assertGreater(profile.user_instructions, 10 * _CALLS)


if __name__ == "__main__":
    unittest.main()
