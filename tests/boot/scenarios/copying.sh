# dd through pipes: block sizes that fit and that do not, short reads, counts.
dd if=/dev/zero bs=1M count=$((32 / ${SHARE:-1})) status=none | dd bs=4k status=none | dd bs=7777 iflag=fullblock status=noxfer | wc -c
seq 1 $((1000000 / ${SHARE:-1})) | dd bs=512 status=none | dd obs=64k status=none | sha256sum
seq 1 1000000 | dd bs=1000 skip=3 count=5 iflag=fullblock status=none | sha256sum
dd if=/dev/zero of=sparse bs=1 count=1 seek=$((104 / ${SHARE:-1}))M status=none; stat -c %s sparse
dd if=sparse bs=1M status=noxfer | wc -c
printf abcdef | dd bs=1 skip=2 count=3 status=none; echo
printf abcdef | dd conv=swab status=none; echo
printf abc | dd bs=8 conv=sync status=none | od -c
dd if=/dev/full of=/dev/null bs=4k count=2 status=noxfer
dd if=/dev/zero of=/dev/full bs=4k count=2 2> /dev/null; echo "full: $?"
echo x > /dev/full; echo "echo to full: $?"
dd if=missing of=/dev/null; echo "missing: $?"
(dd bs=3 count=1 status=none; echo; cat) < "$SCENARIOS/copying.sh" | head -n 2
