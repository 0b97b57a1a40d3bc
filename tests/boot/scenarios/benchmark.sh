# The benchmark's program can measure each row of these groups; the figures do not matter here.
"$PROGRAMS/bench" --only calibration,calls,files,memory --rounds 2 --clock monotonic > lines
echo "status $?"
cut -f 1-4 lines
"$PROGRAMS/bench" --only fork --rounds 1 --max-memory 100 | cut -f 1-3 | grep ^failed
"$PROGRAMS/bench" --only nothing; echo "no such group: $?"
