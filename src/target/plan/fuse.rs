//! Fusing: all aggregates of one table in one SELECT, so that it is read once however many checks it has.

use super::super::Fusion;
use super::rows::{RowSql, Shape};
use super::sql::{Dialect, and, idents};

/// One statement and the checks (by position in the scan) that it answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// For each check: where it is, the column of its value, the column of the rows it tested.
    pub members: Vec<Member>,
    pub sql: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub check: usize,
    pub value: usize,
    pub tested: Option<usize>,
}

/// Deals checks out to statements: those of one table together, those that cannot share alone.
pub fn units(checks: &[(usize, &RowSql)], dialect: Dialect, fusion: Fusion) -> Vec<Unit> {
    let mut groups: Vec<(String, Vec<(usize, &RowSql)>)> = Vec::new();
    let mut alone = Vec::new();
    for (index, row) in checks {
        let alone_by_nature = matches!(row.shape, Shape::Alone { .. });
        let joins = matches!(row.shape, Shape::Violations { join: Some(_), .. });
        if alone_by_nature || fusion == Fusion::Off || (joins && fusion == Fusion::WithoutJoins) {
            alone.push(single(*index, row, dialect));
            continue;
        }
        match groups.iter_mut().find(|(table, _)| *table == row.table) {
            Some((_, members)) => members.push((*index, row)),
            None => groups.push((row.table.clone(), vec![(*index, row)])),
        }
    }
    let fused = groups.into_iter().map(|(_, members)| fuse(&members, dialect));
    fused.chain(alone).collect()
}

/// The statement of one check by itself.
pub fn single(index: usize, row: &RowSql, dialect: Dialect) -> Unit {
    match &row.shape {
        Shape::Alone { measure, .. } => {
            Unit { members: vec![Member { check: index, value: 0, tested: Some(1) }], sql: measure.clone() }
        }
        _ => fuse(&[(index, row)], dialect),
    }
}

/// The statement that lists what is wrong, as a person would write it; `None` where nothing can be listed.
pub fn failing(row: &RowSql, columns: &[String]) -> Option<String> {
    let select = if columns.is_empty() { format!("{}.*", row.name) } else { idents(columns) };
    let (condition, join) = match &row.shape {
        Shape::Alone { failing, .. } => return Some(failing.clone()),
        Shape::Count | Shape::Newest { .. } => return None,
        Shape::Nulls { column } => (format!("{column} IS NULL"), None),
        Shape::Violations { violated, join } => (numbered(violated, 0), join.as_ref()),
    };
    let join = join
        .map(|j| numbered(&format!(" LEFT JOIN {} AS dw_j\u{1} ON {}", j.side, j.on), 0))
        .unwrap_or_default();
    let condition = and(&[row.filter.as_deref(), Some(&condition)])?;
    Some(format!("SELECT {select} FROM {}{join} WHERE {condition}", row.table))
}

/// How many rows have several partners where exactly one is demanded; `None` where that cannot be.
pub fn several(row: &RowSql) -> Option<String> {
    let several = row.several.as_deref().filter(|condition| *condition != "false")?;
    let Shape::Violations { join: Some(join), .. } = &row.shape else { return None };
    let join = numbered(&format!(" LEFT JOIN {} AS dw_j\u{1} ON {}", join.side, join.on), 0);
    let condition = and(&[row.filter.as_deref(), Some(&numbered(several, 0))])?;
    Some(format!("SELECT count(*) AS v FROM {}{join} WHERE {condition}", row.table))
}

fn fuse(checks: &[(usize, &RowSql)], dialect: Dialect) -> Unit {
    let mut statement = Statement::default();
    // One filter for all narrows the read itself; different ones narrow each aggregate.
    let common = checks[0].1.filter.clone();
    let shared = checks.iter().all(|(_, row)| row.filter == common);
    let members = checks
        .iter()
        .map(|(index, row)| {
            let filter = if shared { None } else { row.filter.as_deref() };
            let (value, tested) = statement.add(row, filter, dialect);
            Member { check: *index, value, tested }
        })
        .collect();
    let columns: Vec<String> =
        statement.columns.iter().enumerate().map(|(i, sql)| format!("{sql} AS c{i}")).collect();
    let condition = match (&common, shared) {
        (Some(filter), true) => format!(" WHERE {filter}"),
        _ => String::new(),
    };
    // One column a line, for who reads it in a plan or a log.
    let apart = if columns.len() > 1 { "\n" } else { " " };
    let sql = format!(
        "SELECT {}{apart}FROM {}{}{condition}",
        columns.join(",\n  "),
        checks[0].1.table,
        statement.joins.iter().enumerate().map(|(n, join)| numbered(join, n)).collect::<String>()
    );
    Unit { members, sql }
}

#[derive(Default)]
struct Statement {
    columns: Vec<String>,
    /// With U+0001 for their own position.
    joins: Vec<String>,
}

impl Statement {
    fn add(&mut self, row: &RowSql, filter: Option<&str>, dialect: Dialect) -> (usize, Option<usize>) {
        let only = filter.map(|f| format!(" FILTER (WHERE {f})")).unwrap_or_default();
        let all = format!("count(*){only}");
        match &row.shape {
            Shape::Count => (self.column(all), None),
            Shape::Nulls { column } => {
                let all_at = self.column(all.clone());
                (self.column(format!("count(*){only} - count({column}){only}")), Some(all_at))
            }
            Shape::Newest { column, data_type } => {
                (self.column(dialect.newest(column, data_type, &only)), None)
            }
            Shape::Violations { violated, join } => {
                let violated = match join {
                    Some(join) => {
                        let n = self.join(format!(" LEFT JOIN {} AS dw_j\u{1} ON {}", join.side, join.on));
                        numbered(violated, n)
                    }
                    None => violated.clone(),
                };
                let condition = and(&[filter, Some(&violated)]).unwrap_or(violated);
                let tested = self.column(all);
                (self.column(format!("count(*) FILTER (WHERE {condition})")), Some(tested))
            }
            Shape::Alone { .. } => unreachable!("a statement of its own is not fused"),
        }
    }

    fn column(&mut self, sql: String) -> usize {
        position_or_push(&mut self.columns, sql)
    }

    fn join(&mut self, sql: String) -> usize {
        position_or_push(&mut self.joins, sql)
    }
}

fn position_or_push(list: &mut Vec<String>, item: String) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

fn numbered(sql: &str, n: usize) -> String {
    sql.replace("\u{1}", &n.to_string())
}
