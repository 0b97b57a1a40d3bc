"""Does the reader find the program's lines, and only those, in what comes out of a console?"""

import unittest

from bench.protocol import Reader, Row
from bench.tests import texts


def read(text: str, piece_bytes: int = 1 << 20) -> Reader:
    reader = Reader()
    data = text.encode()
    for start in range(0, len(data), piece_bytes):
        reader.feed(data[start:start + piece_bytes])
    reader.finish()
    return reader


class ReaderTest(unittest.TestCase):
    def test_a_stream_of_the_program_s_alone(self):
        reader = read(texts.HOLSTEIN)
        self.assertTrue(reader.ended)
        self.assertEqual((reader.count, reader.clock, reader.done), (7, "tsc", 7))
        self.assertEqual(reader.rows[1],
                         Row("fork", "fork-return-1MiB", "ticks", (10731, 10741, 20000)))
        self.assertEqual(reader.failed,
                         {("fork", "fork-return-4GiB"): "needs 4128 MiB of memory"})
        self.assertEqual((reader.malformed, reader.noise), ([], []))

    def test_a_console_with_firmware_kernel_and_carriage_returns(self):
        reader = read(texts.LINUX)
        self.assertTrue(reader.ended)
        self.assertEqual(len(reader.rows), 6)
        self.assertEqual(reader.facts["huge_pages"], "[always] madvise never")
        self.assertEqual(reader.facts["status"], "1")
        self.assertEqual(reader.malformed, [])
        self.assertEqual(reader.noise, ["BdsDxe: starting Boot0001",
                                        "[    9.123456] random: crng init done"])

    def test_it_does_not_matter_how_the_bytes_come(self):
        whole, pieces = read(texts.LINUX), read(texts.LINUX, 1)
        self.assertEqual(whole.rows, pieces.rows)
        self.assertEqual(whole.noise, pieces.noise)

    def test_a_list_has_rows_without_samples(self):
        self.assertEqual(read(texts.LIST).rows[4], Row("tables", "child-page-tables", "KiB"))

    def test_a_line_behind_a_piece_of_another_is_found(self):
        reader = read("bench\t1\n\x1b[0m\x1b[2K>row\tcalls\tnull\tticks\t1 2\n")
        self.assertEqual([row.samples for row in reader.rows], [(1, 2)])

    def test_a_line_that_the_kernel_broke_into_is_malformed_and_not_guessed(self):
        for broken in ("row\tcalls\tnull\tti[ 9.1] oops", "row\tcalls\tnull\tticks\t1 2x 3",
                       "row\tcalls\tnull\tfurlongs\t1", "row\tcalls", "failed\tcalls\tnull",
                       "rows\tmany", "clock\tsundial", "row\tcalls\tnull\tticks\t-1"):
            reader = read(f"bench\t1\n{broken}\nend\n")
            self.assertEqual((reader.malformed, reader.rows, reader.failed), ([broken], [], {}))
            self.assertTrue(reader.ended)

    def test_nothing_counts_before_the_first_line(self):
        reader = read("row\tcalls\tnull\tticks\t1\nend\n")
        self.assertEqual((reader.started, reader.ended, reader.rows), (False, False, []))
        self.assertEqual(len(reader.noise), 2)

    def test_another_version_is_not_read(self):
        reader = read("bench\t2\nrow\tcalls\tnull\tticks\t1\nend\n")
        self.assertEqual((reader.started, reader.ended, reader.rows), (False, False, []))
        self.assertEqual(reader.malformed, ["bench\t2"])

    def test_words_in_what_others_say_are_not_lines(self):
        reader = read("bench\t1\nthe end\nend of story\nthrow\tx\nend")
        self.assertFalse(reader.ended)  # the last one has no end of line
        self.assertEqual(reader.noise, ["the end", "end of story", "throw\tx", "end"])
        self.assertEqual(reader.malformed, [])

    def test_only_the_last_noise_is_kept(self):
        reader = read("".join(f"line {number}\n" for number in range(1000)))
        self.assertEqual(len(reader.noise), 200)
        self.assertEqual(reader.noise[-1], "line 999")

    def test_what_is_not_utf_8_does_no_harm(self):
        reader = Reader()
        reader.feed(b"\xff\xfe\nbench\t1\n\xc3\nend\n")
        self.assertTrue(reader.ended)


if __name__ == "__main__":
    unittest.main()
