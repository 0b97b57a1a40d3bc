"""The options of `./holstein bench`."""

import argparse
import os

DESCRIPTION = """\
Runs one program, the same file, on Holstein and on Debian's Linux, each in the same QEMU
with the same processor, memory and firmware, and prints both figures of each row and how
many times better Holstein is.

Linux is the kernel of Debian's linux-image-cloud-amd64: downloaded, unpacked, never
installed. Without it Holstein is shown alone.

The usual measure is the number of instructions that the guest executes, kernel and program
together, which QEMU counts exactly. They leave out caches and TLB misses. The processor is
`max,erms=off` then: QEMU counts each round of a `rep` as an instruction, and Linux's `rep
movsb` would be charged 4,096 of them for a page.
"""

EPILOG = """\
systems:
  holstein             this kernel, optimised
  linux                default settings: transparent huge pages `always`, mitigations on
  linux-4k             transparent huge pages `never`
  linux-nomitigations  mitigations=off, transparent huge pages `always`

exit status:
  0    every row ran, whoever was faster; 4 GiB rows may be left out for want of memory
  1    a row failed to run, or was cut off; the report says which
  2    wrong usage
  125  something is missing, or the build failed

examples:
  ./holstein bench --quick
  ./holstein bench --only fork,writes --json fork.json --plot plots
  ./holstein bench --accel kvm --repeat 10
"""


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if not names:
        raise argparse.ArgumentTypeError("write one name, or several with commas between")
    return list(dict.fromkeys(names))


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 1000000")
    return int(text)


def _file(text: str) -> str:
    if not os.path.isfile(text):
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return text


def add_options(parser: argparse.ArgumentParser, memory_size) -> None:
    add = parser.add_argument
    add("--only", metavar="GROUP[,GROUP]", action="append", type=_names, default=[],
        help="measure these groups of rows only; repeatable")
    add("--quick", action="store_true",
        help="Holstein and Linux only, few rounds, at most five minutes (after the build): what is "
        "not measured by then is cut off and named")
    add("--list", action="store_true", help="print groups and rows, and end")
    add("--systems", metavar="NAME[,NAME]", type=_names,
        help="which systems; default: all four (see below)")
    add("--rounds", metavar="N", type=_positive,
        help="how often each row is measured within one boot; default: 9, with --quick 3")
    add("--measure", choices=("instructions", "time"),
        help="default: instructions, with KVM time")
    add("--repeat", metavar="N", type=_positive,
        help="boot all systems so often, in turn; default: 1, for time 5")
    add("--accel", choices=("tcg", "kvm", "auto"), default="tcg",
        help="how QEMU runs the guests; kvm means --measure time; default: tcg")
    add("--linux", metavar="FILE", type=_file,
        help="compare with this Linux: a vmlinuz, or a .deb that holds one")
    add("--cpu", metavar="CPU", help="QEMU's -cpu; default: max,erms=off, for time max")
    add("--mem", metavar="SIZE", type=memory_size,
        help="each guest's memory; default: 6G, less where this machine has not so much")
    add("--jobs", metavar="N", type=_positive,
        help="how many guests run at a time; default: 2 where instructions are counted, which "
        "nothing disturbs, and memory suffices; else 1")
    add("--json", metavar="FILE", help="write everything measured, and how, to FILE")
    add("--plot", metavar="DIR", help="draw fork cost against memory, and stalls, as SVG into DIR")
    add("--program", metavar="FILE", type=_file,
        help="run this program instead; it must speak as bench/README.md says")
