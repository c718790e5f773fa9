//! From one item of a suite to its checks: which kind it is, which options hold, what is left to refuse.

use std::path::Path;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::amount::Votes;
use super::format::{Defaults, ModeWord, Own, ThresholdSpec, Trust};
use super::kinds::{self, Draft, KindEntry, Scope, Section};
use super::problems::{Mark, Problems, did_you_mean};
use super::read::{At, read};
use super::tree::{Entry, Node, Value};
use crate::domain::check::{Check, CheckPolicy, Measure, Mode};
use crate::domain::clock::Timestamp;
use crate::domain::measure::{Condition, Samples, TableName, What};
use crate::domain::measurement::Unit;
use crate::domain::threshold::{Bound, Rule, Threshold};

/// What the whole file says.
pub struct Frame<'a> {
    pub problems: &'a Problems<'a>,
    pub suite: &'a str,
    pub owner: Option<&'a str>,
    pub defaults: &'a Defaults,
    pub folder: Option<&'a Path>,
}

/// A check and where it was written.
pub struct Placed {
    pub check: Check,
    pub at: Mark,
}

/// Names of the options, taken from the types that read them.
static DEFAULTS: LazyLock<Vec<String>> = LazyLock::new(|| fields(&schemars::schema_for!(Defaults)));
static OWN: LazyLock<Vec<String>> = LazyLock::new(|| fields(&schemars::schema_for!(Own)));

fn fields(schema: &schemars::Schema) -> Vec<String> {
    let properties = schema.get("properties").and_then(serde_json::Value::as_object);
    properties.into_iter().flat_map(|map| map.keys().cloned()).collect()
}

/// The checks of one item; what is wrong with it is reported.
pub fn item(frame: &Frame<'_>, section: Section, table: Option<&TableName>, node: &Node) -> Vec<Placed> {
    let Some(parts) = Parts::of(frame.problems, section, node) else { return Vec::new() };
    let own = read::<Own>(&parts.own, frame.problems);
    let options = read::<Defaults>(&parts.options, frame.problems);
    let (kind, body) = (parts.kind, parts.body);
    let at = body.at;
    let no_own = Own::default();
    let scope = Scope {
        problems: frame.problems,
        at,
        table,
        filter: own.as_ref().unwrap_or(&no_own).filter.as_ref(),
        tested_rows: own.as_ref().unwrap_or(&no_own).tested_rows.as_ref(),
        folder: frame.folder,
    };
    if let Some(filter) = scope.filter {
        scope.check_sql(filter);
    }
    let drafts = (kind.drafts)(&body.node, &scope);
    let (Some(own), Some(options), Some(drafts)) = (own, options, drafts) else { return Vec::new() };
    let maker = Maker { frame, kind, at, own: &own, options: &options };
    maker.refuse_misplaced(section);
    let many = drafts.len() > 1;
    drafts
        .into_iter()
        .filter_map(|draft| maker.check(draft, table, many))
        .map(|check| Placed { check, at })
        .collect()
}

/// An item taken apart: its kind, and its options as mappings of their own.
struct Parts {
    kind: &'static KindEntry,
    body: Entry,
    own: Node,
    options: Node,
}

