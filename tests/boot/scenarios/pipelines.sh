# Pipelines of five commands, their status, and pipes that one side leaves early.
seq 1 5000 | grep 7 | sed 's/7/seven/g' | sort -r | tail -n 5
seq 1 20000 | awk '{ print $1 % 97 }' | sort -n | uniq -c | head -n 3
echo 'one two three' | tr ' ' '\n' | rev | tac | paste -s -d , -
printf '%s\n' c a b | cat | cat | cat | sort

false | true; echo "last succeeds: $?"
true | false; echo "last fails: $?"
set -o pipefail
false | true; echo "pipefail: $?"
! true | true; echo "negated: $?"
set +o pipefail

seq 1 1000000 | head -n 1
# The reader's end, the writer's SIGPIPE.
(trap - PIPE; seq 1 1000000; echo "status $?" >&2) | head -n 2
{ echo to-out; echo to-err >&2; } 2>&1 | sort
echo through | while read -r word; do echo "read $word in a subshell"; done
seq 1 10 | { read -r a; read -r b; echo "$a $b"; cat; } | wc -l
