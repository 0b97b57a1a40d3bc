"""Is what the plugin writes read, named, summed up and drawn?"""

import argparse
import contextlib
import io
import os
import tempfile
import unittest
from unittest import mock
from xml.etree import ElementTree

from tools import cli, flame_graph, kernel_functions, kernel_profile, profile_command
from tools.errors import CommandError
from tools.kernel_functions import short_name

_SYMBOLS = """\
ffffffff80000000 t __kernel_start
ffffffff80000000 t _start
ffffffff80000020 t x86_trap_stubs
ffffffff80001020 t common_entry
ffffffff80001020 t x86_trap_stubs_end
ffffffff80002000 T entry
ffffffff80003000 t holstein::Walker::step(bool) (.llvm.123)
ffffffff80004000 W holstein::lookup(std::__1::span<char const> const&)
ffffffff80005000 r a_table
0000000000000010 a absolute
"""
_PROFILE = """\
holstein-profile 1
marked 1
user 50
node 1 0 ffffffff80002000 100 10
node 2 1 ffffffff80003000 200 10
node 3 2 ffffffff80004000 40 20
node 4 3 ffffffff80003000 7 1
node 5 1 ffffffff80004000 3 1
node 6 0 ffffffff80000020 0 0
block ffffffff80002000 5 20 100
end
"""


class FunctionsTest(unittest.TestCase):
    def test_symbols(self):
        functions = kernel_functions.parse(_SYMBOLS)
        self.assertEqual(functions.names, ["_start", "x86_trap_stubs", "common_entry", "entry",
                                           "Walker::step", "lookup"])
        self.assertEqual(functions.stubs, (0xFFFFFFFF80000020, 0xFFFFFFFF80001020))
        self.assertEqual(functions.name_of(0xFFFFFFFF80003FFF), "Walker::step")
        self.assertEqual(functions.name_of(0xFFFFFFFF80004000), "lookup")
        self.assertEqual(functions.encode().splitlines()[:2],
                         ["stubs ffffffff80000020 ffffffff80001020", "function ffffffff80000000"])

    def test_a_kernel_without_stubs(self):
        with self.assertRaises(CommandError):
            kernel_functions.parse("ffffffff80002000 T entry\n")

    def test_short_names(self):
        for long, short in (
                ("x86_switch", "x86_switch"),
                ("holstein::(anonymous namespace)::report(int, char) (.llvm.98)", "report"),
                ("void holstein::(anonymous namespace)::expect<holstein::RefPtr<A>>(X const&)",
                 "expect"),
                ("std::__1::__expected_base<A, B>::__repr::__destroy[abi:fn190107]() requires !x<A>",
                 "std::__expected_base::__repr::__destroy"),
                ("holstein::system_call_detail::Adapter<&holstein::sys_select(int), E (*)(int)>"
                 "::invoke(holstein::UserRegisters&)", "Adapter<sys_select>::invoke"),
                ("holstein::slab_visit(void*, void (*)(int))::$_0::__invoke(void*)",
                 "slab_visit::$_0::__invoke"),
                ("holstein::A::size() const", "A::size"),
                ("operator new(unsigned long)", "operator new"),
                ("operator delete[](void*)", "operator delete[]"),
                ("bool holstein::operator<(A const&, A const&)", "operator<"),
                ("holstein::A::operator()(int)", "A::operator()"),
                ("holstein::A::operator bool() const", "A::operator bool")):
            self.assertEqual(short_name(long), short)


