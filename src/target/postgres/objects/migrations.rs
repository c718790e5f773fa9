//! `migrations_applied`: the migrations of the repository and those of the database are the same.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::domain::measure::TableName;
use crate::domain::measurement::Measured;
use crate::target::plan::sql::ident;

use super::super::catalog;
use super::{Ask, ObjectError};

#[derive(Deserialize)]
struct Applied {
    version: String,
}

pub async fn applied(
    ask: &mut Ask<'_>,
    table: &TableName,
    files: Option<&[String]>,
) -> Result<Measured, ObjectError> {
    let Some(files) = files else {
        let reason = "no list of migrations was given: run `check` beside the repository, \
                      or `deploy start --migrations DIR`";
        return Ok(Measured { skipped: Some(reason.into()), ..Measured::default() });
    };
    let relations = catalog::load(ask.session, std::slice::from_ref(table)).await?;
    let relation = relations.need(table)?;
    relation.need_column("version")?;
    let sql = format!(
        "SELECT json_build_object('version', {}::text)::text FROM {} ORDER BY 1",
        ident("version"),
        relation.sql()
    );
    let applied: Vec<Applied> = ask.rows(&sql, &[]).await?;
    Ok(compare(files, &applied.into_iter().map(|a| a.version).collect()))
}

fn compare(files: &[String], applied: &BTreeSet<String>) -> Measured {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let mut stamps: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in files {
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let digits = name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (stamp, rest) = name.split_at(digits);
        if stamp.is_empty() || !rest.starts_with('_') || !rest.ends_with(".sql") {
            notes.push(format!("{name} is not named <timestamp>_<name>.sql, so it is never applied"));
            continue;
        }
        if stamp.len() != 14 {
            notes.push(format!("{name} has a stamp of {} digits, not 14", stamp.len()));
        }
        stamps.entry(stamp).or_default().push(name);
    }
    for (stamp, names) in &stamps {
        if names.len() > 1 {
            problems.push(format!("{} share one timestamp, so only one is recorded", names.join(" and ")));
        }
        if !applied.contains(*stamp) {
            problems.push(format!("{} has not been applied", names.join(" and ")));
        }
    }
    for version in applied.iter().filter(|version| !stamps.contains_key(version.as_str())) {
        problems.push(format!("migration {version} was applied, but there is no such file"));
    }
    Measured { notes, ..Measured::of_problems(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named() {
        let files = [
            "supabase/migrations/20260101000000_a.sql",
            "20260102000000_b.sql",
            "20260102000000_c.sql",
            "20260103_d.sql",
            "readme.sql",
        ]
        .map(str::to_owned);
        let applied =
            ["20260101000000", "20260102000000", "20260103", "20250101000000"].map(str::to_owned).into();
        let measured = compare(&files, &applied);
        assert_eq!(measured.value, Some(2.0));
        assert_eq!(
            measured.detail.as_deref(),
            Some(
                "20260102000000_b.sql and 20260102000000_c.sql share one timestamp, so only one is recorded; \
                 migration 20250101000000 was applied, but there is no such file"
            )
        );
        assert_eq!(
            measured.notes,
            [
                "20260103_d.sql has a stamp of 8 digits, not 14",
                "readme.sql is not named <timestamp>_<name>.sql, so it is never applied"
            ]
        );
        assert_eq!(compare(&files[..2], &["20260101000000".to_owned()].into()).value, Some(1.0));
    }
}
