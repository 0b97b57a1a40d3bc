# Command substitution, nested three deep and more; its status, its newlines, its size.
echo "$(echo "a$(echo "b$(echo c)b")a")"
echo `echo x\`echo y\\\`echo z\\\`\``
deep=$(echo 1; echo $(echo 2; echo $(echo 3; echo $(echo 4; echo $(echo 5)))))
echo "$deep"
value=$(printf 'trailing newlines go\n\n\n'); echo "[$value]"
value=$(exit 7); echo "status $?"
value=$(echo kept; exit 9) || echo "failed with $?: $value"
big=$(seq 1 100000); echo "${#big} bytes"
echo $(( $(echo 20) + $(echo $(( $(echo 2) * 11 )) ) ))
for word in $(echo one two three); do echo "word $word"; done
f() { echo "in f: $(g "$1" $(echo two))"; }
g() { echo "in g: $1 $2 $(echo $#)"; }
f one
cat $(echo /dev/null) && echo "a command built by substitution"
echo "$(cat <<END
$(echo "in a $(echo here-document)")
END
)"
count=0
while [ $count -lt 50 ]; do count=$(expr $count + 1); done
echo $count
