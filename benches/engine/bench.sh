#!/usr/bin/env bash
# The whole comparison for one size: bench.sh BINARY DIR USERS [run.py's options, such as --rounds 5].
# As root on Debian. Peers and data stay in DIR, so that the next run begins at once; results are appended to
# DIR/results.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:?usage: bench.sh BINARY DIR USERS [options]}")
dir=$(realpath -m "${2:?usage: bench.sh BINARY DIR USERS [options]}")
users=${3:?usage: bench.sh BINARY DIR USERS [options]}
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
# One server at a time: all sizes share the port.
for data in "$dir"/pg-*; do
  [ -f "$data/postmaster.pid" ] && runuser -u postgres -- "$bin/pg_ctl" -D "$data" -m fast stop >/dev/null || true
done
"$here/setup.sh" "$dir" "$users"
status=0
"$here/run.py" "$dir" "$binary" --output "$dir/results.md" "${@:4}" || status=$?
runuser -u postgres -- "$bin/pg_ctl" -D "$dir/pg-$users" -m fast stop >/dev/null || true
exit $status
