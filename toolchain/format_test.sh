#!/bin/bash
# Fails where clang-format would change a C or C++ file of the tree, and shows the first such lines.
# Runs over the real tree, so that a file that no BUILD file names is checked as well.
set -euo pipefail
root=$(dirname "$(realpath WORKSPACE)")
cd "$root"
find . \( -name '.*' -not -name . -o -path './bazel-*' \) -prune -o \
    -type f \( -name '*.cc' -o -name '*.c' -o -name '*.h' \) -print0 |
  xargs -0 -r -n 25 -P 2 /usr/lib/llvm-19/bin/clang-format --dry-run -Werror --ferror-limit=3 || {
    echo "to fix: clang-format-19 -i FILE..."
    exit 1
  }
