//! What a look at a database brings back: tables, what their constraints prove, and what the planner's
//! statistics say of their columns. Enough to propose checks from, and no row was read for it.

use serde::Deserialize;

use super::clock::Timestamp;

/// One schema of a database, as its catalog describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    pub database: String,
    pub server: String,
    pub role: String,
    pub schema: String,
    pub as_of: Timestamp,
    /// There is an `auth` schema: clients talk to the database through row-level security.
    pub has_auth: bool,
    /// There is a `supabase_migrations.schema_migrations` table.
    pub has_migrations: bool,
    /// Functions that belong to no extension, as the kind `functions` writes them:
    /// `deduct_credits(uuid, integer) -> boolean security definer set search_path`.
    pub functions: Vec<String>,
    /// What clients and the product's server may do with tables.
    pub grants: Vec<GrantFacts>,
    /// Publications, each with a table in it.
    pub published: Vec<(String, String)>,
    /// The triggers on `auth.users` that call a function of this schema, as `trigger -> function`.
    pub sign_up_triggers: Vec<String>,
    /// Some column is numbered by a sequence.
    pub has_sequences: bool,
    /// By name.
    pub tables: Vec<TableFacts>,
}

/// A table that is not part of another one and belongs to no extension.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TableFacts {
    pub name: String,
    /// An estimate; `None` where nothing has counted yet.
    pub rows: Option<f64>,
    /// Rows updated and deleted since the server's statistics began.
    pub updated: i64,
    pub deleted: i64,
    /// Why the role cannot look into it: no grant, or row-level security.
    pub unreadable: Option<String>,
    pub columns: Vec<ColumnFacts>,
    /// The columns of each unique index without a condition, the primary key first.
    pub unique: Vec<Vec<String>>,
    pub primary_key: Vec<String>,
    /// The definitions of unique indexes over expressions or with a condition.
    pub loosely_unique: Vec<String>,
    /// The definitions of validated CHECK constraints.
    pub checks: Vec<String>,
    pub foreign_keys: Vec<ForeignKeyFacts>,
    /// The names of all validated constraints: keys, unique, checks and foreign keys.
    #[serde(default)]
    pub constraints: Vec<String>,
    /// The same with what they are, as the server prints it.
    #[serde(default)]
    pub definitions: Vec<ConstraintFacts>,
    /// The valid indexes that belong to no constraint, as `indexes_valid` writes them: `unique users(email)`, and the
    /// names of those that are more than columns.
    #[serde(default)]
    pub indexes: Vec<String>,
    #[serde(default)]
    pub policies: Vec<PolicyFacts>,
    /// The enabled triggers that people made, as `trigger -> function`.
    #[serde(default)]
    pub triggers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ColumnFacts {
    pub name: String,
    /// As `format_type` writes it: `character varying(80)`.
    #[serde(rename = "type")]
    pub type_name: String,
    pub not_null: bool,
    /// Its default as the server prints it; none for a generated column.
    #[serde(default)]
    pub default: Option<String>,
    /// `None` where the table was never analysed or the role may not see it.
    pub stats: Option<ColumnStats>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ColumnStats {
    pub null_fraction: f64,
    /// As in `pg_stats`: the number of distinct values, or minus their share of the rows.
    pub distinct: f64,
    /// The most common values of a text column that has few; empty for others.
    pub common: Vec<String>,
    /// Of a time column whose values differ: its oldest and newest, as sampled.
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ConstraintFacts {
    pub name: String,
    pub definition: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GrantFacts {
    pub table: String,
    /// `public` for everybody.
    pub role: String,
    /// `INSERT, SELECT`.
    pub privileges: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PolicyFacts {
    pub name: String,
    #[serde(default)]
    pub restrictive: bool,
    /// select, insert, update, delete or all.
    pub command: String,
    /// `public` for everybody.
    pub roles: Vec<String>,
    /// Its conditions, as the server prints them.
    pub using: Option<String>,
    pub with_check: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ForeignKeyFacts {
    pub columns: Vec<String>,
    /// `None` where the other table is in another schema.
    pub to_table: Option<String>,
    /// It is the key of Supabase's `auth.users`.
    #[serde(default)]
    pub to_auth_users: bool,
}

impl TableFacts {
    pub fn column(&self, name: &str) -> Option<&ColumnFacts> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// A unique index over this column alone.
    pub fn is_unique(&self, column: &str) -> bool {
        self.unique.iter().any(|columns| columns == &[column])
    }
}
