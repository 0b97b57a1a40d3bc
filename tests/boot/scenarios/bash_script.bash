#!/bin/bash
# A hundred lines of bash: arrays, functions, traps, arithmetic, read loops, processes.
set -u
echo "arguments: $# [$1] [$2]"

# Arrays, indexed and associative.
numbers=(5 3 9 1 7)
numbers+=(11)
echo "${numbers[@]} ${#numbers[@]} ${numbers[-1]} ${numbers[@]:1:2}"
unset 'numbers[1]'
echo "${!numbers[@]}"
declare -A ages=([anna]=31 [bert]=27)
ages[cleo]=40
for name in $(printf '%s\n' "${!ages[@]}" | sort); do
  printf '%-6s %d\n' "$name" "${ages[$name]}"
done

# Functions, local variables, recursion, return values.
factorial() {
  local -i n=$1
  if ((n <= 1)); then
    echo 1
  else
    echo $((n * $(factorial $((n - 1)))))
  fi
}
factorial 12

bubble_sort() {
  local -a list=("$@")
  local i j swap
  for ((i = 0; i < ${#list[@]}; i++)); do
    for ((j = 0; j < ${#list[@]} - i - 1; j++)); do
      if ((list[j] > list[j + 1])); then
        swap=${list[j]}
        list[j]=${list[j + 1]}
        list[j + 1]=$swap
      fi
    done
  done
  echo "${list[*]}"
}
bubble_sort 42 7 19 3 88 21

# Arithmetic.
echo $((16#ff + 2#1010)) $((7 / 2)) $((-7 % 3)) $((1 << 40)) $((5 > 3 && 2 < 1))
let 'x = 5, x *= 25'; echo "$x"
for ((sum = 0, i = 1; i <= 1000; i++)); do ((sum += i)); done; echo "$sum"

# Strings.
text='The quick brown fox'
echo "${text^^} ${text,,} ${text//o/0} ${text:4:5} ${#text}"
[[ $text =~ ([a-z]+)\ (fox)$ ]] && echo "${BASH_REMATCH[1]}-${BASH_REMATCH[2]}"
[[ $text == The*fox ]] && echo 'a pattern matches'

# read loops: fields, other separators, from a pipe, a here-string, a process.
while IFS=: read -r user _ uid rest; do
  echo "$user=$uid ($rest)"
done <<'END'
root:x:0:0:/root
user:x:1000:1000:/home
END
IFS=, read -ra parts <<< 'a,b,c'; echo "${#parts[@]} ${parts[2]}"
count=0
while read -r line; do ((count += line)); done < <(seq 1 100); echo "$count"
seq 1 5 | while read -r n; do echo -n "$n "; done; echo
mapfile -t lines < <(printf 'one\ntwo\nthree\n'); echo "${lines[1]} of ${#lines[@]}"
diff <(printf '1\n2\n') <(printf '1\n3\n') > /dev/null; echo "two processes differ: $?"

# Traps: signals, DEBUG-free ERR and EXIT, in functions and subshells.
trap 'echo "USR1 arrived"' USR1
kill -USR1 $$
(trap 'echo "subshell exit"' EXIT; exit 3); echo "subshell: $?"
set -E
trap 'echo "error in line of $FUNCNAME"' ERR
failing() { false; return 0; }
failing
trap - ERR

# Jobs, pipelines, coprocesses.
for i in 1 2 3; do (exit "$i") & pids[i]=$!; done
for i in 3 1 2; do wait "${pids[i]}"; echo "job $i: $?"; done
seq 1 10 | grep 77 | cat | (cat > /dev/null; exit 4); echo "pipeline: ${PIPESTATUS[*]}"
coproc { while read -r word; do echo "<$word>"; done; }
echo hello >&"${COPROC[1]}"; read -r answer <&"${COPROC[0]}"; echo "$answer"
exec {COPROC[1]}>&-; wait

case $1 in
  f*) echo 'begins with f' ;;&
  *st) echo 'ends with st' ;;
  *) echo 'not reached' ;;
esac
printf -v padded '%05d' 42; echo "$padded" "$(printf '%q' 'a b')"
echo "$((RANDOM >= 0)) $SECONDS" | grep -Eo '^1'
trap 'echo "the end, status $?"' EXIT
exit 17
