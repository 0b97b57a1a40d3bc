# A quarter of a gigabyte through a pipe.
head -c 268435456 /dev/zero | wc -c
