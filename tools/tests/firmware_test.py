"""The firmware's image: what is where in the guest's memory, of which it is the end."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools import firmware

_TPM = 0xFED40000


class FirmwareTest(unittest.TestCase):
    def setUp(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.code, self.variables = b"code" * 0x1000, b"variables" * 0x100
        for name, content in (("CODE", self.code), ("VARIABLES", self.variables)):
            (folder / name).write_bytes(content)
            self.enterContext(mock.patch.object(firmware, name, folder / name))
        with tempfile.TemporaryFile() as file:
            firmware.write_image(file.fileno())
            file.seek(0)
            self.image = file.read()

    def at(self, address: int, count: int) -> bytes:
        """What the guest reads there."""
        start = address - ((1 << 32) - len(self.image))
        return self.image[start:start + count]

    def test_code_ends_at_4_gib_below_it_the_variables(self):
        code = (1 << 32) - len(self.code)
        self.assertEqual(self.at(code, len(self.code)), self.code)
        self.assertEqual(self.at(code - len(self.variables), len(self.variables)), self.variables)

    def test_there_is_no_tpm(self):
        self.assertEqual(self.at(_TPM, 0x1000), b"\xff" * 0x1000)

    def test_qemu_takes_its_size(self):
        """A multiple of 64 KiB, and nothing below the TPM: the I/O APIC and the HPET are there."""
        self.assertEqual(len(self.image) % 0x10000, 0)
        self.assertEqual(len(self.image), (1 << 32) - _TPM)


if __name__ == "__main__":
    unittest.main()
