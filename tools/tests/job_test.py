"""Does every argument survive on its way to PID 1?"""

import unittest

from tools.job import Job


class JobTest(unittest.TestCase):
    def test_the_records(self):
        job = Job(b"/bin/a b", ["a b", "", "x\ny", b"\xff=\xfe"], {"K": "V=W", "E": ""}, "/home",
                  stdin="closed", stdout="stream", stderr="stream")
        fields = job.encode().split(b"\0")
        self.assertEqual(fields.pop(), b"")
        records = list(zip(fields[::2], fields[1::2]))
        self.assertEqual(records, [
            (b"program", b"/bin/a b"), (b"argv", b"a b"), (b"argv", b""), (b"argv", b"x\ny"),
            (b"argv", b"\xff=\xfe"), (b"env", b"K=V=W"), (b"env", b"E="), (b"cwd", b"/home"),
            (b"stdin", b"closed"), (b"stdout", b"stream"), (b"stderr", b"stream")])

    def test_a_terminal_has_a_size(self):
        encoded = Job("/p", ["p"], stderr="tty", rows=24, columns=80).encode()
        self.assertIn(b"\0stderr\0tty\0rows\0" + b"24\0columns\0" + b"80\0", encoded)

    def test_what_cannot_be_said(self):
        with self.assertRaises(ValueError):
            Job("/p", ["a\0b"]).encode()
        with self.assertRaises(ValueError):
            Job("/p", ["p"], stdin="pipe").encode()


if __name__ == "__main__":
    unittest.main()
