# 200 children in a loop, one after the other and all at once.
i=0
while [ $i -lt 200 ]; do
  busybox sh -c "exit $((i % 7))" || sum=$((sum + $?))
  i=$((i + 1))
done
echo "sum of statuses: $sum"
i=0
while [ $i -lt 200 ]; do
  (echo $i) >> numbers &
  i=$((i + 1))
done
wait
sort -n numbers | sha256sum
wc -l < numbers
for i in $(seq 1 200); do /bin/busybox true; done; echo "200 programs: $?"
