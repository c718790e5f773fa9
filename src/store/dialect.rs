//! The few places where the engines' SQL differs.

use std::sync::OnceLock;

use sqlx::AnyConnection;

use super::Engine;

impl Engine {
    /// The engine behind a connection.
    pub fn of(c: &AnyConnection) -> Self {
        if c.backend_name() == "SQLite" { Self::Sqlite } else { Self::Postgres }
    }

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

/// `($1, $2, $3), ($4, …)` for a VALUES list of `rows` × `columns`, on both engines.
pub fn values(rows: usize, columns: usize) -> String {
    list(rows, columns, |place| format!("${place}"))
}

fn list(rows: usize, columns: usize, place: impl Fn(usize) -> String) -> String {
    let row = |r: usize| {
        let cells: Vec<String> = (1..=columns).map(|c| place(r * columns + c)).collect();
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

/// A statement for many rows; its texts are made once, one for each engine and size of a piece.
pub struct ManyRows {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [[OnceLock<String>; SIZES.len()]; 2],
}

impl ManyRows {
    /// `head` ends with VALUES.
    pub const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self { head, columns, tail, texts: [const { [const { OnceLock::new() }; SIZES.len()] }; 2] }
    }

    /// The text for a piece of `rows`, one of those that [`piece`] gives. SQLite takes `$17` for a name and looks it
    /// up in a list for each value that is bound; `?` has none.
    pub fn text(&'static self, engine: Engine, rows: usize) -> &'static str {
        let at = SIZES.iter().position(|size| *size == rows).expect("pieces have few sizes");
        let make = |values: String| format!("{} {values} {}", self.head, self.tail);
        match engine {
            Engine::Sqlite => {
                self.texts[0][at].get_or_init(|| make(list(rows, self.columns, |_| "?".to_owned())))
            }
            Engine::Postgres => self.texts[1][at].get_or_init(|| make(values(rows, self.columns))),
        }
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
