# awk and sed.
awk 'BEGIN { for (i = 1; i <= 20; i++) { f[i] = i < 3 ? 1 : f[i - 1] + f[i - 2] } print f[20] }'
seq 1 10000 | awk '{ s += $1; q += $1 * $1 } END { printf "%d %d %.3f\n", s, q, q / NR / 7 }'
printf 'b 2\na 1\nb 3\n' | awk '{ sum[$1] += $2 } END { for (k in sum) print k, sum[k] }' | sort
echo 'root:x:0:0:root:/root:/bin/sh' | awk -F: -v OFS=, '{ print $1, $3, $7; $2 = "y"; print }'
awk 'BEGIN { while ("echo from; echo a command" | getline line) print "got", line
             print "sorted" | "sort"; print "also" | "sort"; close("sort")
             print substr("substring", 4, 3), index("haystack", "st"), toupper("up"), length("four")
             n = split("a,b,c", parts, ","); print n, parts[3]
             s = "aaa"; print gsub(/a/, "b", s), s; print match("xxabc", /abc/), RSTART, RLENGTH
             exit system("exit 3") }'
echo "status $?"
awk 'function f(n) { return n < 2 ? n : f(n - 1) + f(n - 2) } BEGIN { print f(18) }'
seq 1 30 | sed -n '5p;10,12p;$p'
seq 1 10 | sed '2,4d;s/^/[/;s/$/]/'
printf 'one\ntwo\nthree\n' | sed -e '/two/{s//TWO/;a\' -e 'appended' -e '}' -e '$!N;P;D'
printf 'key=value\n' | sed -E 's/^([a-z]+)=(.*)$/\2=\1/;y/ae/AE/'
seq 1 5 | sed -n 'H;${x;s/\n/,/g;s/^,//;p}'
seq 1 100000 | sed 's/\(.\)\(.\)/\2\1/g' | sha256sum
seq 1 3 > file; sed -i 's/2/two/' file; cat file
seq 1 100000 | grep -c 99; seq 1 100 | grep -E '^(1|2)5?$' | tr '\n' ' '; echo
echo 'a-b-c' | cut -d - -f 1,3; echo 'a  b' | tr -s ' ' | od -c | head -n 1
printf '1\n2\n3\n' > x; printf '1\nTWO\n3\n' > y; diff x y > p; tail -n +3 p; patch x p > /dev/null; cat x
printf '2^100\nscale=5; 1/7\n' | bc
printf 'a\nb\n' | nl; fold -w 5 <<END
wrapped at five
END
printf 'a\nfirst\nsecond\n.\n1d\nw edited\nq\n' | ed 2> /dev/null; cat edited
printf 'a\na\nb\n' | uniq -c