class ProfileTest(unittest.TestCase):
    def setUp(self):
        self.functions = kernel_functions.parse(_SYMBOLS)
        self.profile = kernel_profile.parse(_PROFILE, self.functions)

    def test_rows(self):
        found = {row.name: (row.instructions, row.inclusive, row.calls)
                 for row in kernel_profile.rows(self.profile)}
        # The recursive call of step is in the outer one's 247, once.
        self.assertEqual(found, {"Walker::step": (207, 247, 11), "entry": (100, 350, 10),
                                 "lookup": (43, 50, 21), "x86_trap_stubs": (0, 0, 0)})
        self.assertEqual(self.profile.user_instructions, 50)
        self.assertEqual([(block.address, block.length, block.executions, block.instructions)
                          for block in self.profile.blocks],
                         [(0xFFFFFFFF80002000, 5, 20, 100)])

    def test_the_table(self):
        lines = kernel_profile.table(self.profile, 2).splitlines()
        self.assertEqual([line.split() for line in lines[1:]], [
            ["207", "51.8%", "247", "11", "18.8", "Walker::step"],
            ["100", "25.0%", "350", "10", "10.0", "entry"],
            ["43", "10.8%", "(1", "more", "functions)"],
            ["50", "12.5%", "(user", "mode)"],
            ["400", "100.0%", "all"]])
        self.assertEqual(len(kernel_profile.table(self.profile, 0).splitlines()), 6)

    def test_the_table_of_lines(self):
        self.profile.blocks.append(kernel_profile.Block(0xFFFFFFFF80003000, 3, 10, 30))
        self.profile.blocks.append(kernel_profile.Block(0xFFFFFFFF80003008, 3, 40, 120))
        places = [["inner(int) at ./a.h:7", "holstein::outer(int) at a.cc:3"], [],
                  ["inner(int) at ./a.h:7", "holstein::outer(int) at a.cc:9"]]
        lines = kernel_profile.lines_table(self.profile, places, 0).splitlines()
        self.assertEqual([line.split(maxsplit=2) for line in lines[1:]], [
            ["220", "88.0%", "inner at a.h:7, inlined into outer"],
            ["30", "12.0%", "0xffffffff80003000"]])
        self.assertEqual(len(kernel_profile.lines_table(self.profile, places, 1).splitlines()), 2)

    def test_only_what_runs_under_a_function(self):
        for name in ("step", "Walker::step"):
            part = kernel_profile.under(self.profile, name)
            self.assertEqual(sum(row.instructions for row in kernel_profile.rows(part)), 247)
            self.assertEqual(part.user_instructions, 0)
        part = kernel_profile.under(self.profile, "lookup")
        self.assertEqual(kernel_profile.folded(part), "lookup 43\nlookup;Walker::step 7\n")
        self.assertIsNone(kernel_profile.under(self.profile, "Look"))
        self.assertEqual(kernel_profile.similar_names(self.profile, "Look"), ["lookup"])

    def test_folded(self):
        self.assertEqual(kernel_profile.folded(self.profile).splitlines(), [
            "entry 100", "entry;Walker::step 200", "entry;Walker::step;lookup 40",
            "entry;Walker::step;lookup;Walker::step 7", "entry;lookup 3", "(user mode) 50"])

    def test_the_flame_graph(self):
        picture = ElementTree.fromstring(flame_graph.draw(self.profile, "a <program>"))
        space = "{http://www.w3.org/2000/svg}"
        boxes = {group.find(f"{space}title").text.split(":")[0] if "::" not in
                 group.find(f"{space}title").text else "step":
                 float(group.find(f"{space}rect").get("width"))
                 for group in picture.iter(f"{space}g")}
        self.assertAlmostEqual(boxes["entry"], 1180 * 350 / 400, delta=0.1)
        self.assertAlmostEqual(boxes["(user mode)"], 1180 * 50 / 400, delta=0.1)
        self.assertIn("a <program>", [text.text for text in picture.iter(f"{space}text")])
        flame_graph.draw(kernel_profile.parse("holstein-profile 1\nend", self.functions), "empty")

    def test_damage(self):
        for text in ("", "x\nend", "holstein-profile 1\nuser 5", _PROFILE.replace("user", "loser"),
                     _PROFILE.replace("node 4 3", "node 4 99"), _PROFILE.replace("200 10", "x 10"),
                     _PROFILE.replace(" 5 20 100", " 5 20")):
            with self.assertRaises(kernel_profile.ProfileError, msg=text):
                kernel_profile.parse(text, self.functions)


class CommandTest(unittest.TestCase):
    def report(self, *words: str, text: str = _PROFILE, status: int = 0):
        before, program = cli.split_program([*words, "prog", "-x"], cli._add_profile_options)
        options = cli.make_parser().parse_args(["profile", *before])
        said: list[str] = []
        output = io.StringIO()
        with mock.patch("tools.standard_streams.say", said.append), \
                contextlib.redirect_stdout(output):
            profile_command.check(options)
            result = profile_command.report(options, text, kernel_functions.parse(_SYMBOLS),
                                            program, status)
        return result, output.getvalue(), said

    def test_all_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            folded, flame = os.path.join(folder, "a.folded"), os.path.join(folder, "a.svg")
            status, output, said = self.report("--marked", "--under", "step", "--folded", folded,
                                               "--flame", flame, "--top", "1", status=7)
            with open(folded, encoding="utf-8") as file:
                self.assertEqual(file.readline(), "Walker::step 200\n")
            with open(flame, encoding="utf-8") as file:
                self.assertIn("prog -x, under step", file.read())
        self.assertEqual((status, said), (0, ["holstein: prog: ended with status 7"]))
        self.assertIn("(1 more functions)", output)

    def test_nothing_was_counted(self):
        status, output, _ = self.report("--marked", text=_PROFILE.replace("marked 1", "marked 0"))
        self.assertEqual((status, output), (1, ""))
        with self.assertRaises(CommandError) as caught:
            self.report("--under", "Step")
        self.assertEqual((caught.exception.status, str(caught.exception)),
                         (1, "no function Step was on the stack; there is Walker::step"))

    def test_broken_runs_keep_their_status(self):
        self.assertEqual(self.report(status=125)[0], 125)

    def test_usage(self):
        for words in (("--accel", "kvm"), ("--lines", "--under", "step"), ("--flame", "/"), ("--folded", "/no/such/x"),
                      ("--top", "-1")):
            with self.assertRaises(CommandError, msg=words) as caught:
                self.report(*words)
            self.assertEqual(caught.exception.status, 2)

    def test_what_qemu_is_told(self):
        request = argparse.Namespace(append="quiet", more_fds=(), qemu_arguments=("-s",))
        with profile_command.Recording(kernel_functions.parse(_SYMBOLS), "/a,b.so", True) as made:
            made.add_to(request)
            functions, output = request.more_fds
            self.assertEqual(request.append, "nokaslr quiet")
            self.assertEqual(request.qemu_arguments, (
                "-s", "-plugin", f"/a,,b.so,functions=/proc/self/fd/{functions},"
                f"output=/proc/self/fd/{output},marked=on"))
            with open(f"/proc/self/fd/{functions}", encoding="ascii") as file:
                self.assertEqual(file.read(), kernel_functions.parse(_SYMBOLS).encode())
            with open(f"/proc/self/fd/{output}", "w", encoding="ascii") as file:
                file.write("x")
            self.assertEqual(made.text(), "x")


if __name__ == "__main__":
    unittest.main()
