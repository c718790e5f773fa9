//! From what was seen to what is worth checking. Pure; what a constraint already proves is left out.

use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, humane};
use crate::domain::drift;
use crate::domain::inspection::{ColumnFacts, Inspection, TableFacts};
use crate::domain::wording::number;

use super::guards;
use super::names;
use super::render::{inline, list, reference};
use super::rights;
use super::{Body, Place, Proposal};

/// Fewer rows than these are too few to conclude from what they have in common.
const ENOUGH: f64 = 20.0;
const HOUR: i64 = 3600;
/// Lengths that a person would write.
const LENGTHS: [(i64, &str); 5] =
    [(6 * HOUR, "6h"), (12 * HOUR, "12h"), (24 * HOUR, "1d"), (72 * HOUR, "3d"), (168 * HOUR, "7d")];

/// Every check that is worth having, table by table, then those of the schema.
pub fn propose(seen: &Inspection) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    let readable: Vec<TableFacts> = readable(seen).into_iter().cloned().collect();
    for table in &readable {
        let mut of = Of { table, all: &readable, schema: &seen.schema, proposals: &mut proposals };
        of.row_count();
        of.not_null();
        of.unique();
        of.references();
        of.companions();
        of.accepted_values();
        of.addresses();
        of.amounts();
        of.freshness(seen);
    }
    // With no table to read, the rest would be an answer to another question.
    if !readable.is_empty() {
        proposals.extend(sign_ups(&seen.schema, &readable));
        proposals.extend(schema(seen));
    }
    proposals
}

fn readable(seen: &Inspection) -> Vec<&TableFacts> {
    let usable = |table: &&TableFacts| table.unreadable.is_none() && !names::is_of_a_tool(&table.name);
    seen.tables.iter().filter(usable).collect()
}

/// One table's turn.
struct Of<'a> {
    table: &'a TableFacts,
    all: &'a [TableFacts],
    schema: &'a str,
    proposals: &'a mut Vec<Proposal>,
}

