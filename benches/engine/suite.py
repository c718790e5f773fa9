"""The common suite: 45 checks over the 14 AgentZero tables, once, and the same thing in every peer's language."""

TABLES = ["organisations", "users", "user_credits", "credit_ledger", "agents", "documents", "document_chunks",
          "subscriptions", "founding_grants", "webhook_events", "conversations", "messages", "memo_summaries",
          "waitlist"]
NOT_NULL = [("users", "email"), ("users", "organisation_id"), ("user_credits", "credits_remaining"),
            ("credit_ledger", "user_id"), ("agents", "organisation_id"), ("agents", "owner_id"),
            ("documents", "agent_id"), ("document_chunks", "document_id"), ("subscriptions", "lemonsqueezy_id"),
            ("conversations", "user_id"), ("messages", "conversation_id"), ("messages", "content"),
            ("webhook_events", "processed_at")]
UNIQUE = [("users", "email"), ("waitlist", "email"), ("founding_grants", "order_id")]
JOINS = [("users", "id", "user_credits", "user_id"), ("user_credits", "user_id", "users", "id"),
         ("users", "organisation_id", "organisations", "id"), ("agents", "owner_id", "users", "id"),
         ("documents", "agent_id", "agents", "id"), ("document_chunks", "document_id", "documents", "id"),
         ("messages", "conversation_id", "conversations", "id"), ("subscriptions", "user_id", "users", "id")]
ACCEPTED = [("subscriptions", "tier", ["pro", "founding", "trial"]), ("messages", "role", ["user", "assistant"]),
            ("credit_ledger", "reason", ["signup", "usage"])]
RULES = [("user_credits", "credits_remaining >= 0"), ("user_credits", "credits_used >= 0"),
         ("document_chunks", "position >= 0")]
FRESH = [("messages", "created_at", 30)]  # days: the data set is made once and measured for a while
COUNT = len(TABLES) + len(NOT_NULL) + len(UNIQUE) + len(JOINS) + len(ACCEPTED) + len(RULES) + len(FRESH)
assert COUNT == 45, COUNT


def quoted(values):
    return ", ".join(f"'{v}'" for v in values)


def row_aggregates(table):
    """What one pass over a table can answer without a join: (expression, is fine when)."""
    yield "count(*)", "> 0"
    for t, c in NOT_NULL:
        if t == table:
            yield f"count(*) FILTER (WHERE {c} IS NULL)", "= 0"
    for t, c, values in ACCEPTED:
        if t == table:
            yield f"count(*) FILTER (WHERE {c} NOT IN ({quoted(values)}))", "= 0"
    for t, rule in RULES:
        if t == table:
            yield f"count(*) FILTER (WHERE NOT ({rule}))", "= 0"
    for t, c, days in FRESH:
        if t == table:
            yield f"(extract(epoch FROM now() - max({c})) > {days * 86400})::int", "= 0"


def unique_sql(table, column):
    return (f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {table} WHERE {column} IS NOT NULL "
            f"GROUP BY {column} HAVING count(*) > 1) d")


def join_sql(table, column, parent, key):
    return (f"SELECT count(*) FROM {table} c WHERE c.{column} IS NOT NULL AND NOT EXISTS "
            f"(SELECT FROM {parent} p WHERE p.{key} = c.{column})")


def floor_sql():
    """What a careful person writes by hand: one SELECT a table, one a join or a unique, one snapshot."""
    yield "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    for table in TABLES:
        yield f"SELECT {', '.join(e for e, _ in row_aggregates(table))} FROM {table};"
    for u in UNIQUE:
        yield unique_sql(*u) + ";"
    for j in JOINS:
        yield join_sql(*j) + ";"
    yield "ROLLBACK;"


def naive_sql():
    for table in TABLES:
        for expression, _ in row_aggregates(table):
            yield f"SELECT {expression} FROM {table};"
    for u in UNIQUE:
        yield unique_sql(*u) + ";"
    for j in JOINS:
        yield join_sql(*j) + ";"


def pgtap_sql():
    yield "BEGIN;"
    yield f"SELECT plan({COUNT});"
    for table in TABLES:
        for expression, fine in row_aggregates(table):
            name = f"{table}: {expression}".replace("'", "''")
            yield f"SELECT ok((SELECT {expression} FROM {table}) {fine}, '{name}');"
    for u in UNIQUE:
        yield f"SELECT ok(({unique_sql(*u)}) = 0, 'unique {u[0]}.{u[1]}');"
    for j in JOINS:
        yield f"SELECT ok(({join_sql(*j)}) = 0, 'join {j[0]}.{j[1]}');"
    yield "SELECT * FROM finish();"
    yield "ROLLBACK;"


