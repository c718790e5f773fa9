#!/usr/bin/env bash
# Installs the peers: setup.sh DIR. Debian with root; everything that is no package goes into DIR.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(realpath -m "${1:?usage: setup.sh DIR}")
mkdir -p "$dir/node"
apt-get install -y -qq webhook postgresql sqlite3 g++ make python3 >/dev/null
command -v node >/dev/null || apt-get install -y -qq nodejs npm libnode-dev >/dev/null
cp "$here"/node/{package.json,server.mjs} "$dir/node/"
# better-sqlite3 is compiled here: its prebuilt binaries are not in the registry.
[ -d "$dir/node/node_modules/better-sqlite3" ] ||
  (cd "$dir/node" && npm_config_nodedir=/usr npm_config_build_from_source=true npm install --no-audit --no-fund >/dev/null)

bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
if [ ! -d "$dir/pg" ]; then
  install -d -o postgres -g postgres -m 700 "$dir/pg"
  runuser -u postgres -- "$bin/initdb" -D "$dir/pg" -A trust -U postgres >/dev/null
  # Durable as it comes: fsync and synchronous_commit stay on.
  printf "port = 5598\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nshared_buffers = 512MB\nmax_wal_size = 4GB\n" >>"$dir/pg/postgresql.conf"
fi
runuser -u postgres -- "$bin/pg_ctl" -D "$dir/pg" -w -l "$dir/pg/log" start >/dev/null || true
