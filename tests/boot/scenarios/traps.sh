# trap: on signals, on exit, ignored, reset, inherited.
# When the shell notes on standard error that a child died is a matter of timing.
exec 2> /dev/null
trap 'echo "got USR1"' USR1
kill -USR1 $$; echo after
trap 'echo "got USR2, status $?"' USR2
false; kill -USR2 $$
trap '' TERM
kill -TERM $$; echo "still here"
sh -c 'kill -TERM $$; echo "a child inherits what is ignored"'
trap - TERM
(kill -TERM $(sh -c 'echo $PPID'); sleep 5; echo never); echo "subshell: $?"
sh -c 'trap "echo exit trap" EXIT; exit 3'; echo "status $?"
sh -c 'trap "echo exit trap; exit 4" EXIT; exit 3'; echo "status $?"
sh -c 'trap "echo hup; trap - HUP; kill -HUP $$" HUP; kill -HUP $$; echo not reached'
echo "status $?"
(trap 'echo subshell ends' EXIT; echo in the subshell)

# A trap runs while the shell waits, and interrupts wait.
trap 'echo alarm; kill $sleeper' ALRM
sleep 30 & sleeper=$!
(usleep 100000; kill -ALRM $$) &
wait $sleeper; echo "wait: $?"
wait $sleeper; echo "sleeper: $?"
trap 'echo "from a child"' USR1
sh -c 'kill -USR1 $PPID'; echo "child: $?"
trap 'echo int' INT; kill -INT $$
trap
for signal in HUP INT QUIT USR1 USR2 PIPE ALRM TERM KILL; do
  sh -c "kill -$signal \$\$; echo not reached" 2> /dev/null; echo "$signal $?"
done
trap 'echo the end' EXIT