impl Parts {
    fn of(problems: &Problems<'_>, section: Section, node: &Node) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => entries.clone(),
            // `- row_count`, where a kind needs nothing more.
            Value::Text(word) => {
                let nothing = Node { at: node.at, value: Value::Null };
                vec![Entry { key: word.clone(), at: node.at, node: nothing }]
            }
            _ => {
                problems.report(
                    node.at,
                    format!("expected a check such as `not_null: [email]`, found {}", node.noun()),
                );
                return None;
            }
        };
        let (mut own, mut options, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        let mut stranger = false;
        for entry in entries {
            match kinds::find(&entry.key) {
                _ if OWN.contains(&entry.key) => own.push(entry),
                _ if DEFAULTS.contains(&entry.key) => options.push(entry),
                Some(kind) if kind.section == section => bodies.push((kind, entry)),
                other => {
                    stranger = true;
                    problems.report(entry.at, misplaced(&entry.key, other, section));
                }
            }
        }
        let mapping = |entries| Node { at: node.at, value: Value::Map(entries) };
        let mut bodies = bodies.into_iter();
        match (bodies.next(), bodies.next()) {
            (Some((kind, body)), None) => {
                (!stranger).then(|| Self { kind, body, own: mapping(own), options: mapping(options) })
            }
            (Some((first, _)), Some((second, body))) => {
                let (first, second) = (first.name, second.name);
                problems.report(
                    body.at,
                    format!(
                        "`{first}` and `{second}` in one check; write `- {second}: …` as an item of its own"
                    ),
                );
                None
            }
            (None, _) => {
                if !stranger {
                    let list = kinds::names(section).collect::<Vec<_>>().join("`, `");
                    problems.report(
                        node.at,
                        format!("this check says nothing to measure; one of `{list}` is needed"),
                    );
                }
                None
            }
        }
    }
}

fn misplaced(word: &str, known: Option<&KindEntry>, section: Section) -> String {
    if let Some(kind) = known {
        let belongs = kind.section.word();
        return format!("`{word}` does not belong under `{}:` but under `{belongs}:`", section.word());
    }
    let options = OWN.iter().chain(DEFAULTS.iter()).map(String::as_str);
    let near = did_you_mean(word, kinds::names(section).chain(options));
    if near.is_empty() {
        let list = kinds::names(section).collect::<Vec<_>>().join("`, `");
        format!("unknown kind or option `{word}`; the kinds of `{}:` are `{list}`", section.word())
    } else {
        format!("unknown kind or option `{word}`{near}")
    }
}

struct Maker<'a> {
    frame: &'a Frame<'a>,
    kind: &'static KindEntry,
    at: Mark,
    own: &'a Own,
    options: &'a Defaults,
}

