"""Are medians, ratios, tables, verdict, JSON and pictures what the samples say?"""

import json
import math
import unittest
import xml.etree.ElementTree

from bench import plots, record, report
from bench.protocol import Reader
from bench.report import Measure
from bench.results import Comparison, Run, SystemResult
from bench.tests import texts

INSTRUCTIONS = Measure("instructions", "max,erms=off", "tcg")
TIME = Measure("time", "max", "kvm")


def reader_of(text: str) -> Reader:
    reader = Reader()
    reader.feed(text.encode())
    reader.finish()
    return reader


def system(name: str, title: str, *outputs: str, problem: str = "",
           last_words: tuple[str, ...] = ()) -> SystemResult:
    result = SystemResult(name, title, {"sha256": "ab"})
    for output in outputs:
        result.add(Run(["qemu"], problem=problem, last_words=list(last_words)), reader_of(output))
    return result


def comparison(*systems: SystemResult, measure: str = "instructions") -> Comparison:
    return Comparison(reader_of(texts.LIST).rows, measure, list(systems))


def both(holstein: str = texts.HOLSTEIN, linux: str = texts.LINUX) -> Comparison:
    return comparison(system("holstein", "Holstein", holstein), system("linux", "Linux", linux))


class ResultsTest(unittest.TestCase):
    def row(self, compared: Comparison, name: str):
        return next(row for row in compared.expected if row.name == name)

    def test_median_and_percentile(self):
        result = system("linux", "Linux", "bench\t1\nrow\tg\tn\tticks\t5 1 9 3\n")
        self.assertEqual(result.median(("g", "n")), 4)
        self.assertEqual([result.percentile(("g", "n"), percent) for percent in (0, 50, 75, 76, 99)],
                         [1, 3, 5, 9, 9])
        self.assertIsNone(result.median(("g", "other")))

    def test_boots_add_samples(self):
        result = system("linux", "Linux", texts.LINUX, texts.LINUX)
        self.assertEqual(len(result.rows["fork", "fork-return-1MiB"].samples), 6)

    def test_a_ratio_above_one_is_always_holstein_s(self):
        compared = both()
        linux = compared.system("linux")
        for name, ratio in (("fork-return-1MiB", 71000 / 10741), ("fork-return-1GiB", 9000 / 10750),
                            ("child-page-tables", 2), ("fork-server", 3.5), ("stall-p99", 1)):
            self.assertAlmostEqual(compared.ratio(self.row(compared, name), linux), ratio, msg=name)

    def test_no_ratio_without_two_figures(self):
        compared = both(holstein=texts.without(texts.HOLSTEIN, "row\ttables"))
        linux = compared.system("linux")
        for name in ("child-page-tables", "fork-return-4GiB", "loop-of-2000001-instructions"):
            self.assertIsNone(compared.ratio(self.row(compared, name), linux), name)

    def test_nothing_divides_by_zero(self):
        zero = texts.HOLSTEIN.replace("KiB\t32", "KiB\t0")
        compared = both(holstein=zero)
        self.assertEqual(compared.ratio(self.row(compared, "child-page-tables"),
                                        compared.system("linux")), math.inf)
        report.tables(compared, INSTRUCTIONS)
        json.loads(record.to_json(compared, {}))

    def test_only_what_is_worse_is_slower(self):
        self.assertEqual([row.name for row in both().slower()], ["fork-return-1GiB"])

    def test_fewer_runs_are_slower(self):
        slow = texts.HOLSTEIN.replace("billion\t3000 4000", "billion\t999 999")
        self.assertEqual([row.name for row in both(holstein=slow).slower()],
                         ["fork-return-1GiB", "fork-server"])

    def test_want_of_memory_is_no_failure(self):
        compared = both()
        self.assertEqual(compared.not_run(), [])
        self.assertEqual([(one.title, row.name) for one, row, _ in compared.left_out()],
                         [("Holstein", "fork-return-4GiB"), ("Linux", "fork-return-4GiB")])

    def test_what_is_missing_has_a_reason(self):
        cut = texts.HOLSTEIN.partition("group\ttables")[0]
        result = system("holstein", "Holstein", cut, problem="cut off after 300 s")
        reasons = {row.name: why for _, row, why in comparison(result).not_run()}
        self.assertEqual(reasons, {"child-page-tables": "cut off after 300 s",
                                   "fork-server": "cut off after 300 s",
                                   "stall-p99": "cut off after 300 s"})

    def test_a_clock_that_does_not_count_instructions_is_found(self):
        self.assertEqual(both().clock_problems(), [])
        # Interrupts may add to it, but not always.
        busy = both(linux=texts.LINUX.replace("2000011 2000011 2000011", "2045820 2001000 2100000"))
        self.assertEqual(busy.clock_problems(), [])
        wrong = both(linux=texts.LINUX.replace("2000011 2000011 2000011", "900000 910000 905000"))
        self.assertEqual(len(wrong.clock_problems()), 1)
        self.assertIn("Linux: loop-of-2000001-instructions", wrong.clock_problems()[0])
        # In nanoseconds the loop takes what it takes.
        self.assertEqual(comparison(wrong.systems[1], measure="time").clock_problems(), [])


