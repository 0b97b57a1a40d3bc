# Names, modes, links, times: as a user sees them.
umask 022
echo one > a; cp a b; ln a c; ln -s a d; mkdir -p e/f/g
stat -c '%n %F %A %h %s' a b c d; stat -c '%F %A %h' e
chmod 640 b; chmod u+s,g-r b; stat -c '%n %a' b; chmod 1777 e; stat -c '%A' e
umask 077; : > private; stat -c %a private; umask 022
mv a renamed; cat c renamed d; readlink d; ls
ln -s nowhere dangling; [ -e dangling ] || echo "leads nowhere"; [ -L dangling ] && echo "is a link"
ln -s loop2 loop1; ln -s loop1 loop2; cat loop1; echo "loop: $?"
touch -d '2001-02-03 04:05:06' b; stat -c %Y b; [ b -ot c ] && echo older
rmdir e; echo "not empty: $?"; rm e; echo "rm of a folder: $?"; rm -r e; echo "rm -r: $?"
mkdir b; echo "exists: $?"; mv c nowhere/x; echo "no folder: $?"
ln c c; echo "ln: $?"; rm missing; echo "rm: $?"; rm -f missing; echo "rm -f: $?"
mkdir -p x/y; mv x/y .; ls -d y; mv x y; ls y; mv y y/x; echo "into itself: $?"
cd y; rm -r ../y/x; pwd | sed 's,.*/,,'; cd ..
long=$(printf 'n%.0s' $(seq 1 255)); : > "$long"; ls | awk '{ print length }' | sort -n | tail -n 1
(: > "${long}n") 2> /dev/null; echo "256: $?"
d=.; i=0; while [ $i -lt 60 ]; do d=$d/deep; i=$((i + 1)); done; mkdir -p $d && echo hi > $d/f; cat $d/f
mkfifo fifo; stat -c '%F' fifo; (echo through the fifo > fifo &); cat fifo; rm fifo
echo 0123456789 > s; truncate -s 4 s; cat s; echo; truncate -s 8 s; od -c s
for i in $(seq 1 300); do : > many.$i; done; ls many.* | wc -l; rm many.*; ls | grep -c many
cp -a d copied; readlink copied; install -d installed 2> /dev/null || mkdir installed; ls -d installed
du -s . > /dev/null; echo "du: $?"
test -r c && test -w c && test ! -x c && echo "rights"
realpath y/../c | sed 's,.*/,,'; basename /a/b.c .c; dirname /a/b.c
date -u -d @1000000000 '+%Y-%m-%d %H:%M:%S'
