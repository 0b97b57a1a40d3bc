#!/bin/bash
# Runs Python unittest modules, named as arguments, from the test's runfiles.
exec env PYTHONPATH="$PWD" PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m unittest "$@"
