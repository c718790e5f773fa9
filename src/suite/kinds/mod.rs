//! What can be checked: one file for each kind, and the table of them.
//!
//! A kind says how its body is written, what it measures, how its value is said, and which threshold is natural
//! for it. Everything else about a check is the same for all kinds and lives in `build`.

mod accepted_values;
mod backfill;
mod columns;
mod columns_equal;
mod connections;
mod constraints_valid;
mod drift;
mod failed_rows;
mod foreign_keys;
mod freshness;
mod functions;
mod http;
mod http_latency;
mod in_range;
mod indexes_valid;
mod join_integrity;
mod log_count;
mod long_transactions;
mod matches_pattern;
mod metric;
mod migrations_applied;
mod not_null;
mod reconcile;
mod request;
mod rls;
mod row_count;
mod row_rule;
mod secrets;
mod sequences;
mod triggers;
mod unique;
mod value;
mod visible_rows;
mod webhooks;

use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use super::problems::{Mark, Problems};
use super::read::{At, read};
use super::tree::{Entry, Node, Value};
use crate::domain::measure::{RowAggregate, TableName, What};
use crate::domain::measurement::Unit;
use crate::domain::params::{self, Param};
use crate::domain::threshold::{Bound, Threshold};
use crate::domain::wording::Wording;

/// Where in a suite a kind stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Tables,
    Schema,
    Server,
    Queries,
    /// What no query on the watched database says.
    Signals,
}

impl Section {
    pub const ALL: [Self; 5] = [Self::Tables, Self::Schema, Self::Server, Self::Queries, Self::Signals];

    pub fn word(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            Self::Schema => "schema",
            Self::Server => "server",
            Self::Queries => "queries",
            Self::Signals => "signals",
        }
    }
}

/// One kind of check. The type is its body as written in a suite.
trait Kind: DeserializeOwned + JsonSchema {
    const NAME: &'static str;
    const SECTION: Section;
    const UNIT: Unit;
    /// The field that a scalar or a list sets, written in place of the mapping.
    const SHORT: Option<&'static str> = None;
    /// Whether a check that recovered still fails the deploy, unless it says otherwise.
    const LATCH: bool = true;

    fn natural() -> Natural;

    /// One draft for each check that the body asks for; problems are reported to the scope.
    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft>;
}

/// What holds for a check of a kind that says nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Natural {
    pub warn: Option<Threshold>,
    pub fail: Option<Threshold>,
    /// Two for what changes all the time, one for what does not flap.
    pub fail_after: u32,
}

impl Natural {
    /// Nothing may break the rule.
    fn none_allowed(fail_after: u32) -> Self {
        let fail = Threshold { above: Some(Bound::Number(0.0)), ..Threshold::default() };
        Self { warn: None, fail: Some(fail), fail_after }
    }

    /// There is no threshold that would be right for everybody.
    fn to_be_stated(fail_after: u32) -> Self {
        Self { warn: None, fail: None, fail_after }
    }
}

/// A check before its options.
#[derive(Debug)]
pub struct Draft {
    /// Follows `subject.kind` in the derived key; may be empty.
    pub suffix: String,
    pub subject: String,
    pub what: What,
    pub wording: Wording,
}

/// Where a body stands.
pub struct Scope<'a> {
    pub problems: &'a Problems<'a>,
    /// Of the kind's own key.
    pub at: Mark,
    pub table: Option<&'a TableName>,
    pub filter: Option<&'a At<String>>,
    pub tested_rows: Option<&'a At<String>>,
    /// The folder of the suite's file, for kinds that name a folder.
    pub folder: Option<&'a Path>,
}

impl Scope<'_> {
    fn table(&self) -> TableName {
        self.table.cloned().expect("a kind of `tables` is read below a table")
    }

    /// An aggregate over the rows of the table.
    fn rows(&self, suffix: impl Into<String>, aggregate: RowAggregate, wording: Wording) -> Draft {
        let table = self.table();
        Draft {
            suffix: suffix.into(),
            subject: table.to_string(),
            what: What::Rows { table, filter: self.filter.map(|filter| filter.value.clone()), aggregate },
            wording,
        }
    }

    /// `3 of 1,000 rows of users have no email`.
    fn counted(&self, has: &str, have: &str) -> Wording {
        let table = self.table();
        Wording::counted(&format!("row of {table}"), &format!("rows of {table}"), has, have)
    }

    /// Refuses what cannot be one SQL text: open quotes, a second statement, unknown parameters.
    pub fn check_sql(&self, sql: &At<String>) {
        let report = |place: params::Place, length: usize, message: String| {
            let mut at = self.problems.within(sql.at, &sql.value, place);
            at.length = length;
            self.problems.report(at, message);
        };
        let scanned = match params::scan(&sql.value) {
            Ok(scanned) => scanned,
            Err(error) => return report(error.place, 1, format!("this is not valid SQL: {error}")),
        };
        if scanned.empty {
            self.problems.report(sql.at, "expected SQL, found nothing");
        }
        if let Some(place) = scanned.second_statement {
            report(place, 1, "only one statement is run; remove what follows the `;`".to_owned());
        }
        for placeholder in &scanned.placeholders {
            if Param::parse(&placeholder.name).is_none() {
                let names = Param::ALL.map(Param::name);
                let message = super::read::unknown("parameter", &placeholder.name, &names);
                report(placeholder.place, placeholder.name.chars().count() + 1, message);
            }
        }
    }

    /// A table's name, or a reported problem.
    fn table_name(&self, text: &At<String>) -> Option<TableName> {
        let name = TableName::parse(&text.value);
        if name.is_none() {
            let message = format!("expected `table` or `schema.table`, found `{}`", text.value);
            self.problems.report(text.at, message);
        }
        name
    }
}

