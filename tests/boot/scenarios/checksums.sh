# sha256sum of a file of 64 MiB (or a share of them), and other ways to read the same bytes.
bytes=$((67108864 / ${SHARE:-1}))
seq 1 200000 > block
i=0; while [ $i -lt 55 ]; do cat block; i=$((i + 1)); done | head -c $bytes > data
stat -c %s data
sha256sum data
tail -c 1000 data | md5sum
dd if=data bs=1M skip=$((bytes / 1048576 - 1)) 2> /dev/null | sha256sum
cp data copy && cmp data copy && echo same
printf X | dd of=copy bs=1 seek=$((bytes / 4 * 3)) conv=notrunc 2> /dev/null
cmp data copy
truncate -s 1000000 copy; sha256sum copy
truncate -s $bytes copy; tail -c $((bytes - 2000000)) copy | dd bs=1M count=3 iflag=fullblock 2> /dev/null | tr -d '\0' | wc -c
rm data copy block; ls
