//! The few places where the engines' SQL differs.

use std::sync::OnceLock;

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

/// Few, so that few statements are prepared; and close to each other, since each piece is a round trip.
const SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// The largest piece that `rows` rows are enough for.
pub fn piece(rows: usize) -> usize {
    SIZES.into_iter().find(|size| *size <= rows).unwrap_or(1)
}

/// Cuts `rows` into pieces of the sizes above, so that multi-row statements have a few texts to prepare and not one for
/// each length.
pub fn pieces<T>(mut rows: &[T]) -> Vec<&[T]> {
    let mut pieces = Vec::new();
    while !rows.is_empty() {
        let (piece, rest) = rows.split_at(piece(rows.len()));
        pieces.push(piece);
        rows = rest;
    }
    pieces
}

/// A statement for many rows; its texts are made once, one for each size of a piece.
pub struct ManyRows {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [OnceLock<String>; SIZES.len()],
}

impl ManyRows {
    /// `head` ends with VALUES.
    pub const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self { head, columns, tail, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// The text for a piece of `rows`, one of those that [`piece`] gives.
    pub fn text(&'static self, rows: usize) -> &'static str {
        let at = SIZES.iter().position(|size| *size == rows).expect("pieces have few sizes");
        self.texts[at].get_or_init(|| format!("{} {} {}", self.head, values(rows, self.columns), self.tail))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_are_cut_into_few_sizes() {
        let rows = [0_u8; 86];
        let sizes: Vec<usize> = super::pieces(&rows).iter().map(|piece| piece.len()).collect();
        assert_eq!(sizes, [64, 16, 4, 2]);
    }

    #[test]
    fn values_are_numbered_across_rows() {
        assert_eq!(super::values(2, 2), "($1, $2), ($3, $4)");
    }
}
