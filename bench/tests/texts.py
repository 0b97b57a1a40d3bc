"""What a program says that has few rows, for the tests."""

LIST = """\
bench\t1
rows\t7
clock\ttsc
group\tcalibration
row\tcalibration\tloop-of-2000001-instructions\tticks
group\tfork
row\tfork\tfork-return-1MiB\tticks
row\tfork\tfork-return-1GiB\tticks
row\tfork\tfork-return-4GiB\tticks
group\ttables
row\ttables\tchild-page-tables\tKiB
group\tserver
row\tserver\tfork-server\truns_per_billion
group\tstalls
row\tstalls\tstall-p99\tticks
end
"""

HOLSTEIN = """\
bench\t1
rows\t7
clock\ttsc
group\tcalibration
row\tcalibration\tloop-of-2000001-instructions\tticks\t2000011 2000410 2000011
group\tfork
row\tfork\tfork-return-1MiB\tticks\t10731 10741 20000
row\tfork\tfork-return-1GiB\tticks\t10800 10700 10750
failed\tfork\tfork-return-4GiB\tneeds 4128 MiB of memory
group\ttables
row\ttables\tchild-page-tables\tKiB\t32
group\tserver
row\tserver\tfork-server\truns_per_billion\t3000 4000
group\tstalls
row\tstalls\tstall-p99\tticks\t900
end
"""

# As it comes by the serial port: the firmware has cleared the screen, the kernel breaks in.
LINUX = """\
\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: starting Boot0001\r
\r
linux\tversion\tLinux version 6.1.0-57-cloud-amd64 (debian) #1 SMP\r
linux\thuge_pages\t[always] madvise never\r
linux\tspectre_v2\tMitigation: Retpolines\r
bench\t1\r
rows\t7\r
clock\ttsc\r
group\tcalibration\r
row\tcalibration\tloop-of-2000001-instructions\tticks\t2000011 2000011 2000011\r
group\tfork\r
[    9.123456] random: crng init done\r
row\tfork\tfork-return-1MiB\tticks\t70000 71000 72000\r
row\tfork\tfork-return-1GiB\tticks\t9000 9500 8000\r
failed\tfork\tfork-return-4GiB\tneeds 4128 MiB of memory\r
group\ttables\r
row\ttables\tchild-page-tables\tKiB\t64\r
group\tserver\r
row\tserver\tfork-server\truns_per_billion\t1000\r
group\tstalls\r
row\tstalls\tstall-p99\tticks\t900\r
end\r
linux\tstatus\t1\r
"""


def without(text: str, *starts: str) -> str:
    """A text without the lines that begin with one of these."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(starts))
