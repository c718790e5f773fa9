#!/usr/bin/env python3
"""Runs the common suite with deploywatch and its peers, interleaved, and prints medians and ratios to the floor.

run.py DIR BINARY [--rounds N] [--only a,b] [--without-peers] [--output FILE]
DIR is the one that setup.sh filled; its server must be running.
"""
import argparse
import datetime
import os
import pathlib
import statistics
import subprocess
import time

import suite as s

URL = "postgres://postgres@127.0.0.1:5599/az"
ENV = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": "5599", "PGUSER": "postgres", "PGDATABASE": "az",
       "DBT_PROFILES_DIR": ".", "DO_NOT_TRACK": "1", "GX_ANALYTICS_ENABLED": "false", "NO_COLOR": "1",
       # Nobody is given up on for being slow.
       "DEPLOYWATCH__SCAN__BUDGET_SECONDS": "3600", "DEPLOYWATCH__SCAN__STATEMENT_TIMEOUT_SECONDS": "3600"}
PEERS = ["naive psql", "pgTAP", "Soda Core 3", "dbt test", "Great Expectations"]


def psql(sql):
    return subprocess.run(["psql", "-qAtc", sql, "az"], env=ENV, check=True, capture_output=True, text=True).stdout


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def commands(work, binary, peers):
    for name, lines in [("floor", s.floor_sql()), ("naive", s.naive_sql()), ("pgtap", s.pgtap_sql())]:
        write(work / f"{name}.sql", "\n".join(lines) + "\n")
    write(work / "suite.yaml", "\n".join(s.deploywatch_yaml()) + "\n")
    write(work / "soda/checks.yml", "\n".join(s.soda_yaml()) + "\n")
    write(work / "soda/configuration.yml", "data_source az:\n  type: postgres\n  host: 127.0.0.1\n  port: 5599\n"
          "  username: postgres\n  password: ''\n  database: az\n  schema: public\n")
    for name, text in s.dbt_files().items():
        write(work / "dbt" / name, text)
    write(work / "dbt/profiles.yml", "bench:\n  target: t\n  outputs:\n    t: {type: postgres, host: 127.0.0.1, port: 5599, "
          "user: postgres, password: '', dbname: az, schema: public, threads: 1}\n")
    ours = [binary, "check", "--database-url", URL]
    yaml = str(work / "suite.yaml")
    carry = work / "carry.json"
    carry.unlink(missing_ok=True)
    raw = ours + ["--no-proofs"]
    return {
        "floor": (["psql", "-qAt", "-f", str(work / "floor.sql")], work),
        # What each idea gives by itself: the line before it is the same without it.
        "deploywatch, one statement a check": (raw + ["--fusion", "off", yaml], work),
        "+ fuse": (raw + ["--fusion", "without-joins", yaml], work),
        "+ join = no proofs, 1 connection": (raw + [yaml], work),
        "+ parallel = no proofs, 2 connections": (raw + ["--connections", "2", yaml], work),
        "proofs, 1 connection": (ours + [yaml], work),
        "proofs, 2 connections": (ours + ["--connections", "2", yaml], work),
        "proofs and trusted foreign keys, 1 connection": (ours + ["--trust-foreign-keys", yaml], work),
        # The warm-up run leaves what the others carry.
        "quiet repeat (proofs and carry)": (ours + ["--carry", str(carry), yaml], work),
        "naive psql": (["psql", "-qAt", "-f", str(work / "naive.sql")], work),
        "pgTAP": (["pg_prove", "-Q", str(work / "pgtap.sql")], work),
        "Soda Core 3": ([str(peers / "soda/bin/soda"), "scan", "-d", "az", "-c", "configuration.yml", "checks.yml"], work / "soda"),
        "dbt test": ([str(peers / "dbt/bin/dbt"), "test", "-q"], work / "dbt"),
        "Great Expectations": ([str(peers / "gx/bin/python"), str(pathlib.Path(__file__).with_name("gx_suite.py")),
                                URL.replace("postgres://", "postgresql://")], work),
    }


def once(command, cwd):
    before = psql("SELECT tup_returned FROM pg_stat_database WHERE datname = 'az'")
    psql("SELECT pg_stat_statements_reset()")
    start = time.monotonic()
    child = subprocess.Popen(command, cwd=cwd, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = child.stdout.read().decode(errors="replace")
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    time.sleep(1.1)  # the server publishes its counters at most once a second
    rows = int(psql("SELECT tup_returned FROM pg_stat_database WHERE datname = 'az'")) - int(before)
    statements = int(psql("SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query ~* 'select' AND query !~ 'pg_stat'"))
    if status != 0:
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}:\n{out[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, statements, rows


def main():
    p = argparse.ArgumentParser()
    p.add_argument("dir", type=pathlib.Path)
    p.add_argument("binary")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", default="")
    p.add_argument("--without-peers", action="store_true")
    p.add_argument("--output", type=pathlib.Path, help="append the table there too")
    a = p.parse_args()
    peers = a.dir.resolve()
    runs = commands(peers / "work", os.path.realpath(a.binary), peers)
    if a.without_peers:
        runs = {k: v for k, v in runs.items() if k not in PEERS}
    if a.only:
        runs = {k: v for k, v in runs.items() if any(w in k for w in a.only.split(","))}
    for name, (command, cwd) in runs.items():  # warm
        once(command, cwd)
    results = {name: [] for name in runs}
    for _ in range(a.rounds):
        for name, (command, cwd) in runs.items():
            results[name].append(once(command, cwd))
    floor = statistics.median(r[0] for r in results.get("floor", next(iter(results.values()))))
    lines = []
    messages = int(psql("SELECT count(*) FROM messages"))
    server = psql("SHOW server_version").split()[0]
    lines.append(f"\n{messages:,} messages, {a.rounds} rounds, PostgreSQL {server}, {os.cpu_count()} cores, "
                 f"{datetime.date.today()}\n")
    lines.append("| what | wall s (min–max) | × floor | client CPU s | peak MB | statements | rows read |")
    lines.append("|---|---|---|---|---|---|---|")
    for name, rows in results.items():
        walls = [r[0] for r in rows]
        median = statistics.median(walls)
        lines.append(f"| {name} | {median:.3f} ({min(walls):.3f}–{max(walls):.3f}) | {median / floor:.3f} | "
              f"{statistics.median(r[1] for r in rows):.2f} | {max(r[2] for r in rows):.0f} | {rows[-1][3]} | {rows[-1][4]:,} |")
    print("\n".join(lines))
    if a.output:
        with a.output.open("a") as file:
            file.write("\n".join(lines) + "\n")


main()