/// A row of the table of kinds.
pub struct KindEntry {
    pub name: &'static str,
    pub section: Section,
    pub unit: Unit,
    pub latch: bool,
    pub natural: fn() -> Natural,
    pub drafts: fn(&Node, &Scope<'_>) -> Option<Vec<Draft>>,
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl KindEntry {
    const fn of<K: Kind>() -> Self {
        Self {
            name: K::NAME,
            section: K::SECTION,
            unit: K::UNIT,
            latch: K::LATCH,
            natural: K::natural,
            drafts: drafts::<K>,
            schema: schema::<K>,
        }
    }
}

/// Every kind, in the order of the documentation.
pub static KINDS: &[KindEntry] = &[
    KindEntry::of::<row_count::RowCount>(),
    KindEntry::of::<not_null::NotNull>(),
    KindEntry::of::<unique::Unique>(),
    KindEntry::of::<accepted_values::AcceptedValues>(),
    KindEntry::of::<in_range::InRange>(),
    KindEntry::of::<matches_pattern::MatchesPattern>(),
    KindEntry::of::<row_rule::RowRule>(),
    KindEntry::of::<join_integrity::JoinIntegrity>(),
    KindEntry::of::<reconcile::Reconcile>(),
    KindEntry::of::<freshness::Freshness>(),
    KindEntry::of::<backfill::Backfill>(),
    KindEntry::of::<columns_equal::ColumnsEqual>(),
    KindEntry::of::<columns::Columns>(),
    KindEntry::of::<indexes_valid::IndexesValid>(),
    KindEntry::of::<constraints_valid::ConstraintsValid>(),
    KindEntry::of::<foreign_keys::ForeignKeys>(),
    KindEntry::of::<sequences::Sequences>(),
    KindEntry::of::<rls::Rls>(),
    KindEntry::of::<visible_rows::VisibleRows>(),
    KindEntry::of::<functions::Functions>(),
    KindEntry::of::<triggers::Triggers>(),
    KindEntry::of::<migrations_applied::MigrationsApplied>(),
    KindEntry::of::<drift::Drift>(),
    KindEntry::of::<connections::Connections>(),
    KindEntry::of::<long_transactions::LongTransactions>(),
    KindEntry::of::<failed_rows::FailedRows>(),
    KindEntry::of::<value::ValueQuery>(),
    KindEntry::of::<http::Http>(),
    KindEntry::of::<http_latency::HttpLatency>(),
    KindEntry::of::<metric::Metric>(),
    KindEntry::of::<log_count::LogCount>(),
    KindEntry::of::<webhooks::Webhooks>(),
    KindEntry::of::<secrets::Secrets>(),
];

pub fn find(name: &str) -> Option<&'static KindEntry> {
    KINDS.iter().find(|kind| kind.name == name)
}

pub fn names(section: Section) -> impl Iterator<Item = &'static str> {
    KINDS.iter().filter(move |kind| kind.section == section).map(|kind| kind.name)
}

fn drafts<K: Kind>(body: &Node, scope: &Scope<'_>) -> Option<Vec<Draft>> {
    let long = match (&body.value, K::SHORT) {
        (Value::Null | Value::Map(_), _) | (_, None) => body.clone(),
        (_, Some(field)) => {
            let entry = Entry { key: field.to_owned(), at: body.at, node: body.clone() };
            Node { at: body.at, value: Value::Map(vec![entry]) }
        }
    };
    // Nothing written has no place of its own, so what is missing in it is reported at the key.
    let long = if matches!(body.value, Value::Null) { Node { at: scope.at, ..long } } else { long };
    read::<K>(&long, scope.problems).map(|kind| kind.drafts(scope))
}

fn schema<K: Kind>(generator: &mut SchemaGenerator) -> Schema {
    let body = generator.subschema_for::<K>();
    let own = generator.definitions().get(K::schema_name().as_ref()).cloned().unwrap_or_default();
    let mut forms = vec![body.clone().to_value()];
    if let Some(short) = K::SHORT.and_then(|field| own.get("properties")?.get(field)) {
        forms.push(short.clone());
    }
    if own.get("required").is_none() {
        forms.push(serde_json::json!({ "type": "null" }));
    }
    if forms.len() == 1 { body } else { schemars::json_schema!({ "anyOf": forms }) }
}

/// Where nothing else is said, a catalog kind looks at this schema.
fn public() -> String {
    "public".to_owned()
}

/// `credits_remaining >= 0` → `credits_remaining_0`: a stable piece of a key.
fn slug(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    words.join("_").to_lowercase().chars().take(60).collect()
}

/// `a`, `a and b`, `a, b and c`.
fn and_list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}