class TextTest(unittest.TestCase):
    def test_a_table_has_figures_and_ratios(self):
        lines = report.tables(both(), INSTRUCTIONS).splitlines()
        self.assertIn("fork              Holstein   Linux  ratio", lines)
        self.assertIn("fork-return-1MiB    10,741  71,000  6.61x", lines)
        self.assertIn("fork-return-1GiB    10,750   9,000  0.83x", lines)
        self.assertIn("fork-return-4GiB         -       -", lines)
        self.assertIn("child-page-tables (KiB)        32     64  2.00x", lines)

    def test_time_has_p99_too(self):
        compared = both()
        self.assertIn("10,741 (20,000)", report.tables(compared, TIME))

    def test_holstein_alone_has_no_ratios(self):
        text = report.tables(comparison(system("holstein", "Holstein", texts.HOLSTEIN)),
                             INSTRUCTIONS)
        self.assertNotIn("  ratio", text)
        self.assertNotIn("x\n", text)

    def test_each_linux_has_a_column(self):
        compared = comparison(system("holstein", "Holstein", texts.HOLSTEIN),
                              system("linux", "Linux", texts.LINUX),
                              system("linux-4k", "Linux, 4 KiB pages", texts.LINUX))
        self.assertIn("Holstein   Linux  ratio  4 KiB pages  ratio",
                      report.tables(compared, INSTRUCTIONS))
        del compared.systems[1]
        self.assertIn("Holstein  Linux, 4 KiB pages  ratio", report.tables(compared, INSTRUCTIONS))

    def test_what_is_slower_never_looks_even(self):
        for ratio, text in ((0.00204, "0.002x"), (0.0999, "0.1x"), (0.5, "0.50x"), (0.9999, "0.99x"),
                            (1, "1.00x"), (9.87, "9.87x"), (12.34, "12.3x"), (1234.5, "1,234x"),
                            (math.inf, "inf"), (None, "")):
            self.assertEqual(report.ratio_text(ratio), text)

    def test_the_verdict_names_each_slower_row(self):
        self.assertEqual(report.verdict(both()), [
            "slower than Linux: fork/fork-return-1GiB: 10,750 against 9,000 (0.83x)",
            "5 rows compared with Linux's default settings: 4 at least as good, 1 worse"])
        alone = comparison(system("holstein", "Holstein", texts.HOLSTEIN))
        self.assertEqual(report.verdict(alone), [])

    def test_a_crash_is_shown_with_the_last_words(self):
        compared = comparison(system("holstein", "Holstein", "bench\t1\n", problem="a panic",
                                     last_words=("frame 1", "frame 2")))
        lines = report.shortcomings(compared)
        self.assertEqual(lines[:3], ["Holstein: a panic", "    | frame 1", "    | frame 2"])
        self.assertIn("not measured on Holstein", lines[3])

    def test_broken_lines_are_reported(self):
        text = texts.LINUX.replace("KiB\t64", "Ki[ 1.0] x")
        lines = report.shortcomings(both(linux=text))
        self.assertIn("Linux: 1 lines could not be read", lines[0])
        self.assertEqual(lines[1], "not measured on Linux: tables/child-page-tables (not reported)")

    def test_what_is_left_out_is_in_one_line_a_reason(self):
        self.assertEqual(report.shortcomings(both()), [
            "left out on Holstein: fork/fork-return-4GiB (needs 4128 MiB of memory)",
            "left out on Linux: fork/fork-return-4GiB (needs 4128 MiB of memory)"])

    def test_the_head_says_what_instructions_leave_out(self):
        text = "\n".join(report.describe_measure(INSTRUCTIONS))
        self.assertIn("caches, TLB misses", text)
        self.assertIn("4,096", text)
        self.assertNotIn("erms", "\n".join(report.describe_measure(
            Measure("instructions", "max", "tcg"))))
        self.assertIn("an emulator's time", "\n".join(report.describe_measure(
            Measure("time", "max", "tcg"))))


