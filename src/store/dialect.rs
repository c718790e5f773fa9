//! The few places where the engines' SQL differs.

use super::Engine;

impl Engine {
    /// Appended to the sub-select that claims a row, so that claimers on PostgreSQL do not wait for each other.
    pub fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }
}

/// `($1, $2, $3), ($4, …)` for a VALUES list of `rows` × `columns`; `Any`'s own builder writes `?`, which
/// PostgreSQL does not take.
pub fn values(rows: usize, columns: usize) -> String {
    let row = |r: usize| {
        let cells: Vec<String> = (1..=columns).map(|c| format!("${}", r * columns + c)).collect();
        format!("({})", cells.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_are_numbered_across_rows() {
        assert_eq!(super::values(2, 2), "($1, $2), ($3, $4)");
    }
}
