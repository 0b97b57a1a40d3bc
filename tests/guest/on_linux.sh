#!/bin/sh
# Runs the guest's test program on the machine that builds: Linux is the oracle.
exec "$1" --gtest_brief=1
