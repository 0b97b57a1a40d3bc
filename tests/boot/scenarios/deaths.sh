# Programs that die: each of the right signal, and the next one runs as if nothing had happened.
exec 2> /dev/null
for way in null read-null call-null kernel-jump kernel-read kernel-write non-canonical hlt illegal \
    breakpoint divide; do
  "$PROGRAMS/crash" $way; echo "$way: $?"
  echo alive | cat | tr a-z A-Z
done
(ulimit -s 1024; "$PROGRAMS/crash" stack); echo "stack: $?"
"$PROGRAMS/crash" null | cat; echo "in a pipeline: $?"
"$PROGRAMS/crash" null & wait $!; echo "in the background: $?"
i=0
while [ $i -lt 50 ]; do "$PROGRAMS/crash" null > /dev/null; i=$((i + 1)); done; echo "fifty more"
"$PROGRAMS/c_program" > /dev/null; echo "the next program: $?"
