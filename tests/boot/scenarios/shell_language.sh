# The shell's own language, each piece of it resting on fork, exec, pipes and signals.
set -- a 'b c' d; echo $# "$2" "$*"; shift; echo "$@"
for x in *; do echo "nothing matches: $x"; done
touch f1 f2 g1; echo f* [fg]1 ?2
case "$(uname -s)" in Linux) echo "uname says Linux";; *) echo other;; esac
v=abcabc; echo ${v#*b} ${v##*b} ${v%b*} ${v%%b*} ${#v} ${v:-d} ${u:-default} ${u:=set} $u ${v/b/X} ${v:2:3}
echo $((1 << 20)) $((7 % 3)) $((-7 / 2)) $((0x1f)) $((1 ? 2 : 3)) $((5 & 3 | 8))
f() { local v=inner; echo "$v $1"; return 4; }; f arg; echo "$? $v"
i=0; until [ $i -ge 3 ]; do i=$((i + 1)); [ $i = 2 ] && continue; echo "i=$i"; done
(cd /; v=changed; pwd); echo "$v"
eval 'echo evaluated $v'; . /dev/stdin <<END
sourced=yes
END
echo "${sourced:-no}"
IFS=:; for p in a:b:c; do echo "$p"; done; x=a:b; echo $x; unset IFS
read -r one two <<END
first second third
END
echo "$two"; printf '%s|%5d|%-5s|%x\n' s 42 l 255
type cd > /dev/null && command -v sh > /dev/null && echo found
set -e; (false; echo "not printed") || echo "set -e"; set +e
getopts ab: o -b value; echo "$o $OPTARG"
(set -u; echo $undefined) 2> /dev/null; echo "set -u: $?"
time -p true 2> /dev/null; echo "time: $?"
alias hi='echo aliased'; hi 2> /dev/null; test -t 0; echo "a terminal: $?"
x=$(printf 'a\nb'); echo "$x" | cat -A 2> /dev/null || echo "$x"
echo $PPID $$ | grep -Ec '^[0-9]+ [0-9]+$'; umask; sh -c 'echo "$0 $1"' zero one
env -i A=1 busybox env; env | grep -c PATH; id -u | grep -c .
