#!/usr/bin/env bash
# Installs the peers and makes the database: setup.sh DIR USERS. Debian with root; everything else goes into DIR.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(realpath -m "${1:?usage: setup.sh DIR USERS}")
users=${2:?usage: setup.sh DIR USERS}
mkdir -p "$dir"
apt-get install -y -qq postgresql postgresql-15-pgtap libtap-parser-sourcehandler-pgtap-perl >/dev/null
peer() {
  [ -x "$dir/$1/bin/python" ] && return 0
  python3 -m venv "$dir/$1"
  "$dir/$1/bin/pip" install -q --only-binary :all: "${@:2}"
}
peer soda 'soda-core-postgres==3.*' setuptools
peer dbt dbt-core dbt-postgres
peer gx great_expectations sqlalchemy psycopg2-binary

bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
data="$dir/pg-$users"
if [ ! -d "$data" ]; then
  install -d -o postgres -g postgres -m 700 "$data"
  runuser -u postgres -- "$bin/initdb" -D "$data" --no-sync -A trust -U postgres >/dev/null
  cat >>"$data/postgresql.conf" <<CONF
port = 5599
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 4GB
work_mem = 64MB
fsync = off
max_wal_size = 8GB
autovacuum = off
max_parallel_workers_per_gather = 0
shared_preload_libraries = 'pg_stat_statements'
CONF
fi
runuser -u postgres -- "$bin/pg_ctl" -D "$data" -w -l "$data/log" start >/dev/null || true
export PGHOST=127.0.0.1 PGPORT=5599 PGUSER=postgres
if ! psql -qAtc "SELECT 1 FROM pg_database WHERE datname = 'az'" | grep -q 1; then
  createdb az
  { echo "SET agentzero.users = '$users';"; cat "$here/../../checks/agentzero/schema.sql"; } | psql -q -v ON_ERROR_STOP=1 az
  psql -q az -c "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pgtap" -c "VACUUM (FREEZE, ANALYZE)"
fi
echo "stop it with: runuser -u postgres -- $bin/pg_ctl -D $data stop"
