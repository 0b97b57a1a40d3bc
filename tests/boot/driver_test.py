"""Is the comparison itself sound? The driver's sections, and scenarios that repeat on Linux."""

import unittest

from tests.boot import scenarios
from tests.boot.scenarios import Section


class DriverTest(unittest.TestCase):
    def test_sections_are_told_apart_whatever_is_in_them(self):
        output = (b"=== a 0 4 0 1\n===\n=== b 139 0 14 2\n=== c 0 0 0 0\n=== d 1 2 3 4\nxxyyy")
        self.assertEqual(scenarios.parse(output), {
            "a": Section(0, b"===\n", b"", 1),
            "b": Section(139, b"", b"=== c 0 0 0 0\n", 2),
            "d": Section(1, b"xx", b"yyy", 4)})

    def test_a_section_that_is_cut_off_counts_as_missing(self):
        self.assertEqual(scenarios.parse(b"=== a 0 4 0 1\nabc"), {})
        self.assertEqual(list(scenarios.parse(b"=== a 0 1 0 1\nx=== b 0 9 0 1\ny")), ["a"])

    def test_every_difference_is_one(self):
        section = Section(0, b"out\n", b"", 1)
        self.assertEqual(scenarios.difference("x", section, Section(0, b"out\n", b"", 9)), "")
        for other in (Section(1, b"out\n", b"", 1), Section(0, b"", b"", 1),
                      Section(0, b"out\n", b"err\n", 1), Section(0, b"out\n\n", b"", 1)):
            self.assertNotEqual(scenarios.difference("x", section, other), "")

    def test_scenarios_say_the_same_twice_on_linux(self):
        names = ["background", "bash", "here_documents", "kills", "redirections", "substitution",
                 "traps"]
        first, second = (scenarios.run_on_linux(names, 60) for _ in range(2))
        self.assertEqual(sorted(first), names)
        for name in names:
            self.assertEqual(scenarios.difference(name, first[name], second[name]), "")
