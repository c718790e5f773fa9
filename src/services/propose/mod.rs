//! A first suite for a database that has none: looks, proposes, tries every proposal once, and writes the YAML.

mod guards;
mod names;
mod render;
mod rights;
mod rules;

use std::sync::Arc;

use crate::domain::check::{Check, Severity};
use crate::domain::evaluate::{BaselineFor, SlotFacts, evaluate};
use crate::domain::inspection::Inspection;
use crate::domain::observation::Outcome;
use crate::suite::{self, SuiteError};
use crate::target::{Params, Scan, ScanRequest, Target, TargetError};

pub use render::render;
pub use rules::propose;

/// One check that is worth having, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    pub place: Place,
    pub body: Body,
    pub title: Option<String>,
    pub severity: Severity,
    pub fail: Option<String>,
    /// A sentence or two, without a full stop at the end.
    pub reason: String,
}

/// Where in the suite it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Table(String),
    /// A table of another schema, named in full.
    Elsewhere(String),
    Schema,
    Queries,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// One column; neighbours for the same reason are written as one list.
    NotNull(String),
    /// Any other, as YAML: `unique: [slug]`. A key of its own where the derived one would not do.
    Other { yaml: String, key: Option<String> },
}

/// What trying a proposal has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    Holds,
    /// Broken or not measurable now, and the sentence that says how. It is written as a comment.
    DoesNotHold(String),
}

/// A suite that is ready to be saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub yaml: String,
    pub tables: usize,
    /// Checks that hold now.
    pub checks: usize,
    /// Proposals that are in the text as comments, since they do not hold now.
    pub set_aside: usize,
    /// Tables that the role may not read, so that nothing is proposed for them.
    pub unreadable: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    #[error(transparent)]
    Unreachable(#[from] TargetError),
    #[error("the proposed suite is not understood by its own reader; please report it: {0}")]
    Unreadable(#[from] SuiteError),
    #[error(
        "there is nothing to propose for the schema {schema}: {role} finds no table there that it may read; name \
         another one by --schema, or connect with a role that may read the tables"
    )]
    Nothing { schema: String, role: String },
}

/// Looks at one schema and drafts a suite for it. Everything but what is commented out holds now.
pub async fn draft(target: &Target, schema: &str) -> Result<Draft, ProposeError> {
    let seen = target.inspect(schema).await?;
    let proposals = propose(&seen);
    let nothing = || ProposeError::Nothing { schema: seen.schema.clone(), role: seen.role.clone() };
    if proposals.is_empty() {
        return Err(nothing());
    }
    let trials = try_all(target, &seen, &proposals).await?;
    let yaml = render(&seen, &proposals, &trials);
    let unreadable = seen.tables.iter().filter(|table| table.unreadable.is_some());
    let unreadable: Vec<String> = unreadable.map(|table| table.name.clone()).collect();
    let set_aside = trials.iter().filter(|trial| **trial != Trial::Holds).count();
    let checks = if set_aside == proposals.len() { 0 } else { suite::parse("init", &yaml)?.checks.len() };
    if checks == 0 {
        return Err(nothing());
    }
    Ok(Draft { yaml, tables: seen.tables.len() - unreadable.len(), checks, set_aside, unreadable })
}

/// One ordinary scan of all proposals, so that what is written is what the program itself would say.
async fn try_all(
    target: &Target,
    seen: &Inspection,
    proposals: &[Proposal],
) -> Result<Vec<Trial>, ProposeError> {
    let suite = suite::parse("init", &render::numbered(seen, proposals))?;
    let checks: Vec<Arc<Check>> = suite.checks.into_iter().map(Arc::new).collect();
    let request = ScanRequest { checks: checks.clone(), params: Params::default(), carry: None };
    let scan = target.scan(&request).await?;
    Ok((0..proposals.len()).map(|number| tried(&render::number(number), &checks, &scan)).collect())
}

fn tried(key: &str, checks: &[Arc<Check>], scan: &Scan) -> Trial {
    let slot = SlotFacts { slot_at: scan.as_of, observed_at: scan.as_of, confirm: false, finished_at: None };
    let mut both = checks.iter().zip(&scan.measurements);
    let Some((check, measurement)) = both.find(|(check, _)| check.key().as_str() == key) else {
        return Trial::DoesNotHold("it was not tried".to_owned());
    };
    let observation = evaluate(&check.policy, measurement, BaselineFor::Missing, slot);
    match observation.outcome {
        // A comparison without a baseline is skipped or has no data; that is as it should be today.
        Outcome::Pass | Outcome::Skipped => Trial::Holds,
        Outcome::NoData if check.policy.compares() => Trial::Holds,
        _ => Trial::DoesNotHold(observation.message),
    }
}

#[cfg(test)]
mod tests;
