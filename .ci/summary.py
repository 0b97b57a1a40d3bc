#!/usr/bin/python3
"""Counts what passed and what failed in a run of the tests.

    summary.py [--bazel-status=N] [--passed=NAME]... [--failed=NAME]... EVENTS

EVENTS is what `bazel test --build_event_json_file` wrote. A GoogleTest program counts with each of
its tests, a Python test too; another target counts as one. What was not built, not run, or ended
without a result counts as a failure. The status is 0 if nothing failed.
"""

import argparse
import json
import re
import sys
import xml.etree.ElementTree
from pathlib import Path
from urllib.parse import unquote, urlparse

_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
_PROBLEMS = re.compile(r"^FAILED \(([^)]*)\)$", re.MULTILINE)
_SKIPPED = re.compile(r"^OK \([^)]*skipped=(\d+)[^)]*\)$", re.MULTILINE)
_NAMED = re.compile(r"^(?:FAIL|ERROR): (\S+) \((\S+?)\)", re.MULTILINE)


class Count:
    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []


def _path(files: list[dict], name: str) -> Path | None:
    for file in files:
        if file.get("name") == name and file.get("uri", "").startswith("file:"):
            return Path(unquote(urlparse(file["uri"]).path))
    return None


def _count_xml(path: Path | None, label: str) -> Count | None:
    """A GoogleTest program's own report; None for the one that Bazel makes up."""
    try:
        suites = xml.etree.ElementTree.parse(path).getroot()
    except (OSError, TypeError, xml.etree.ElementTree.ParseError):
        return None
    if suites.get("name") != "AllTests":
        return None
    count = Count()
    for case in suites.iter("testcase"):
        if case.find("failure") is not None:
            count.failed.append(f"{label} {case.get('classname')}.{case.get('name')}")
        elif case.get("status") != "notrun":
            count.passed += 1
    return count


def _count_log(path: Path | None, label: str) -> Count | None:
    """What unittest said at its end."""
    try:
        text = path.read_text(errors="replace")
    except (OSError, AttributeError):
        return None
    ran = _RAN.search(text)
    if ran is None:
        return None
    count = Count()
    count.failed = sorted({f"{label} {match[1]}" for match in _NAMED.finditer(text)})
    problems = _PROBLEMS.search(text)
    failed = skipped = 0
    if problems is not None:
        numbers = dict(item.split("=") for item in problems[1].split(", "))
        failed = sum(int(numbers.get(kind, 0)) for kind in ("failures", "errors",
                                                             "unexpected successes"))
        skipped = int(numbers.get("skipped", 0))
    elif (match := _SKIPPED.search(text)) is not None:
        skipped = int(match[1])
    count.failed += [f"{label} (one more)"] * (failed - len(count.failed))
    count.passed = max(0, int(ran[1]) - skipped - len(count.failed))
    return count


def _count_target(label: str, succeeded: bool, files: list[dict]) -> Count:
    count = _count_xml(_path(files, "test.xml"), label) or \
        _count_log(_path(files, "test.log"), label)
    if count is None:
        count = Count()
        if succeeded:
            count.passed = 1
    if not succeeded and not count.failed:
        count.failed.append(label)
    return count


def count_events(lines: list[str]) -> Count:
    total = Count()
    results: dict[str, list[dict]] = {}
    summaries: dict[str, str] = {}
    broken = set()
    for line in lines:
        event = json.loads(line)
        identity = event.get("id", {})
        if "testResult" in identity and "testResult" in event:
            results[identity["testResult"]["label"]] = \
                event["testResult"].get("testActionOutput", [])
        elif "testSummary" in identity and "testSummary" in event:
            summaries[identity["testSummary"]["label"]] = event["testSummary"]["overallStatus"]
        elif "targetCompleted" in identity and not event.get("completed", {}).get("success"):
            reason = event.get("aborted", {}).get("reason", "")
            if reason != "SKIPPED":  # for another platform
                broken.add(identity["targetCompleted"]["label"])
        elif "aborted" in event and "pattern" in identity:
            total.failed.append("a pattern of targets could not be read")
    for label, status in sorted(summaries.items()):
        if status == "NO_STATUS":
            broken.add(label)
            continue
        count = _count_target(label, status in ("PASSED", "FLAKY"), results.get(label, []))
        total.passed += count.passed
        total.failed += count.failed
    total.failed += sorted(f"{label} (not built)" for label in broken)
    return total


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bazel-status", type=int, default=0)
    parser.add_argument("--passed", action="append", default=[])
    parser.add_argument("--failed", action="append", default=[])
    parser.add_argument("events")
    options = parser.parse_args()
    try:
        count = count_events(Path(options.events).read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError, KeyError) as error:
        count = Count()
        count.failed.append(f"the tests' results cannot be read: {error!r}")
    count.passed += len(options.passed)
    count.failed += options.failed
    if options.bazel_status != 0 and not count.failed:
        count.failed.append(f"bazel test ended with status {options.bazel_status}")
    for name in count.failed:
        print(f"failed: {name}")
    print(f"{count.passed} passed, {len(count.failed)} failed")
    return 1 if count.failed or count.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
