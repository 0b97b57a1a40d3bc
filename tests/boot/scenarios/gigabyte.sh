# A whole gigabyte through a pipe.
head -c 1073741824 /dev/zero | wc -c
