"""Every scenario does on Holstein what it does on Linux: status, standard output and error."""

import concurrent.futures
import os
import unittest

from tests.boot import scenarios

# One boot for all of these but the ones that a target of their own asks for.
_SEPARATE = {"long_pipe"}
_LIMIT_SECONDS = 300
_TIMEOUT_SECONDS = 800


def _wanted() -> list[str]:
    asked = os.environ.get("HOLSTEIN_SCENARIOS")
    return asked.split() if asked else [name for name in scenarios.names()
                                        if name not in _SEPARATE]


class ScenariosTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        names = _wanted()
        with concurrent.futures.ThreadPoolExecutor() as threads:
            linux = threads.submit(scenarios.run_on_linux, names, _LIMIT_SECONDS)
            cls.guest, cls.result = scenarios.run_in_guest(
                names, _LIMIT_SECONDS, _TIMEOUT_SECONDS)
            cls.linux = linux.result()
        print(scenarios.report(cls.linux, cls.guest), flush=True)

    def check(self, name: str) -> None:
        self.assertIn(name, self.linux, "the scenario does not end on Linux")
        if name not in self.guest:
            self.fail(f"{name} did not end on Holstein: {scenarios.tail_of(self.result)}")
        difference = scenarios.difference(name, self.linux[name], self.guest[name])
        self.assertEqual(difference, "", difference)

    def test_the_guest_ends_in_order(self):
        self.assertEqual((self.result.exit_status, self.result.powered_off), (0, True),
                         scenarios.tail_of(self.result))


def _add_tests() -> None:
    for name in _wanted():
        def test(self, name=name):
            self.check(name)
        setattr(ScenariosTest, f"test_{name}", test)


_add_tests()
