#!/usr/bin/env python3
"""Runs deploywatch and its peers one after the other under the same load: bench.py TARGET DIR [--seconds 10]
[--only NAME,NAME] [--filled ROWS]. TARGET is the folder with the release build and its examples."""

import argparse, json, os, pathlib, shutil, signal, socket, sqlite3, subprocess, time

SECRET = "bench-secret-0123456789abcdef"
PG = "postgres://postgres@127.0.0.1:5598"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server in a folder of its own; ended when the block is left."""

    def __init__(self, name, folder, command, path="/webhooks/lemonsqueezy", env=None, port=None):
        self.name, self.path, self.port = name, path, port
        self.log = open(folder / f"{name}.log", "w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=folder,
                                        env={"PATH": os.environ["PATH"], "HOME": str(folder), **(env or {})})
        deadline = time.time() + 60
        while time.time() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{name} ended: {open(self.log.name).read()[-500:]}")
                time.sleep(0.05)
        raise SystemExit(f"{name} does not listen")

    def memory_mb(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmHWM"):
                return round(int(line.split()[1]) / 1024)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def database(name):
    subprocess.run(["psql", "-qX", PG, "-c", f'DROP DATABASE IF EXISTS "{name}"', "-c", f'CREATE DATABASE "{name}"'],
                   check=True)
    return f"{PG}/{name}"


def sqlite(folder, name):
    for old in folder.glob(f"{name}.db*"):
        old.unlink()
    return folder / f"{name}.db"


def deploywatch(target, folder, store, name):
    port = free_port()
    env = {"DEPLOYWATCH__STORE__URL": store, "DEPLOYWATCH__SECRETS__MASTER_KEY": "11" * 32,
           "LEMONSQUEEZY_WEBHOOK_SECRET": SECRET, "DEPLOYWATCH__HTTP__LISTEN": f"127.0.0.1:{port}",
           "DEPLOYWATCH__EMAIL__TRANSPORT": "directory", "DEPLOYWATCH__EMAIL__RECIPIENTS": "oncall@example.com",
           "DEPLOYWATCH__TELEMETRY__LOG": "warn"}
    return Server(name, folder, [target / "deploywatch", "serve"], env=env, port=port)


def servers(target, folder):
    node = ["node", str(folder / "node/server.mjs")]

    def ceiling():
        port = free_port()
        return Server("ceiling", folder, [target / "examples/webhook_ceiling", str(port)], port=port)

    def adnanh():
        port = free_port()
        rule = [{"id": "ls", "execute-command": "/bin/true", "trigger-rule-mismatch-http-response-code": 401,
                 "trigger-rule": {"match": {"type": "payload-hmac-sha256", "secret": SECRET,
                                            "parameter": {"source": "header", "name": "X-Signature"}}}}]
        (folder / "hooks.json").write_text(json.dumps(rule))
        command = ["webhook", "-hooks", folder / "hooks.json", "-ip", "127.0.0.1", "-port", str(port)]
        return Server("webhook", folder, command, path="/hooks/ls", port=port)

    def fastify(name, store):
        port = free_port()
        return Server(name, folder, [*node, str(port), str(store), SECRET], port=port)

    return {
        "ceiling": ceiling,
        "deploywatch-sqlite": lambda: deploywatch(target, folder, f"sqlite:{sqlite(folder, 'dw')}", "deploywatch-sqlite"),
        "deploywatch-postgres": lambda: deploywatch(target, folder, database("dw"), "deploywatch-postgres"),
        "webhook": adnanh,
        "fastify-sqlite": lambda: fastify("fastify-sqlite", sqlite(folder, "peer")),
        "fastify-postgres": lambda: fastify("fastify-postgres", database("peer")),
    }


def load(target, server, seconds, connections=64, rate=None):
    command = [target / "examples/webhook_load", str(server.port), "--secret", SECRET, "--path", server.path,
               "--seconds", str(seconds), "--connections", str(connections)]
    if rate:
        command += ["--rate", str(rate)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def stored(folder):
    with sqlite3.connect(folder / "dw.db") as db:
        return db.execute("SELECT count(*) FROM webhook_deliveries WHERE status = 200").fetchone()[0]


TABLES = ("webhook_events", "webhook_deliveries", "webhook_bodies")


def floor(folder, batch=64, most=20000):
    """SQLite alone: the rows that deploywatch has just stored, once more into the same tables with the same indexes, by
    one thread that does nothing else, so many in a commit. Returns deliveries a second."""
    with sqlite3.connect(folder / "dw.db") as db:
        made = [row[0] for row in db.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name IN (?, ?, ?) AND sql IS NOT NULL ORDER BY type DESC", TABLES)]
        rows = {table: db.execute(f"SELECT * FROM {table} ORDER BY rowid LIMIT ?", (most,)).fetchall()
                for table in TABLES}
    with sqlite3.connect(sqlite(folder, "floor"), isolation_level=None) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        for statement in made:
            db.execute(statement)
        count, begin = len(rows[TABLES[0]]), time.perf_counter()
        for at in range(0, count, batch):
            db.execute("BEGIN IMMEDIATE")
            for table in TABLES:
                piece = rows[table][at:at + batch]
                db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[table][0]))})", piece)
            db.execute("COMMIT")
        return round(count / (time.perf_counter() - begin))


def fill(folder, rows):
    """Copies the first deliveries under other keys until there are `rows`, in the store that is already there."""
    with sqlite3.connect(folder / "dw.db") as db:
        # Nobody else is there, and what a crash would spoil is made again.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -8000000"):
            db.execute(f"PRAGMA {pragma}")
        have = db.execute("SELECT count(*) FROM webhook_deliveries").fetchone()[0]
        columns = {t: [r[1] for r in db.execute(f"PRAGMA table_info({t})")]
                   for t in TABLES}
        # As in a store that has grown by itself, four a second until now: ids grow with time, the provider's are random.
        delivery, event = "printf('dlv_00%010d', n)", "printf('evt_00%010d', n)"
        key, at = "'id:' || lower(hex(randomblob(16)))", f"received_at - ({rows} - n) * 250000"
        keys = {"webhook_events": {"id": event, "dedup_key": key, "delivery_id": delivery, "received_at": at},
                "webhook_deliveries": {"id": delivery, "event_id": event, "received_at": at},
                "webhook_bodies": {"delivery_id": delivery}}
        for table, names in columns.items():
            picked = ", ".join(keys[table].get(c, c) for c in names)
            db.execute(f"""WITH RECURSIVE number(n) AS (SELECT {have} UNION ALL SELECT n + 1 FROM number WHERE n + 1 < {rows})
                INSERT INTO {table} ({', '.join(names)}) SELECT {picked} FROM number, (SELECT * FROM {table} LIMIT 1)""")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("target", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", default="")
    parser.add_argument("--filled", type=int, default=0, help="fill the SQLite store by SQL first, then measure it")
    options = parser.parse_args()
    target, folder = options.target.resolve(), options.folder.resolve()
    only = [name for name in options.only.split(",") if name]
    for name, start in servers(target, folder).items():
        if only and name not in only:
            continue
        if options.filled and name != "deploywatch-sqlite":
            continue
        if options.filled:
            with start() as server:
                load(target, server, 1, 1)
            fill(folder, options.filled)
            store = f"sqlite:{folder / 'dw.db'}"
            start = lambda: deploywatch(target, folder, store, "deploywatch-sqlite")
        with start() as server:
            load(target, server, 2, options.connections)
            full = load(target, server, options.seconds, options.connections)
            half = load(target, server, options.seconds, options.connections, full["per_second"] / 2)
            memory = server.memory_mb()
        report = {"server": name, "full": full, "half": half, "memory_mb": memory}
        if name == "deploywatch-sqlite":
            report["stored"] = stored(folder)
            if not options.filled:
                report["sqlite_alone"] = floor(folder)
        print(json.dumps(report), flush=True)
        with open(folder / "results.jsonl", "a") as results:
            results.write(json.dumps({"at": time.strftime("%FT%TZ", time.gmtime()), **report}) + "\n")


main()
