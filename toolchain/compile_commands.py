#!/usr/bin/python3
"""Writes compile_commands.json to the project's root, for clangd and other tools.

bazel run //toolchain:compile_commands

A file that is built for several platforms is listed as the host builds it.
"""

import json
import os
import subprocess
import sys

# Which build of a file to list, best first: part of the compiler's target or our own defines.
PREFERRED = ("-fsanitize=address,undefined", "--target=x86_64-linux-gnu")


def run(root, *arguments):
    command = ["bazel", *arguments]
    return subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout


def rank(arguments):
    return next((number for number, flag in enumerate(PREFERRED) if flag in arguments),
                len(PREFERRED))


def without_precompiled_header(arguments):
    """It is good for this compiler only, in Bazel's sandbox only, and changes nothing but time."""
    if "-include-pch" not in arguments:
        return arguments
    start = arguments.index("-include-pch")
    return arguments[:start] + arguments[start + len(("-include-pch", "FILE", "-isysroot", ".")):]


def to_entry(root, external, arguments):
    """The compilation of one file, with paths that hold outside of Bazel's sandbox."""
    arguments = without_precompiled_header(arguments)
    source = arguments[arguments.index("-c") + 1]
    return {
        "directory": root,
        "file": source,
        "arguments": [external + argument[len("external"):]
                      if argument.startswith("external/") else argument
                      for argument in arguments],
    }


def main():
    root = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if root is None:
        root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    external = run(root, "info", "output_base").decode().strip() + "/external"
    actions = json.loads(run(
        root, "aquery", "--output=jsonproto", "--include_artifacts=false",
        'mnemonic("CppCompile", deps(//...))'))

    best = {}
    for action in actions.get("actions", []):
        arguments = action["arguments"]
        if "-c" not in arguments:
            continue
        source = arguments[arguments.index("-c") + 1]
        if source.startswith(("external/", "bazel-out/")):
            continue
        if source not in best or rank(arguments) < rank(best[source]):
            best[source] = arguments

    entries = [to_entry(root, external, best[source]) for source in sorted(best)]
    path = os.path.join(root, "compile_commands.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=1)
        file.write("\n")
    print(f"{path}: {len(entries)} files")


if __name__ == "__main__":
    sys.exit(main())