impl Of<'_> {
    fn add(&mut self, yaml: String, reason: String) -> &mut Proposal {
        self.push(Body::Other { yaml, key: None }, reason)
    }

    fn push(&mut self, body: Body, reason: String) -> &mut Proposal {
        self.proposals.push(Proposal {
            place: Place::Table(self.table.name.clone()),
            body,
            title: None,
            severity: Severity::Critical,
            fail: None,
            reason,
        });
        self.proposals.last_mut().expect("one was just added")
    }

    fn row_count(&mut self) {
        let rows = self.table.rows.unwrap_or_default();
        let about =
            if rows < 1.0 { "no rows yet".to_owned() } else { format!("about {} rows", number(rows)) };
        let passing = names::is_passing(&self.table.name);
        let (drop, why) = if passing {
            ("50%", "they come and go by the table's name")
        } else if self.table.deleted > 0 {
            ("10%", "rows are deleted here now and then")
        } else {
            ("1%", "none was deleted since the server's statistics began")
        };
        let below = if rows >= 1.0 && !passing { "below: 1, " } else { "" };
        let about = format!("{about}; {why}, so a deploy should not lose more than {drop}");
        let added = self.add("row_count:".to_owned(), sentence(&about));
        added.fail = Some(format!("{{ {below}drop_above: {drop} }}"));
        if passing {
            added.severity = Severity::Warning;
        }
    }

    fn not_null(&mut self) {
        let is_proved = |column: &ColumnFacts| {
            column.not_null
                || self
                    .table
                    .checks
                    .iter()
                    .any(|check| check.contains("IS NOT NULL") && mentions(check, &column.name))
        };
        let enough = self.table.rows.is_some_and(|rows| rows >= ENOUGH);
        let candidates = self.table.columns.iter().filter(|column| !is_proved(column));
        let (critical, others): (Vec<&ColumnFacts>, Vec<&ColumnFacts>) = candidates
            .filter(|column| match &column.stats {
                Some(stats) => stats.null_fraction == 0.0,
                // Nothing is known, so the name must say it; the trial shows whether it holds.
                None => names::is_critical(&column.name) && self.table.rows.is_none_or(|rows| rows >= 1.0),
            })
            .partition(|column| names::is_critical(&column.name));
        let others = others.into_iter().filter(|column| enough && !names::is_optional(&column.name));
        for column in critical {
            let why = "May be NULL, and no row is; the product hangs on it by its name";
            self.push(Body::NotNull(column.name.clone()), why.to_owned());
        }
        for column in others {
            let why = "May be NULL, and no row is; a NULL would be news";
            self.push(Body::NotNull(column.name.clone()), why.to_owned()).severity = Severity::Warning;
        }
    }

    fn unique(&mut self) {
        let table = self.table;
        if table.rows.is_none_or(|rows| rows < ENOUGH) {
            return;
        }
        for column in &table.columns {
            let Some(stats) = &column.stats else { continue };
            let share = -stats.distinct / (1.0 - stats.null_fraction).max(f64::EPSILON);
            let differs = stats.distinct < 0.0 && share > 0.999;
            let covered = table.is_unique(&column.name)
                || table.loosely_unique.iter().any(|index| mentions(index, &column.name));
            let refers = self.meant(column).is_some() || self.is_foreign_key(&column.name);
            if differs && !covered && !refers && names::is_natural_key(column) {
                let why = "Every value differs, and no unique index keeps it so";
                self.add(format!("unique: {}", list(&[&column.name])), why.to_owned());
            }
        }
    }

    /// References without a foreign key.
    fn references(&mut self) {
        for column in &self.table.columns {
            let Some(other) = self.meant(column) else { continue };
            let itself = other.name == self.table.name && other.primary_key == [column.name.clone()];
            if itself || self.is_foreign_key(&column.name) {
                continue;
            }
            let Some(to) = reference(self.schema, &other.name, &other.primary_key[0]) else { continue };
            let yaml =
                format!("join_integrity: {{ columns: {}, to: {} }}", list(&[&column.name]), inline(&to));
            let why =
                format!("{} means {} by its name, and no foreign key holds it", column.name, other.name);
            self.add(yaml, why);
        }
    }

    /// Tables that have one row for each row of this one. A foreign key proves only the other direction.
    fn companions(&mut self) {
        let [key] = self.table.primary_key.as_slice() else { return };
        for other in self.all.iter().filter(|other| other.name != self.table.name) {
            let [column] = other.primary_key.as_slice() else { continue };
            let Some(facts) = other.column(column) else { continue };
            let by_name =
                names::meant(self.all, other, facts).is_some_and(|meant| meant.name == self.table.name);
            let by_key = other.foreign_keys.iter().any(|foreign| {
                foreign.columns == [column.clone()] && foreign.to_table.as_deref() == Some(&self.table.name)
            });
            let complete = match (self.table.rows, other.rows) {
                (Some(ours), Some(theirs)) => ours >= 1.0 && theirs >= 0.95 * ours,
                _ => false,
            };
            let Some(to) = reference(self.schema, &other.name, column) else { continue };
            if (by_name || by_key) && complete {
                let yaml = format!(
                    "join_integrity: {{ columns: {}, to: {}, match: exactly_one }}",
                    list(&[key]),
                    inline(&to)
                );
                let why = format!(
                    "{column} is the whole key of {}, which has as many rows; nothing keeps one from getting lost",
                    other.name
                );
                let title = format!("Every row of {} has its row in {}", self.table.name, other.name);
                self.add(yaml, why).title = Some(title);
            }
        }
    }

    fn accepted_values(&mut self) {
        let table = self.table;
        let Some(rows) = table.rows else { return };
        for column in table.columns.iter().filter(|column| names::is_text(&column.type_name)) {
            let Some(stats) = &column.stats else { continue };
            let mut values = stats.common.clone();
            values.sort();
            #[expect(clippy::cast_precision_loss, reason = "there are at most a dozen")]
            let few = values.len() >= 2
                && (values.len() as f64 - stats.distinct).abs() < 0.5
                && rows >= ENOUGH.max(10.0 * values.len() as f64);
            let checked = table.checks.iter().any(|check| mentions(check, &column.name));
            let like_words = |value: &String| {
                let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | ' ');
                !value.is_empty() && value.chars().count() <= 40 && value.chars().all(plain)
            };
            let personal = names::is_critical(&column.name) || column.name.contains("name");
            if few && !checked && !personal && values.iter().all(like_words) {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                let column = inline(&column.name);
                let yaml = format!("accepted_values: {{ column: {column}, values: {} }}", list(&values));
                let why = format!(
                    "These {} values are all there are, and no CHECK says so; add those that your code writes too",
                    values.len()
                );
                self.add(yaml, why).severity = Severity::Warning;
            }
        }
    }

    fn addresses(&mut self) {
        let checked = |name: &str| self.table.checks.iter().any(|check| mentions(check, name));
        let addresses: Vec<&ColumnFacts> =
            self.table.columns.iter().filter(|c| names::is_address(c) && !checked(&c.name)).collect();
        for column in addresses {
            let column = inline(&column.name);
            let yaml = format!(
                "matches_pattern: {{ column: {column}, pattern: '^[^@[:space:]]+@[^@[:space:]]+$' }}"
            );
            self.add(yaml, "An address by its name, and nothing keeps an empty one out".to_owned());
        }
    }

    fn amounts(&mut self) {
        let checked = |name: &str| self.table.checks.iter().any(|check| mentions(check, name));
        let amounts: Vec<&ColumnFacts> =
            self.table.columns.iter().filter(|c| names::is_amount(c) && !checked(&c.name)).collect();
        for column in amounts {
            let yaml = format!("in_range: {{ column: {}, min: 0 }}", inline(&column.name));
            let why = "There is never less than none of it by its name, and no CHECK says so".to_owned();
            self.add(yaml, why).severity = Severity::Warning;
        }
    }

    fn freshness(&mut self, seen: &Inspection) {
        let table = self.table;
        let Some(column) = names::beginning(table) else { return };
        let (Some(stats), Some(rows)) = (&column.stats, table.rows) else { return };
        let (Some(oldest), Some(newest)) = (stats.oldest, stats.newest) else { return };
        if rows < ENOUGH || names::is_passing(&table.name) || newest > seen.as_of {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a gap is a length of seconds between two dates")]
        let gap = (newest.duration_since(oldest).as_secs_f64() / rows) as i64;
        let age = seen.as_of.duration_since(newest).as_secs();
        let wanted = (10 * gap).max(2 * age);
        let Some((_, length)) = LENGTHS.iter().find(|(seconds, _)| *seconds >= wanted) else { return };
        let why = format!(
            "A row came every {} or so, the newest {} ago; longer than {length} without one is news. Make it \
             critical where silence is an outage",
            humane(SignedDuration::from_secs(gap.max(1))),
            humane(SignedDuration::from_secs(age.max(1))),
        );
        let added = self.add(format!("freshness: {}", inline(&column.name)), why);
        added.fail = Some(format!("{{ above: {length} }}"));
        added.severity = Severity::Warning;
    }

    fn meant(&self, column: &ColumnFacts) -> Option<&TableFacts> {
        names::meant(self.all, self.table, column)
    }

    fn is_foreign_key(&self, column: &str) -> bool {
        self.table.foreign_keys.iter().any(|key| key.columns.iter().any(|own| own == column))
    }
}

