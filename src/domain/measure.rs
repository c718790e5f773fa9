//! What a check measures, as data: made by `suite`, compiled to SQL by `target`. Nobody else looks inside.

use serde::{Deserialize, Serialize};

use super::signal::Signal;

/// `schema.table`, or a bare table that the search path finds. Quoted by whoever writes SQL from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    pub schema: Option<String>,
    pub name: String,
}

/// One number to be measured, with what surrounds the reading of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    pub what: What,
    /// Skipped where this does not hold.
    pub when: Option<Condition>,
    /// Read in a transaction of its own: heavy, loses consistency with the rest of the scan.
    pub isolated: bool,
    /// Key columns of failing rows to show.
    pub samples: Option<Samples>,
    /// Seconds; the scan's default where absent.
    pub timeout: Option<u32>,
    /// A validated foreign key counts as a proof, though the replication role and disabled triggers bypass it.
    #[serde(default)]
    pub trust_foreign_keys: bool,
}

impl Measure {
    /// What is asked for beside the watched database.
    pub fn signal(&self) -> Option<&Signal> {
        match &self.what {
            What::Signal(signal) => Some(signal),
            _ => None,
        }
    }

    /// A measure with every option at its default.
    pub fn of(what: What) -> Self {
        Self { what, when: None, isolated: false, samples: None, timeout: None, trust_foreign_keys: false }
    }
}

impl TableName {
    /// `users` or `app.users`; quotes are for names that hold a dot: `\"a.b\".users`.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, rest) = part(text.trim())?;
        match rest.strip_prefix('.') {
            None if rest.is_empty() => Some(Self { schema: None, name: first }),
            None => None,
            Some(rest) => match part(rest)? {
                (name, "") => Some(Self { schema: Some(first), name }),
                _ => None,
            },
        }
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// One name, plain or quoted, and what follows it.
fn part(text: &str) -> Option<(String, &str)> {
    let (name, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => text.split_at(text.find('.').unwrap_or(text.len())),
    };
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), rest))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Condition {
    TableExists(TableName),
    ColumnExists(TableName, String),
    /// The role that scans may act as this one.
    MayActAs(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    pub columns: Vec<String>,
    /// Shows the values themselves instead of keyed digests.
    pub reveal: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// An aggregate over the rows of one table; those of one table and any filters fuse into one SELECT.
    Rows { table: TableName, filter: Option<String>, aggregate: RowAggregate },
    /// Something the catalog knows.
    Catalog(Catalog),
    /// Something the server knows.
    Server(Server),
    /// The user's own SQL with `:name` parameters.
    Query(Query),
    /// Nothing that a database knows: measured by `services::signals`, never by `target`.
    Signal(Signal),
}

/// Every variant but `RowCount` and `Freshness` counts violations among the filtered rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RowAggregate {
    RowCount,
    NotNull {
        column: String,
    },
    /// Rows beyond the first of each group of equal, wholly non-NULL keys.
    Unique {
        columns: Vec<String>,
    },
    /// NULL is accepted, as SQL's CHECK does; `not_null` says otherwise.
    AcceptedValues {
        column: String,
        values: Vec<Scalar>,
    },
    InRange {
        column: String,
        min: Option<Scalar>,
        max: Option<Scalar>,
    },
    /// A POSIX regular expression that must match; NULL is accepted.
    MatchesPattern {
        column: String,
        pattern: String,
    },
    /// A SQL condition on a row that must not be false; NULL is accepted, as SQL's CHECK does.
    RowRule {
        expression: String,
    },
    /// Seconds between the newest value and `as_of`.
    Freshness {
        column: String,
    },
    ColumnsEqual {
        left: String,
        right: String,
    },
    /// Rows where the column is still NULL; the detail tells progress and ETA.
    Backfill {
        column: String,
    },
    /// Rows of the table (with non-NULL columns) whose number of partners breaks `partners`.
    JoinIntegrity {
        columns: Vec<String>,
        to: TableName,
        to_columns: Vec<String>,
        to_filter: Option<String>,
        partners: Partners,
    },
    /// Keys where `value` differs from the query's second column (its first is the key).
    Reconcile {
        key: String,
        value: String,
        equals: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Partners {
    AtLeastOne,
    ExactlyOne,
    AtMostOne,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    Text(String),
    Number(String),
    Bool(bool),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "'{text}'"),
            Self::Number(text) => f.write_str(text),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Catalog {
    Rls {
        schema: String,
        tables: Vec<String>,
        allow: Vec<String>,
        require: Vec<(String, Vec<String>)>,
        /// table → policy → what it must be.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        policies: Vec<(String, Vec<(String, PolicyExpectation)>)>,
        /// No other policies than those of `require` and `policies`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        only: bool,
    },
    VisibleRows {
        table: TableName,
        role: String,
        claims: serde_json::Value,
        filter: Option<String>,
    },
    /// table → column → expectation.
    Columns {
        expect: Vec<(TableName, Vec<(String, ColumnExpectation)>)>,
    },
    IndexesValid {
        schema: String,
        require: Vec<String>,
    },
    ConstraintsValid {
        schema: String,
        require: Vec<String>,
        /// constraint → its definition, as the server prints it.
        definitions: Vec<(String, String)>,
        /// Whether unvalidated foreign keys count.
        foreign_keys: bool,
    },
    /// Sequences that give out values which are taken, or soon none.
    Sequences {
        schema: String,
    },
    /// `directory` is read by the caller (a CLI beside the repository) into `files`; else the list CI uploaded.
    MigrationsApplied {
        table: TableName,
        directory: Option<String>,
        files: Option<Vec<String>>,
    },
    Drift {
        schema: String,
        allow: Vec<String>,
    },
    Functions {
        schema: String,
        require: Vec<String>,
    },
    Triggers {
        schema: String,
        require: Vec<(String, Vec<String>)>,
    },
    ForeignKeys {
        schema: String,
        require: Vec<(String, Vec<String>)>,
    },
}

/// What a policy must be; `None` is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyExpectation {
    /// SELECT, INSERT, UPDATE, DELETE or ALL.
    pub command: Option<String>,
    /// The roles that it is for, `public` for everybody.
    pub roles: Option<Vec<String>>,
    /// Its conditions, as the server prints them.
    pub using: Option<String>,
    pub with_check: Option<String>,
    /// It narrows what the permissive ones let through.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restrictive: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ColumnExpectation {
    Absent,
    Present { data_type: Option<String>, nullable: Option<bool>, default: Option<String> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Server {
    /// Percent of `max_connections` in use.
    Connections,
    /// Transactions older than this many seconds.
    LongTransactions { over: u32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Query {
    /// Each row is a violation.
    FailedRows { sql: String, tested: Option<String> },
    /// One row, one column, one number.
    Value { sql: String },
}
