#!/bin/sh
# Stands where QEMU would: see fake_guest.py.
cd "$(dirname "$0")/../.." && exec python3 -m tools.tests.fake_guest "$@"