impl Maker<'_> {
    fn report(&self, at: Mark, message: impl Into<String>) {
        self.frame.problems.report(at, message);
    }

    /// The item's own option, else the file's.
    fn option<T: Clone>(&self, pick: impl Fn(&Defaults) -> &Option<T>) -> Option<T> {
        pick(self.options).clone().or_else(|| pick(self.frame.defaults).clone())
    }

    /// Options that mean nothing for this kind are refused, since they would be trusted.
    fn refuse_misplaced(&self, section: Section) {
        let name = self.kind.name;
        if let Some(filter) = &self.own.filter
            && section != Section::Tables
            && name != "visible_rows"
        {
            self.report(filter.at, format!("`where` filters the rows of a table; {name} reads none"));
        }
        if let Some(tested) = &self.own.tested_rows
            && name != "failed_rows"
        {
            self.report(
                tested.at,
                format!("`tested_rows` belongs to `failed_rows`; {name} counts by itself"),
            );
        }
        if section == Section::Signals {
            if let Some(when) = &self.own.when {
                self.report(when.at, format!("`when` looks at the watched database; {name} does not ask it"));
            }
            if self.own.isolated.is_some() {
                self.report(self.at, format!("`isolated` is about transactions; {name} needs none"));
            }
        }
        let has_keys = match section {
            Section::Tables => !matches!(name, "row_count" | "freshness"),
            Section::Queries => name == "failed_rows",
            Section::Schema | Section::Server | Section::Signals => false,
        };
        if let Some(samples) = &self.own.samples {
            if !has_keys {
                self.report(self.at, format!("`samples` shows failing rows; {name} has none"));
            } else if samples.columns.is_empty() {
                self.report(self.at, "`samples` names no column; list the key columns to show");
            }
        }
    }

    fn check(&self, draft: Draft, table: Option<&TableName>, many: bool) -> Option<Check> {
        let natural = (self.kind.natural)();
        let (warn, fail) = match (&self.own.warn, &self.own.fail) {
            (None, None) => (natural.warn, natural.fail),
            (warn, fail) => (self.threshold(warn.as_ref()), self.threshold(fail.as_ref())),
        };
        if warn.is_none() && fail.is_none() {
            if self.own.warn.is_none() && self.own.fail.is_none() {
                let name = self.kind.name;
                self.report(
                    self.at,
                    format!("{name} has no threshold that suits everybody; say when it breaks, such as `fail: {}`", example(self.kind.unit)),
                );
            }
            return None;
        }
        let key = self.key(&draft, table, many)?;
        let (subject, what, wording) = (draft.subject, draft.what, draft.wording);
        let measure = Measure {
            when: self.own.when.as_ref().and_then(|when| self.condition(when)),
            isolated: self.own.isolated.unwrap_or(false),
            samples: self
                .own
                .samples
                .as_ref()
                .map(|samples| Samples { columns: samples.columns.clone(), reveal: samples.reveal }),
            timeout: self.option(|o| &o.timeout).map(|length| length.value.0),
            trust_foreign_keys: self.option(|o| &o.trust) == Some(Trust::ForeignKeys),
            ..Measure::of(what)
        };
        let mut policy = CheckPolicy::new(&key, self.kind.name);
        policy.suite = self.frame.suite.to_owned();
        policy.subject = subject;
        policy.wording = wording;
        policy.title.clone_from(&self.own.title);
        policy.fail_after = natural.fail_after;
        policy.latch = self.kind.latch;
        policy.warn = warn;
        policy.fail = fail;
        // A ratio of 3.2 is no small count: only counts have a floor for their percentages.
        if !matches!(self.kind.unit, Unit::Violations | Unit::Rows) {
            policy.min_baseline = 0.0;
        }
        self.apply_options(&mut policy);
        policy.definition_hash = definition_hash(&policy, &measure);
        Some(Check { policy, measure })
    }

    fn apply_options(&self, policy: &mut CheckPolicy) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        let positive = |name: &str, value: Option<At<u32>>| {
            let value = value?;
            if value.value == 0 {
                self.report(value.at, format!("`{name}` must be at least 1"));
            }
            Some(value.value)
        };
        let lasting = |name: &str, value: Option<At<super::amount::Length>>| {
            let value = value?;
            if value.value.0 == 0 {
                self.report(value.at, format!("`{name}` must be longer than nothing"));
            }
            Some(value.value.0)
        };
        set(&mut policy.severity, self.option(|o| &o.severity));
        if let Some(stages) = self.option(|o| &o.stages) {
            if stages.value.is_empty() {
                self.report(stages.at, "`stages` is empty, so the check would never run");
            }
            policy.stages = stages.value;
        }
        set(&mut policy.every, lasting("every", self.option(|o| &o.every)));
        set(&mut policy.timeout, lasting("timeout", self.option(|o| &o.timeout)));
        set(&mut policy.initial_delay, self.option(|o| &o.initial_delay).map(|length| length.0));
        if let Some(At { value: votes, at }) = self.option(|o| &o.fail_after) {
            let problem = match votes {
                Votes { fails: 0, .. } => Some("`fail_after` must be at least 1"),
                Votes { fails, of } if of != 0 && fails > of => {
                    Some("`fail_after` asks for more fails than runs")
                }
                Votes { of: 33.., .. } => Some("`fail_after` looks back over 32 runs at most"),
                _ => None,
            };
            if let Some(problem) = problem {
                self.report(at, problem);
            }
            (policy.fail_after, policy.fail_within) = (votes.fails, votes.of);
        }
        set(&mut policy.settle, self.option(|o| &o.settle).map(|length| length.0));
        set(&mut policy.recover_after, positive("recover_after", self.option(|o| &o.recover_after)));
        policy.failure_budget = self.option(|o| &o.failure_budget);
        set(&mut policy.min_coverage, self.option(|o| &o.min_coverage).map(|share| share.0));
        set(&mut policy.on_no_data, self.option(|o| &o.on_no_data));
        set(&mut policy.baseline, self.option(|o| &o.baseline));
        set(&mut policy.min_baseline, self.option(|o| &o.min_baseline));
        set(&mut policy.latch, self.option(|o| &o.latch));
        set(&mut policy.error_limit, self.option(|o| &o.error_limit));
        policy.owner = self.option(|o| &o.owner).or_else(|| self.frame.owner.map(str::to_owned));
        policy.runbook = self.option(|o| &o.runbook);
        let mut tags = self.frame.defaults.tags.clone().unwrap_or_default();
        tags.extend(self.options.tags.clone().unwrap_or_default());
        tags.dedup();
        policy.tags = tags;
        policy.mode = self.mode();
    }

    fn mode(&self) -> Mode {
        let until = self.option(|o| &o.until);
        match (self.option(|o| &o.mode), until) {
            (Some(At { value: ModeWord::Muted, .. }), Some(until)) => match instant(&until.value) {
                Some(until) => return Mode::Muted { until },
                None => self.report(
                    until.at,
                    format!(
                        "expected an instant such as `2026-05-01T12:00:00Z` or a date, found `{}`",
                        until.value
                    ),
                ),
            },
            (Some(mode @ At { value: ModeWord::Muted, .. }), None) => {
                self.report(mode.at, "a mute always ends: say when with `until: 2026-05-01T12:00:00Z`");
            }
            (Some(At { value: ModeWord::Shadow, .. }), _) => return Mode::Shadow,
            (_, Some(until)) => {
                self.report(until.at, "`until` ends a mute; it needs `mode: muted` beside it")
            }
            _ => {}
        }
        Mode::Enforce
    }

    fn key(&self, draft: &Draft, table: Option<&TableName>, many: bool) -> Option<String> {
        if let Some(key) = &self.own.key {
            let fits = |c: char| c.is_alphanumeric() || "._-:/".contains(c);
            if key.value.is_empty() || !key.value.chars().all(fits) {
                self.report(key.at, "a key is made of letters, digits and `. _ - : /`, without spaces");
                return None;
            }
            return Some(if many { format!("{}.{}", key.value, draft.suffix) } else { key.value.clone() });
        }
        if self.kind.section == Section::Queries {
            self.report(self.at, "a query needs a `key:`, since there is no table to name it by");
            return None;
        }
        if self.kind.section == Section::Signals && draft.subject.is_empty() {
            self.report(self.at, format!("{} needs a `key:`, a name for what it watches", self.kind.name));
            return None;
        }
        let subject = table.map_or_else(|| draft.subject.clone(), ToString::to_string);
        let suffix = if draft.suffix.is_empty() { String::new() } else { format!(".{}", draft.suffix) };
        Some(format!("{subject}.{}{suffix}", self.kind.name))
    }

    /// `table_exists(jobs)`, `column_exists(users.slug)` or `may_act_as(authenticated)`.
    fn condition(&self, when: &At<String>) -> Option<Condition> {
        let parsed = when.value.trim().strip_suffix(')').and_then(|text| text.split_once('('));
        let condition = parsed.and_then(|(word, argument)| match word.trim() {
            "table_exists" => TableName::parse(argument).map(Condition::TableExists),
            "column_exists" => {
                let (table, column) = argument.rsplit_once('.')?;
                Some(Condition::ColumnExists(TableName::parse(table)?, column.trim().to_owned()))
            }
            "may_act_as" => {
                let role = argument.trim().trim_matches('"');
                (!role.is_empty()).then(|| Condition::MayActAs(role.to_owned()))
            }
            _ => None,
        });
        if condition.is_none() {
            self.report(
                when.at,
                format!(
                    "expected `table_exists(table)`, `column_exists(table.column)` or `may_act_as(role)`, found \
                     `{}`",
                    when.value
                ),
            );
        }
        condition
    }

    /// A threshold that fits the unit of the kind.
    fn threshold(&self, spec: Option<&At<ThresholdSpec>>) -> Option<Threshold> {
        let At { at, value: spec } = spec?;
        let threshold = spec.threshold();
        if threshold.is_empty() {
            self.report(
                *at,
                format!("this threshold bounds nothing; say for example `{}`", example(self.kind.unit)),
            );
            return None;
        }
        if let Some((low, high)) = threshold.outside
            && low.amount() > high.amount()
        {
            self.report(*at, "`outside` takes the lower bound first");
        }
        for rule in threshold.rules() {
            if let Some(message) = self.misfit(rule) {
                self.report(*at, message);
            }
        }
        Some(threshold)
    }

    /// Why a bound cannot be held against a value of this kind.
    fn misfit(&self, rule: Rule) -> Option<String> {
        let (name, unit, word) = (self.kind.name, self.kind.unit, rule.word());
        let (bounds, compares) = match rule {
            Rule::Above(bound) | Rule::Below(bound) | Rule::Equals(bound) => (vec![bound], false),
            Rule::Outside(low, high) => (vec![low, high], false),
            Rule::DropAbove(bound) | Rule::RiseAbove(bound) | Rule::NewAbove(bound) => (vec![bound], true),
        };
        bounds.into_iter().find_map(|bound| match (bound, unit) {
            _ if compares && bound.amount() < 0.0 => Some(format!("`{word}` cannot be negative")),
            (Bound::Seconds(_), Unit::Seconds) => None,
            (Bound::Seconds(_), _) => {
                Some(format!("{name} is not a length of time, so `{word}` takes a number or a percentage"))
            }
            (Bound::Number(amount), Unit::Seconds) if amount != 0.0 => {
                Some(format!("{name} is a length of time; give `{word}` a unit, such as `{amount}h`"))
            }
            (Bound::Percent(_), _) if compares => None,
            (Bound::Percent(_), Unit::Rows) => Some(format!(
                "a percentage of what? {name} is compared with the baseline by `drop_above` or `rise_above`"
            )),
            (Bound::Percent(_), Unit::Seconds) => Some(format!("{name} is a length of time, such as `6h`")),
            (Bound::Percent(_), Unit::Violations) if name == "failed_rows" => {
                self.own.tested_rows.is_none().then(|| {
                    "a percentage of what? give `tested_rows:`, a SELECT of the number of rows looked at"
                        .to_owned()
                })
            }
            (Bound::Percent(_), Unit::Violations)
                if name != "http" && self.kind.section != Section::Tables =>
            {
                Some(format!("{name} has no number of rows to take a percentage of; give `{word}` a number"))
            }
            _ => None,
        })
    }
}

fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "{ above: 6h }",
        Unit::Percent => "{ above: 90% }",
        Unit::Violations => "{ above: 0 }",
        Unit::Rows | Unit::Number => "{ below: 1 }",
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| format!("{text}T00:00:00Z").parse().ok())
}

/// SHA-256 of what is measured and of the bounds that compare it with a baseline. A changed title or absolute
/// bound leaves a baseline usable.
fn definition_hash(policy: &CheckPolicy, measure: &Measure) -> String {
    let comparing =
        |threshold: &Option<Threshold>| threshold.as_ref().map(|t| (t.drop_above, t.rise_above, t.new_above));
    let what = match &measure.what {
        // Which files there are changes with every release and is no part of the question.
        What::Catalog(crate::domain::measure::Catalog::MigrationsApplied { table, directory, .. }) => {
            serde_json::json!([table, directory])
        }
        what => serde_json::json!(what),
    };
    let text = serde_json::json!([
        what,
        measure.when,
        measure.samples.as_ref().map(|samples| &samples.columns),
        comparing(&policy.warn),
        comparing(&policy.fail),
        policy.min_baseline,
    ])
    .to_string();
    hex::encode(Sha256::digest(text.as_bytes()))
}
