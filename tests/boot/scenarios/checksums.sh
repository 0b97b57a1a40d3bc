# sha256sum of a file of 64 MiB, and other ways to read the same bytes.
seq 1 200000 > block
i=0; while [ $i -lt 55 ]; do cat block; i=$((i + 1)); done | head -c 67108864 > data
stat -c %s data
sha256sum data
tail -c 1000 data | md5sum
dd if=data bs=1M skip=63 2> /dev/null | sha256sum
cp data copy && cmp data copy && echo same
printf X | dd of=copy bs=1 seek=50000000 conv=notrunc 2> /dev/null
cmp data copy
truncate -s 1000000 copy; sha256sum copy
truncate -s 64M copy; tail -c 60000000 copy | dd bs=1M count=3 iflag=fullblock 2> /dev/null | tr -d '\0' | wc -c
rm data copy block; ls
