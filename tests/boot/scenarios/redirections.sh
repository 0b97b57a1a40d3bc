# Redirection: order, numbers, append, duplicates, closing, noclobber, errors.
{ echo out; echo err >&2; } > both 2>&1; cat both
{ echo out; echo err >&2; } 2>&1 > only-out; cat only-out
echo appended >> both; wc -l < both
exec 3> three; echo to-three >&3; exec 3>&-; cat three
(echo x >&3) 2> /dev/null; echo "closed: $?"
exec 4< both; read -r line <&4; echo "first: $line"; cat <&4; exec 4<&-
exec 5<> both; read -r line <&5; echo CHANGED >&5; exec 5>&-; cat both
set -C; (echo no > both) 2> /dev/null; echo "noclobber: $?"; echo yes >| both; set +C; cat both
cat < missing; echo "missing: $?"
echo x > missing/file; echo "no folder: $?"
mkdir folder; echo x > folder; echo "a folder: $?"
cat folder; echo "reading a folder: $?"
: > empty; cat empty | wc -c
echo a > f; { cat; echo b; } < f >> f.out; cat f.out
{ echo 1; echo 2 >&2; } 2>&1 1> /dev/null | sed 's/^/err: /'
echo closed >&- ; echo "closed stdout: $?"
cat <&-; echo "closed stdin: $?"
(exec 1>&-; echo x) 2> /dev/null; echo "subshell without stdout: $?"
for i in 1 2 3; do echo $i; done > loop; while read -r n; do echo "got $n"; done < loop
echo "to stderr only" >&2