class RecordTest(unittest.TestCase):
    def test_samples_and_reasons_are_kept(self):
        value = json.loads(record.to_json(both(), {"date": "today"}))
        self.assertEqual((value["format"], value["date"]), ("holstein-bench 1", "today"))
        rows = {row["name"]: row for row in value["rows"]}
        row = rows["fork-return-1GiB"]
        self.assertEqual(row["systems"]["holstein"]["samples"], [10800, 10700, 10750])
        self.assertEqual((row["slower_than_linux"], row["ratio_linux_to_holstein"]), (True, 0.8372))
        self.assertEqual(rows["fork-return-4GiB"]["systems"]["linux"],
                         {"missing": "needs 4128 MiB of memory"})
        self.assertEqual(value["systems"]["linux"]["runs"][0]["facts"]["spectre_v2"],
                         "Mitigation: Retpolines")


class PlotTest(unittest.TestCase):
    def texts_of(self, svg: str) -> list[str]:
        root = xml.etree.ElementTree.fromstring(svg)
        return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]

    def test_fork_s_cost_has_a_line_for_each_system(self):
        svg = plots.fork_plot(both(), INSTRUCTIONS)
        words = self.texts_of(svg)
        for word in ("fork-return", "1 MiB", "1 GiB", "Holstein", "Linux", "10,000", "100,000"):
            self.assertIn(word, words)
        # Two points and a line for each of them.
        self.assertEqual(svg.count('fill="#0072b2"'), 2)
        self.assertEqual(svg.count('stroke-width="2.2"'), 2)

    def test_rows_with_small_pages_have_a_panel_of_their_own(self):
        rows = "".join(f"row\tfork\tfork-return-{size}\tticks\t5\n"
                       for size in ("1MiB-4k", "1GiB-4k", "1MiB", "1GiB"))
        text = f"bench\t1\n{rows}end\n"
        compared = Comparison(reader_of(text).rows, "instructions",
                              [system("holstein", "Holstein", text)])
        words = self.texts_of(plots.fork_plot(compared, INSTRUCTIONS))
        self.assertIn("fork-return (4 KiB pages)", words)
        self.assertIn("fork-return", words)

    def test_stalls_are_bars_with_their_figures(self):
        words = self.texts_of(plots.stall_plot(both(), INSTRUCTIONS))
        self.assertEqual(words.count("900"), 2)
        self.assertIn("stall-p99", words)

    def test_a_bar_that_was_not_measured_says_so(self):
        compared = both(linux=texts.without(texts.LINUX, "row\tstalls"))
        self.assertIn("not measured", self.texts_of(plots.stall_plot(compared, INSTRUCTIONS)))

    def test_without_figures_there_is_no_picture(self):
        compared = both(texts.LIST, texts.LIST)
        self.assertIsNone(plots.fork_plot(compared, INSTRUCTIONS))
        self.assertIsNone(plots.stall_plot(compared, INSTRUCTIONS))


if __name__ == "__main__":
    unittest.main()
