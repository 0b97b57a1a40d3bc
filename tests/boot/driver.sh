# Runs scenarios one after the other and prints what each one did, so that one boot serves many.
#
#   sh driver.sh ROOT LIMIT SHARE NAME...
#
# ROOT holds scenarios/ and programs/; each scenario runs in an empty folder of its own below
# ROOT/work, for LIMIT seconds at most. Those that move much data divide it by SHARE. A section of
# the output is
#
#   === NAME STATUS OUT ERR SECONDS
#
# with as many bytes of standard output and standard error behind it as OUT and ERR say. The same
# file runs on Linux and inside Holstein.
ROOT=$1
LIMIT=$2
SHARE=$3
shift 3
SCENARIOS=$ROOT/scenarios
PROGRAMS=$ROOT/programs
export ROOT SHARE SCENARIOS PROGRAMS LC_ALL=C TZ=UTC
umask 022
ulimit -c 0
exec < /dev/null
for name in "$@"; do
  folder=$ROOT/work/$name
  mkdir -p "$folder/run" && cd "$folder/run" || exit 1
  echo "scenario $name" >&2
  start=$(date +%s)
  timeout -s KILL "$LIMIT" sh "../../../scenarios/$name.sh" > ../out 2> ../err
  status=$?
  seconds=$(($(date +%s) - start))
  echo "=== $name $status $(wc -c < ../out) $(wc -c < ../err) $seconds"
  cat ../out ../err
  cd "$ROOT" && rm -rf "$folder"
done
