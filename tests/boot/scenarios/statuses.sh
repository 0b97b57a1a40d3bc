# Every exit status there is, and how programs cannot be started.
i=0
while [ $i -lt 256 ]; do
  busybox sh -c "exit $i"
  [ $? = $i ] || echo "wrong status for $i"
  i=$((i + 1))
done
echo "256 statuses"
sh -c 'exit 256'; echo "256: $?"
sh -c 'exit -1' 2> /dev/null; echo "-1: $?"
no-such-program 2> /dev/null; echo "not found: $?"
./no-such-file 2> /dev/null; echo "no such file: $?"
: > empty; ./empty 2> /dev/null; echo "not executable: $?"
chmod 755 empty; ./empty; echo "empty: $?"
mkdir folder; ./folder 2> /dev/null; echo "folder: $?"
printf '#!/bin/busybox sh\necho "a script: $1"; exit 5\n' > script; chmod 755 script
./script word; echo "script: $?"
printf '#!/no/such/interpreter\n' > orphan; chmod 755 orphan
./orphan 2> /dev/null; echo "interpreter is missing: $?"
printf 'echo a script without a first line\n' > plain; chmod 755 plain; ./plain; echo "plain: $?"
head -c 100 /bin/busybox > cut; chmod 755 cut; ./cut 2> /dev/null; echo "cut short: $?"
printf '\177ELF garbage that goes on' > garbage; chmod 755 garbage; ./garbage 2> /dev/null
echo "garbage: $?"
i=0; while [ $i -lt 8 ]; do printf "#!./chain.$((i + 1))\n" > chain.$i; chmod 755 chain.$i; i=$((i + 1)); done
./chain.0 2> /dev/null; echo "a chain of scripts: $?"
exec 2> /dev/null
long=$(head -c 200000 /dev/zero | tr '\0' x); busybox true "$long"; echo "argument too long: $?"
/bin/busybox env -i "$long=1" busybox true; echo "environment too long: $?"
timeout 1 sleep 20; echo "timeout: $?"
sh -c 'exec no-such-program'; echo "exec: $?"
(exec busybox sh -c 'exit 12'); echo "exec: $?"
