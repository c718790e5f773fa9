#!/usr/bin/env bash
# A private PostgreSQL with durable commits in a temporary folder, and the benchmark on it.
#   ./run.sh [--windows 10000] [--checks 10] [--every 60] [--seconds 90] [--processes 2]
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
dir=$(mktemp -d /tmp/fleet-XXXXXX)
port=${FLEET_PORT:-5598}
as=(); [ "$(id -u)" = 0 ] && { chown postgres "$dir"; as=(setpriv --reuid=postgres --regid=postgres --clear-groups); }
stop() { "${as[@]}" "$bin/pg_ctl" stop -D "$dir/data" -m immediate -w >/dev/null 2>&1 || true; rm -rf "$dir"; }
trap stop EXIT
"${as[@]}" "$bin/initdb" -D "$dir/data" --username=postgres --encoding=UTF8 --locale=C --auth=trust >/dev/null
cat >> "$dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
port = $port
shared_preload_libraries = 'pg_stat_statements'
shared_buffers = 512MB
max_wal_size = 8GB
CONF
"${as[@]}" "$bin/pg_ctl" start -D "$dir/data" -l "$dir/log" -w >/dev/null
store="postgres://postgres@127.0.0.1:$port/postgres"
"$bin/psql" -qX "$store" -c 'CREATE EXTENSION pg_stat_statements'
cd "$here"
# FLEET_BIN is a benchmark that was built before, so that nothing is compiled on a machine that is measured.
fleet() { if [ -n "${FLEET_BIN:-}" ]; then "$FLEET_BIN" "$@"; else cargo bench --locked --bench fleet -- "$@"; fi; }
[ -n "${FLEET_BIN:-}" ] || cargo bench --locked --no-run --bench fleet
fleet run --store "$store" "$@"
fleet floor --store "$store" --seconds 20
