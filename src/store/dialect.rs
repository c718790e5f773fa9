//! The few places where the engines' SQL differs.

use super::Engine;

impl Engine {
    /// Lets one process migrate at a time, until its transaction ends. SQLite's one writer is lock enough.
    pub fn migration_lock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT CAST(pg_advisory_xact_lock(4827345120345) AS TEXT)"),
        }
    }

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

/// Cuts `rows` into pieces of 64, 16, 4 and 1, so that multi-row statements have four texts to prepare and
/// not one for each length.
pub fn pieces<T>(mut rows: &[T]) -> Vec<&[T]> {
    let mut pieces = Vec::new();
    while !rows.is_empty() {
        let size = [64, 16, 4, 1].into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
        let (piece, rest) = rows.split_at(size);
        pieces.push(piece);
        rows = rest;
    }
    pieces
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_are_cut_into_few_sizes() {
        let rows = [0_u8; 86];
        let sizes: Vec<usize> = super::pieces(&rows).iter().map(|piece| piece.len()).collect();
        assert_eq!(sizes, [64, 16, 4, 1, 1]);
    }

    #[test]
    fn values_are_numbered_across_rows() {
        assert_eq!(super::values(2, 2), "($1, $2), ($3, $4)");
    }
}
