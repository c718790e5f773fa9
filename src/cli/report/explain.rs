//! How the numbers were read: which checks share a statement, what was proved, what was carried.

use super::Report;
use crate::cli::Output;

pub fn explain(report: &Report, out: &mut Output) {
    let keys = |pick: &dyn Fn(&super::Row) -> bool| {
        report.rows.iter().filter(|row| pick(row)).map(|row| row.policy.key.to_string()).collect::<Vec<_>>()
    };
    for row in report.rows.iter() {
        if let Some(constraint) = &row.observation.proved {
            out.line(&format!("proved  {} by {constraint}", row.policy.key));
        }
    }
    for key in keys(&|row| row.observation.carried) {
        out.line(&format!("carried {key}"));
    }
    for row in &report.rows {
        if let (None, Some(statement)) = (&row.observation.proved, &row.observation.statement) {
            out.line(&format!("read    {}", row.policy.key));
            for line in statement.lines() {
                out.line(&format!("        {line}"));
            }
        }
    }
    out.line("");
}
