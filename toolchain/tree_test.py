#!/usr/bin/python3
"""Checks of the source tree itself, which no single target can see.

Runs over the real tree, found through the WORKSPACE file, so that a file that nobody has named in a
BUILD file cannot hide from it:

- every source is part of some target, and so is compiled, checked by clang-tidy and tested;
- C++ is built by the rules of //toolchain:defs.bzl, so with its warnings and flags;
- a file includes only from its own and lower floors;
- headers have `#pragma once`, files stay below 500 lines, stac and clac stay in uaccess/.
"""

import fnmatch
import os
import re
import sys

# A floor may include from itself and from what stands before it.
FLOORS = ["lib", "uaccess", "vm", "fs", "proc", "kernel"]
SOURCES = (".cc", ".c", ".h", ".inc", ".S", ".ld", ".lds")
LENGTH_LIMITED = (".cc", ".c", ".h", ".S", ".py", ".bzl", ".sh")
MAX_LINES = 500
NATIVE_RULES = ("cc_binary", "cc_library", "cc_test", "py_test", "py_binary", "py_library")
# Their BUILD files are the rules themselves, or other people's code.
OWN_RULES = ("toolchain", "third_party")


def walk(root):
    """Yields the path of each file of the project, relative to `root`."""
    for folder, folders, files in os.walk(root):
        inner = os.path.relpath(folder, root)
        folders[:] = sorted(
            name for name in folders
            if not name.startswith(".") and not (inner == "." and name.startswith("bazel-"))
            and name != "__pycache__")
        for name in sorted(files):
            yield os.path.normpath(os.path.join(inner, name))


class Unknown:
    """Stands for a value that only Bazel knows: calls, sums and loops over it go through."""

    def __call__(self, *arguments, **named):
        return self

    def __add__(self, other):
        return other

    __radd__ = __add__

    def __iter__(self):
        return iter(())

    def __getitem__(self, key):
        return self

    def __getattr__(self, name):
        return self


class BuildFile(dict):
    """Runs a BUILD file as Python (Starlark is a subset) and notes the file names in it."""

    def __init__(self, root, package):
        super().__init__()
        self.package_root = os.path.join(root, package)
        self.names = set()
        self.rules = set()
        with open(os.path.join(self.package_root, "BUILD.bazel"), encoding="utf-8") as file:
            exec(compile(file.read(), package + "/BUILD.bazel", "exec"), self)

    def __missing__(self, name):
        if name in ("True", "False", "None", "len", "range", "str", "sorted", "dict", "list"):
            raise KeyError(name)

        def rule(*arguments, **attributes):
            self.rules.add(name)
            self.note(arguments)
            self.note(attributes)
            return Unknown()

        if name == "glob":
            return self.glob
        if name == "load":
            return self.load
        return rule

    def load(self, _file, *symbols, **renamed):
        for symbol in list(symbols) + list(renamed):
            if symbol.isupper():
                self[symbol] = Unknown()

    def glob(self, include, exclude=(), **_):
        found = [path for path in walk(self.package_root)
                 if any(matches(path, pattern) for pattern in include)
                 and not any(matches(path, pattern) for pattern in exclude)]
        self.names.update(found)
        return found

    def note(self, value):
        if isinstance(value, str):
            self.names.add(value.lstrip(":"))
        elif isinstance(value, dict):
            for key, item in value.items():
                self.note(key)
                self.note(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                self.note(item)


def matches(path, pattern):
    if "**" in pattern:
        return fnmatch.fnmatch(path, pattern.replace("**/", "*").replace("**", "*"))
    return path.count("/") == pattern.count("/") and fnmatch.fnmatch(path, pattern)


def check_packages(root, files):
    packages = {os.path.dirname(path): BuildFile(root, os.path.dirname(path))
                for path in files if os.path.basename(path) == "BUILD.bazel"
                and not path.startswith("third_party/")}
    for package, build in packages.items():
        if package.split("/")[0] not in OWN_RULES:
            for rule in sorted(build.rules & set(NATIVE_RULES)):
                yield f"{package}/BUILD.bazel: uses {rule}; take //toolchain:defs.bzl's rules"
    for path in files:
        if not path.endswith(SOURCES) or path.startswith("third_party/"):
            continue
        package = os.path.dirname(path)
        while package and package not in packages:
            package = os.path.dirname(package)
        name = os.path.relpath(path, package) if package else path
        if name not in packages[package].names:
            yield f"{path}: is not named in {package or '.'}/BUILD.bazel"


def check_source(path, lines):
    floor = path.split("/")[0]
    if floor in FLOORS:
        allowed = FLOORS[:FLOORS.index(floor) + 1]
    elif floor == "efi_loader":
        allowed = ["efi_loader", "lib"]
    else:
        allowed = None
    for number, line in enumerate(lines, 1):
        include = re.match(r'\s*#\s*include\s+"([^"/]+)/?', line)
        if include and allowed and include.group(1) not in allowed:
            yield f"{path}:{number}: {floor}/ may not include from {include.group(1)}/"
        code = line.split("//")[0]
        if floor != "uaccess" and re.search(r'(^|["\s;])(stac|clac)(["\s;\\]|$)', code):
            yield f"{path}:{number}: stac and clac belong to uaccess/"
    if path.endswith(".h") and "#pragma once" not in (line.strip() for line in lines):
        # assert.h may be included again, as the C standard has it.
        if path != "toolchain/freestanding/libc/assert.h":
            yield f"{path}: has no #pragma once"


def main():
    root = os.path.dirname(os.path.realpath("WORKSPACE"))
    files = list(walk(root))
    problems = list(check_packages(root, files))
    for path in files:
        if not path.endswith(LENGTH_LIMITED):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as file:
            lines = file.read().splitlines()
        if len(lines) > MAX_LINES:
            problems.append(f"{path}: {len(lines)} lines; more than {MAX_LINES} are two files")
        if path.endswith((".cc", ".c", ".h", ".S")):
            problems.extend(check_source(path, lines))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
