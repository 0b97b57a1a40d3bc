# tar | gzip | gunzip | tar t, and back out again: names, modes, links, times, contents.
mkdir -p tree/sub/empty 'tree/with blank'
seq 1 100000 > tree/numbers
head -c 300000 /dev/zero > tree/zeros
: > tree/nothing
echo '#!/bin/sh' > tree/script; chmod 755 tree/script
chmod 600 tree/nothing
echo content > "tree/with blank/$(printf 'n%.0s' $(seq 1 150))"
ln -s ../numbers tree/sub/link
ln tree/numbers tree/sub/hard
find tree -exec touch -h -d '2020-02-02 02:02:02' {} +
tar c tree | gzip | gunzip | tar t | sort
tar c tree | gzip | gunzip | sha256sum | wc -c
tar czf tree.tar.gz tree && gzip -t tree.tar.gz; echo "gzip -t: $?"
mkdir out && tar xzf tree.tar.gz -C out
diff -r tree out/tree && echo "same contents"
stat -c '%n %A %s %Y' out/tree/script out/tree/nothing out/tree/zeros out/tree/numbers
readlink out/tree/sub/link
[ out/tree/numbers -ef out/tree/sub/hard ] && echo "hard link kept"
tar tzf tree.tar.gz | wc -l
(cd tree && find . | sort | cpio -o -H newc 2> /dev/null) | cpio -t 2> /dev/null | sort | wc -l
bzip2 < tree/numbers | bunzip2 | cmp - tree/numbers && echo "bzip2"
xz -dc < /dev/null 2> /dev/null; echo "nothing is no xz: $?"
gunzip < tree/numbers > /dev/null 2>&1; echo "no gzip: $?"
head -c 1000 tree.tar.gz | gunzip > /dev/null 2>&1; echo "cut short: $?"
