"""`holstein run` without a build: a fake QEMU, and a program that is not really there."""

import os
import sys
import tempfile
from pathlib import Path

from tools import standard_streams

standard_streams.claim()

from tools import cli, firmware, image, qemu, run_command
from tools.errors import CommandError
from tools.runner import BootFiles
from tools.tests import elf_files
from tools.tree import Tree

qemu.QEMU = str(Path(__file__).with_name("fake_qemu.sh").absolute())
image.base_tree = lambda: (Tree(), frozenset())


def main() -> int:
    with tempfile.NamedTemporaryFile(prefix="elf-", delete=False) as program:
        program.write(elf_files.program())
        os.fchmod(program.fileno(), 0o755)
    try:
        firmware.CODE = firmware.VARIABLES = Path(program.name)
        before, _ = cli.split_program(sys.argv[1:])
        options = cli.make_parser().parse_args(["run", *before])
        return run_command.run_built(options, [program.name],
                                     BootFiles(*[Path(program.name)] * 3))
    except CommandError as error:
        standard_streams.say(str(error))
        return error.status
    finally:
        os.unlink(program.name)


if __name__ == "__main__":
    os._exit(main())
