# yes | head, and other commands that only their reader's end can stop.
yes | head
yes a longer line than that | head -n 100000 | sha256sum
yes | head -c 10000000 | wc -c
(trap - PIPE; yes; echo "yes: $?" >&2) | head -n 1
cat /dev/zero | head -c 1000000 | tr '\0' x | sha256sum
head -c 100000 /dev/urandom | wc -c
a=$(head -c 16 /dev/urandom | od -An -tx1); b=$(head -c 16 /dev/random | od -An -tx1)
[ "$a" != "$b" ] && echo "two random numbers differ"
seq 1 100000000 | sed 5q
