# kill: by number and name, stop and continue, groups, processes that are not there.
# When the shell notes on standard error that a child died is a matter of timing.
exec 2> /dev/null
sleep 60 & pid=$!
kill -0 $pid; echo "there: $?"
kill -9 $pid; wait $pid; echo "KILL: $?"
kill -0 $pid 2> /dev/null; echo "gone: $?"
kill 999999 2> /dev/null; echo "never there: $?"
kill -l 15 9 2>&1
kill -NOSUCH $$ 2> /dev/null; echo "no such signal: $?"

# Stopped processes do nothing until they are continued; KILL ends them all the same.
sh -c 'while :; do echo tick; usleep 20000; done > ticks' & pid=$!
while [ ! -s ticks ]; do usleep 10000; done
kill -STOP $pid
usleep 100000
before=$(wc -l < ticks); usleep 200000; after=$(wc -l < ticks)
[ "$before" = "$after" ] && echo "stopped"
kill -CONT $pid
tries=0
while [ "$(wc -l < ticks)" = "$after" ] && [ $tries -lt 500 ]; do usleep 10000; tries=$((tries + 1)); done
[ $tries -lt 500 ] && echo "continued"
kill -STOP $pid; usleep 50000; kill -KILL $pid; wait $pid; echo "KILL while stopped: $?"

# A pending TERM is delivered when a stopped process goes on.
sleep 60 & pid=$!
kill -STOP $pid; usleep 50000; kill -TERM $pid; usleep 50000
kill -0 $pid && echo "TERM waits"
kill -CONT $pid; wait $pid; echo "TERM: $?"

# A whole process group.
setsid sh -c 'sleep 60 & sleep 60 & echo $$ > leader; wait' &
while [ ! -s leader ]; do usleep 10000; done
kill -TERM -$(cat leader); wait; echo "group: $?"

# From a child to its parent and back, a hundred times.
count=0
trap 'count=$((count + 1))' USR1
i=0
while [ $i -lt 100 ]; do sh -c 'kill -USR1 $PPID'; i=$((i + 1)); done
echo "counted $count"