/// Tables whose key is that of Supabase's `auth.users`: a trigger gives everybody who signs up a row there.
fn sign_ups(schema: &str, tables: &[TableFacts]) -> Vec<Proposal> {
    let of_people = |table: &&TableFacts| {
        let key = table.primary_key.as_slice();
        key.len() == 1 && table.foreign_keys.iter().any(|to| to.to_auth_users && to.columns == key)
    };
    let propose = |table: &TableFacts| {
        let to = reference(schema, &table.name, &table.primary_key[0])?;
        let yaml = format!("join_integrity: {{ columns: [id], to: {}, match: exactly_one }}", inline(&to));
        Some(Proposal {
            place: Place::Elsewhere("auth.users".to_owned()),
            body: Body::Other { yaml, key: None },
            title: Some(format!("Everybody who signed up has a row in {}", table.name)),
            severity: Severity::Critical,
            fail: None,
            reason: format!(
                "The key of {} is that of auth.users, so that a trigger makes its row at sign-up; nothing tells when \
                 it fails",
                table.name
            ),
        })
    };
    tables.iter().filter(of_people).filter_map(propose).collect()
}

fn schema(seen: &Inspection) -> Vec<Proposal> {
    // Keys have letters and digits, schemas whatever they like.
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = seen.schema.chars().map(letter).collect();
    let one = |kind: &str, yaml: String, title: &str, severity: Severity, reason: &str| Proposal {
        place: Place::Schema,
        body: Body::Other { yaml, key: Some(format!("{name}.{kind}")) },
        title: Some(title.to_owned()),
        severity,
        fail: None,
        reason: reason.to_owned(),
    };
    let mut proposals = Vec::new();
    if seen.has_auth {
        proposals.push(one(
            "row_level_security",
            guards::rls(&seen.schema, &readable(seen)),
            "Row-level security protects every table",
            Severity::Critical,
            "There is an auth schema, so clients come past your server; a table without row-level security is open \
             to everybody who has the public key",
        ));
    }
    for guard in guards::guards(seen, &readable(seen)) {
        proposals.push(one(&guard.kind, guard.yaml, &guard.title, Severity::Critical, guard.reason));
    }
    for guard in rights::queries(seen, &readable(seen)) {
        let query = one(&guard.kind, guard.yaml, &guard.title, Severity::Critical, guard.reason);
        proposals.push(Proposal { place: Place::Queries, ..query });
    }
    proposals.push(one(
        "drift",
        format!(
            "drift: {{ schema: {}, allow: [{}] }}",
            inline(&seen.schema),
            drift::OBJECTS.map(|object| format!("add_{object}")).join(", ")
        ),
        "Nothing in the schema was dropped or changed",
        Severity::Warning,
        "What a deploy adds is expected; what it drops or changes is listed, so that somebody looks at it. It compares \
         with the baseline",
    ));
    if seen.has_migrations {
        proposals.push(one(
            "migrations",
            "migrations_applied: { directory: supabase/migrations }".to_owned(),
            "The migrations of the repository are those of the database",
            Severity::Warning,
            "There is a supabase_migrations.schema_migrations; it is compared with your folder of migrations, or \
             with the list that CI uploads",
        ));
    }
    proposals
}

/// Whether a definition names this column, and not only one whose name contains it.
fn mentions(definition: &str, column: &str) -> bool {
    definition.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == column)
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
