# sort of 200,000 lines (or a share of them), several ways.
awk -v lines=$((200000 / ${SHARE:-1})) 'BEGIN { x = 1; for (i = 0; i < lines; i++) { x = (x * 16807) % 2147483647; print x, i % 1000 } }' > lines
wc -l < lines
sort lines | sha256sum
sort -n lines | sha256sum
sort -n lines | sort -c -n && echo sorted
sort -k 2,2n -k 1,1nr lines | head -n 3
sort -u -k 2,2 lines | wc -l
sort -r lines | tail -n 1