def deploywatch_yaml():
    yield "suite: bench"
    yield "tables:"
    for table in TABLES:
        yield f"  {table}:"
        yield "    - row_count:"
        yield "      fail: { below: 1 }"
        columns = [c for t, c in NOT_NULL if t == table]
        if columns:
            yield f"    - not_null: [{', '.join(columns)}]"
        for t, c in UNIQUE:
            if t == table:
                yield f"    - unique: [{c}]"
        for t, c, parent, key in JOINS:
            if t == table:
                yield f"    - join_integrity: {{ columns: [{c}], to: {parent}({key}) }}"
        for t, c, values in ACCEPTED:
            if t == table:
                yield f"    - accepted_values: {{ column: {c}, values: [{', '.join(values)}] }}"
        for i, (t, rule) in enumerate(RULES):
            if t == table:
                yield f"    - row_rule: {rule}"
                yield f"      key: {table}.rule_{i}"
        for t, c, days in FRESH:
            if t == table:
                yield f"    - freshness: {c}"
                yield f"      fail: {{ above: {days}d }}"


def soda_yaml():
    for table in TABLES:
        yield f"checks for {table}:"
        yield "  - row_count > 0"
        for t, c in NOT_NULL:
            if t == table:
                yield f"  - missing_count({c}) = 0"
        for t, c in UNIQUE:
            if t == table:
                yield f"  - duplicate_count({c}) = 0"
        for t, c, parent, key in JOINS:
            if t == table:
                yield f"  - values in ({c}) must exist in {parent} ({key})"
        for t, c, values in ACCEPTED:
            if t == table:
                yield f"  - invalid_count({c}) = 0:"
                yield f"      valid values: [{', '.join(values)}]"
        for i, (t, rule) in enumerate(RULES):
            if t == table:
                yield f"  - rule_{i} = 0:"
                yield f"      rule_{i} expression: count(*) FILTER (WHERE NOT ({rule}))"
        for t, c, days in FRESH:
            if t == table:
                yield f"  - freshness({c}) < {days}d"


def dbt_files():
    """path → text of a dbt project whose sources are the tables and whose tests are the suite."""
    lines = ["version: 2", "sources:", "  - name: az", "    schema: public", "    tables:"]
    for table in TABLES:
        lines += [f"      - name: {table}"]
        columns = {}
        for t, c in NOT_NULL:
            if t == table:
                columns.setdefault(c, []).append("not_null")
        for t, c in UNIQUE:
            if t == table:
                columns.setdefault(c, []).append("unique")
        for t, c, parent, key in JOINS:
            if t == table:
                columns.setdefault(c, []).append(
                    f"relationships: {{arguments: {{to: \"source('az', '{parent}')\", field: {key}}}}}")
        for t, c, values in ACCEPTED:
            if t == table:
                columns.setdefault(c, []).append(f"accepted_values: {{arguments: {{values: [{', '.join(values)}]}}}}")
        if columns:
            lines += ["        columns:"]
            for c, tests in columns.items():
                lines += [f"          - name: {c}", "            data_tests:"] + [f"              - {x}" for x in tests]
    files = {
        "dbt_project.yml": "name: bench\nversion: '1.0'\nprofile: bench\nconfig-version: 2\nflags: {send_anonymous_usage_stats: false}\n",
        "models/sources.yml": "\n".join(lines) + "\n",
    }
    for table in TABLES:
        files[f"tests/count_{table}.sql"] = f"SELECT 1 FROM {{{{ source('az', '{table}') }}}} HAVING count(*) = 0\n"
    for i, (t, rule) in enumerate(RULES):
        files[f"tests/rule_{i}.sql"] = f"SELECT 1 FROM {{{{ source('az', '{t}') }}}} WHERE NOT ({rule})\n"
    for t, c, days in FRESH:
        files[f"tests/fresh_{t}.sql"] = (
            f"SELECT 1 FROM {{{{ source('az', '{t}') }}}} HAVING max({c}) < now() - interval '{days} days'\n")
    return files
