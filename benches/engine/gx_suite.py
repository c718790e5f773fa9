"""The common suite in Great Expectations' language; run by the peer's own interpreter. argv: database URL."""
import sys

import great_expectations as gx

import suite as s


def main(url):
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_postgres("pg", connection_string=url)
    failed = count = 0
    e = gx.expectations

    def run(batch, expectations):
        nonlocal failed, count
        result = batch.validate(gx.ExpectationSuite(name=f"s{count}", expectations=expectations))
        count += len(expectations)
        failed += sum(not r.success for r in result.results)
        for broken in (r for r in result.results if not r.success):
            print(str(broken.exception_info)[:2000])

    for table in s.TABLES:
        expectations = [e.ExpectTableRowCountToBeBetween(min_value=1)]
        expectations += [e.ExpectColumnValuesToNotBeNull(column=c) for t, c in s.NOT_NULL if t == table]
        expectations += [e.ExpectColumnValuesToBeUnique(column=c) for t, c in s.UNIQUE if t == table]
        expectations += [e.ExpectColumnValuesToBeInSet(column=c, value_set=v) for t, c, v in s.ACCEPTED if t == table]
        expectations += [e.ExpectColumnValuesToBeBetween(column=r.split()[0], min_value=0) for t, r in s.RULES if t == table]
        expectations += [e.UnexpectedRowsExpectation(unexpected_rows_query=(
            f"SELECT c.* FROM {t} c WHERE c.{c} IS NOT NULL AND NOT EXISTS (SELECT FROM {p} p WHERE p.{k} = c.{c})"))
            for t, c, p, k in s.JOINS if t == table]
        expectations += [e.UnexpectedRowsExpectation(unexpected_rows_query=(
            f"SELECT 1 FROM {t} HAVING max({c}) < now() - interval '{d} days'")) for t, c, d in s.FRESH if t == table]
        asset = source.add_table_asset(table, table_name=table)
        run(asset.add_batch_definition_whole_table("all").get_batch(), expectations)
    assert count == s.COUNT, count
    print(f"{count} expectations, {failed} failed")
    sys.exit(1 if failed else 0)


main(sys.argv[1])
