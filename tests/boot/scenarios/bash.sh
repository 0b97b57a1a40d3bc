# bash-static with a script of a hundred lines, and from its command line.
"$PROGRAMS/bash-static" "$SCENARIOS/bash_script.bash" first 'second word'; echo "status $?"
"$PROGRAMS/bash-static" -c 'echo ${BASH_VERSINFO[0]} $((2 ** 40)) "${@:2}"' name a b c
printf 'x\ny\n' | "$PROGRAMS/bash-static" -c 'mapfile -t lines; echo "${#lines[@]} ${lines[1]}"'
"$PROGRAMS/bash-static" -c 'set -o pipefail; false | true; echo $? "${PIPESTATUS[@]}"'
