//! `sequences`: those behind the column that they number, so that the next INSERT fails, and those that run out.

use serde::Deserialize;

use crate::domain::measurement::Measured;
use crate::domain::wording::{number, percent};

use super::{Ask, ObjectError};
use crate::target::plan::sql::{ident, literal};

/// Above this share of its values a sequence needs a wider column soon.
const NEARLY_FULL: f64 = 90.0;

#[derive(Deserialize)]
struct Sequence {
    schema: String,
    name: String,
    table_schema: String,
    table: String,
    column: String,
    data_type: String,
    increment: i64,
    /// The last value that both the sequence and the column can hold.
    most: i64,
    cycles: bool,
    /// A unique index begins with the column: its greatest value is found without reading the table, and a value
    /// that is taken is refused.
    indexed: bool,
    /// The role may read both and sees every row.
    readable: bool,
}

/// Owned by a column, or in its default.
const SEQUENCES: &str = "
SELECT json_build_object('schema', sn.nspname, 'name', s.relname, 'table_schema', n.nspname, 'table', c.relname,
  'column', a.attname, 'data_type', format_type(a.atttypid, a.atttypmod), 'increment', q.seqincrement,
  'most', least(q.seqmax, CASE a.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647
     ELSE q.seqmax END),
  'cycles', q.seqcycle,
  'indexed', EXISTS (SELECT FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am m ON m.oid = ic.relam
     WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
       AND m.amname = 'btree'),
  'readable', has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(sn.oid, 'USAGE')
     AND has_sequence_privilege(s.oid, 'SELECT') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
     AND NOT row_security_active(c.oid))::text
FROM (
  SELECT objid AS sequence, refobjid AS owner, refobjsubid AS attnum FROM pg_depend
  WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND refobjsubid > 0
  UNION
  SELECT d.refobjid, f.adrelid, f.adnum FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
  WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass) AS used
JOIN pg_class s ON s.oid = used.sequence AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_sequence q ON q.seqrelid = s.oid
JOIN pg_class c ON c.oid = used.owner AND c.relkind IN ('r', 'p') AND NOT c.relispartition
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = used.attnum AND NOT a.attisdropped
WHERE n.nspname = $1 AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
  AND s.relpersistence <> 't'
ORDER BY c.relname, a.attnum, s.relname";

#[derive(Deserialize)]
struct Position {
    sequence: usize,
    /// What it gives next, as text: a value may be greater than JSON's numbers.
    next: String,
    /// The greatest value of the column; none where it has no row or was not looked up.
    greatest: Option<String>,
}

pub async fn sequences(ask: &mut Ask<'_>, schema: &str) -> Result<Measured, ObjectError> {
    ask.need_schema(schema).await?;
    let found: Vec<Sequence> = ask.rows(SEQUENCES, &[schema]).await?;
    let readable = |(_, sequence): &(usize, &Sequence)| sequence.readable && sequence.increment > 0;
    let positions: Vec<String> = found.iter().enumerate().filter(readable).map(position).collect();
    let positions: Vec<Position> = match positions.is_empty() {
        true => Vec::new(),
        false => ask.rows(&positions.join("\nUNION ALL "), &[]).await?,
    };
    let problems: Vec<String> = positions
        .iter()
        .filter_map(|position| found.get(position.sequence).and_then(|of| problem(of, position)))
        .collect();
    let mut measured = Measured::of_problems(problems);
    let unseen: Vec<&str> = found.iter().filter(|s| !s.readable).map(|s| s.name.as_str()).collect();
    if !unseen.is_empty() {
        let role = ident(&ask.session.facts.role);
        measured.notes.push(format!(
            "{} could not be looked at: GRANT SELECT ON ALL SEQUENCES IN SCHEMA {} TO {role}, which must see every \
             row of their tables",
            unseen.join(", "),
            ident(schema)
        ));
    }
    Ok(measured)
}

/// A sequence belongs to no snapshot: it is read after it, so it is never behind a row of it that took its number.
fn position((index, sequence): (usize, &Sequence)) -> String {
    let greatest = match sequence.indexed {
        true => format!(
            "(SELECT max({}) FROM {}.{})",
            ident(&sequence.column),
            ident(&sequence.table_schema),
            ident(&sequence.table)
        ),
        false => "NULL".to_owned(),
    };
    format!(
        "SELECT json_build_object('sequence', {index}, 'next', (last_value + CASE WHEN is_called THEN {} ELSE 0 END)::text, \
         'greatest', ({greatest})::text)::text FROM {}.{}",
        sequence.increment,
        ident(&sequence.schema),
        ident(&sequence.name)
    )
}

fn problem(sequence: &Sequence, position: &Position) -> Option<String> {
    let (name, table, column) = (&sequence.name, &sequence.table, &sequence.column);
    let next: i128 = position.next.parse().ok()?;
    let greatest: Option<i128> =
        position.greatest.as_ref().and_then(|text| text.split('.').next()?.parse().ok());
    if let Some(greatest) = greatest.filter(|greatest| *greatest >= next) {
        let call = format!("{}.{}", ident(&sequence.schema), ident(name));
        #[expect(clippy::cast_precision_loss, reason = "a distance, for people")]
        let behind = number((greatest - next + 1) as f64);
        return Some(format!(
            "sequence {name} is {behind} behind {table}.{column}, so that an INSERT gets a number that is taken: \
             SELECT setval({}, max({})) FROM {}.{}",
            literal(&call),
            ident(column),
            ident(&sequence.table_schema),
            ident(table)
        ));
    }
    #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
    let used = 100.0 * (next - 1) as f64 / sequence.most as f64;
    (used > NEARLY_FULL && !sequence.cycles).then(|| {
        format!(
            "sequence {name} has given out {} of what {table}.{column} can hold as {}: make the column wider",
            percent(used),
            sequence.data_type
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(most: i64) -> Sequence {
        Sequence {
            schema: "public".into(),
            name: "Orders_id_seq".into(),
            table_schema: "public".into(),
            table: "Orders".into(),
            column: "id".into(),
            data_type: "integer".into(),
            increment: 1,
            most,
            cycles: false,
            indexed: true,
            readable: true,
        }
    }

    fn at(next: i64, greatest: Option<i64>) -> Position {
        Position { sequence: 0, next: next.to_string(), greatest: greatest.map(|g| g.to_string()) }
    }

    #[test]
    fn a_number_that_is_taken_and_a_sequence_that_runs_out_are_told() {
        assert_eq!(problem(&sequence(1000), &at(41, Some(40))), None);
        assert_eq!(problem(&sequence(1000), &at(1, None)), None);
        let behind = problem(&sequence(1000), &at(6, Some(40))).unwrap();
        assert!(
            behind.contains("is 35 behind Orders.id") && behind.contains("'\"public\".\"Orders_id_seq\"'"),
            "{behind}"
        );
        let full = problem(&sequence(1000), &at(951, Some(950))).unwrap();
        assert!(full.contains("95% of what Orders.id can hold as integer"), "{full}");
    }
}
