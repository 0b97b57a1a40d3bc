# Background jobs and wait: for one, for all, in any order, with each one's status.
# When the shell notes on standard error that a child died is a matter of timing.
exec 2> /dev/null
(exit 3) & one=$!
(exit 5) & two=$!
wait $two; echo "two: $?"
wait $one; echo "one: $?"
wait $one; echo "again: $?"
wait 999999; echo "no child: $?"

for i in 1 2 3 4 5 6 7 8; do
  (echo "job $i" > "job.$i") &
done
wait; echo "all: $?"
cat job.*

sleep 30 & sleeper=$!
kill $sleeper
wait $sleeper; echo "killed: $?"

# A background job's standard input is empty.
cat & wait $!; echo "cat: $?"

# Jobs that outlive the subshell that started them.
(sh -c 'while [ ! -e go ]; do usleep 10000; done; echo late > late' & )
touch go
tries=0
while [ ! -s late ] && [ $tries -lt 1000 ]; do usleep 10000; tries=$((tries + 1)); done
cat late

first() { usleep 20000; return 11; }
first & wait $!; echo "function: $?"
{ echo a; echo b; } | cat > piped & wait; cat piped
sh -c 'exit 4' & sh -c 'exit 6' & wait; echo "both: $?"
