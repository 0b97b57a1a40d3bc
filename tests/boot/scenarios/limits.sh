# ulimit: file size, descriptors, address space, processor time.
(ulimit -f 1; head -c 100000 /dev/zero > file; echo "status $?") 2> /dev/null; stat -c %s file
(ulimit -n 20; exec 9< /dev/null; cat < /dev/null; echo "within: $?")
(ulimit -n 5; exec 6< /dev/null) 2> /dev/null; echo "beyond: $?"
(ulimit -v 20000; exec busybox sh -c 'x=$(yes | head -c 30000000); echo never') 2> /dev/null
echo "address space: $?"
(ulimit -t 1; while :; do :; done) 2> /dev/null; echo "processor time: $?"
ulimit -S -n 64; ulimit -n; ulimit -H -n 128; ulimit -S -n 128; ulimit -n
(ulimit -s 256; exec busybox echo "a small stack")
