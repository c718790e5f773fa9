//! Silences: what is measured and shown as ever, and not mailed, for a while and for a reason.

use std::collections::BTreeSet;

use super::clock::{SignedDuration, Timestamp};
use super::ids::SilenceId;
use super::incident::{Incident, IncidentKind};

/// A silence that outlives everybody's memory of it hides problems.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 30);

/// What a silence covers; all that is given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matchers {
    pub environment: Option<String>,
    /// A deploy's id.
    pub deploy: Option<String>,
    /// A check's key; `*` stands for any letters.
    pub check: Option<String>,
    pub kind: Option<IncidentKind>,
}

/// A silence with its owner, its reason and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    pub id: SilenceId,
    pub matchers: Matchers,
    pub owner: String,
    pub reason: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub created_by: String,
    /// Who ended it early.
    pub ended_by: Option<String>,
}

impl Matchers {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it speaks of an incident as a whole; with a check, of some of its members only.
    fn fits(&self, incident: &Incident) -> bool {
        let key = &incident.key;
        self.environment.as_ref().is_none_or(|wanted| *wanted == key.environment)
            && self.deploy.as_ref().is_none_or(|wanted| *wanted == key.scope)
            && self.kind.is_none_or(|wanted| wanted == key.kind)
    }

    /// In a person's words: `check user_credits.* in acme-production`.
    pub fn in_words(&self) -> String {
        let mut words = Vec::new();
        if let Some(kind) = self.kind {
            words.push(kind.as_str().replace('_', " "));
        }
        if let Some(check) = &self.check {
            words.push(format!("check {check}"));
        }
        if let Some(deploy) = &self.deploy {
            words.push(format!("deploy {deploy}"));
        }
        if let Some(environment) = &self.environment {
            words.push(if words.is_empty() {
                format!("everything in {environment}")
            } else {
                format!("in {environment}")
            });
        }
        words.join(" ")
    }
}

impl Silence {
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.ends_at
    }

    /// Whether it has anything to do with an incident.
    pub fn touches(&self, incident: &Incident) -> bool {
        match &self.matchers.check {
            None => self.matchers.fits(incident),
            Some(check) => {
                self.matchers.fits(incident)
                    && incident.facts.members.iter().any(|member| is_like(&member.key, check))
            }
        }
    }
}

/// How much of an incident silences cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cover {
    Nothing,
    /// These members; the others are mailed.
    Members(BTreeSet<String>),
    Whole,
}

/// What `silences` that are active at `now` cover of an incident.
pub fn cover(silences: &[Silence], incident: &Incident, now: Timestamp) -> Cover {
    let mut members = BTreeSet::new();
    for silence in silences.iter().filter(|silence| silence.is_active(now)) {
        if !silence.matchers.fits(incident) {
            continue;
        }
        let Some(check) = &silence.matchers.check else { return Cover::Whole };
        let keys = incident.facts.members.iter().map(|member| &member.key);
        members.extend(keys.filter(|key| is_like(key, check)).cloned());
    }
    if members.is_empty() {
        return Cover::Nothing;
    }
    let all = incident.facts.members.iter().all(|member| members.contains(&member.key));
    if all { Cover::Whole } else { Cover::Members(members) }
}

/// Whether `text` is `pattern`, where `*` stands for any letters.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::Severity;
    use crate::domain::ids::IncidentId;
    use crate::domain::incident::{DedupKey, Facts, Member};

    fn noon() -> Timestamp {
        "2026-05-01T12:00:00Z".parse().unwrap()
    }

    fn silence(matchers: Matchers) -> Silence {
        Silence {
            id: SilenceId::from_text("sil_1"),
            matchers,
            owner: "ada".into(),
            reason: "a known flake".into(),
            starts_at: noon(),
            ends_at: noon() + SignedDuration::from_hours(1),
            created_by: "token ada".into(),
            ended_by: None,
        }
    }

    fn incident(members: &[&str]) -> Incident {
        let member = |key: &&str| Member {
            key: (*key).into(),
            title: (*key).into(),
            severity: Severity::Critical,
            expected: String::new(),
            observed: String::new(),
            baseline: None,
            change: None,
            first_seen_at: noon(),
            count: 1,
            runs: 1,
            message: String::new(),
            runbook: None,
        };
        let facts = Facts {
            severity: Severity::Critical,
            label: "FAIL".into(),
            subject: String::new(),
            headline: String::new(),
            since: noon(),
            next_steps: Vec::new(),
            context: Vec::new(),
            members: members.iter().map(member).collect(),
        };
        let key =
            DedupKey { environment: "acme".into(), scope: "dep_1".into(), kind: IncidentKind::ChecksFailed };
        Incident::open(IncidentId::from_text("inc_1"), key, noon(), facts)
    }

    fn check(pattern: &str) -> Matchers {
        Matchers { check: Some(pattern.into()), ..Matchers::default() }
    }

    #[test]
    fn all_matchers_must_fit() {
        let incident = incident(&["users.row_count", "orders.row_count"]);
        let environment = |name: &str| Matchers { environment: Some(name.into()), ..Matchers::default() };
        let one = BTreeSet::from(["users.row_count".to_owned()]);
        for (matchers, covered) in [
            (environment("acme"), Cover::Whole),
            (environment("other"), Cover::Nothing),
            (Matchers { deploy: Some("dep_1".into()), ..environment("acme") }, Cover::Whole),
            (Matchers { deploy: Some("dep_2".into()), ..environment("acme") }, Cover::Nothing),
            (Matchers { kind: Some(IncidentKind::CannotCheck), ..environment("acme") }, Cover::Nothing),
            (check("users.row_count"), Cover::Members(one.clone())),
            (check("users.*"), Cover::Members(one)),
            (check("*.row_count"), Cover::Whole),
            (check("users"), Cover::Nothing),
        ] {
            assert_eq!(cover(&[silence(matchers.clone())], &incident, noon()), covered, "{matchers:?}");
        }
    }

    #[test]
    fn several_silences_cover_together() {
        let both = [silence(check("a")), silence(check("b"))];
        assert_eq!(cover(&both, &incident(&["a", "b"]), noon()), Cover::Whole);
        let c = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        assert_eq!(cover(&both, &incident(&["a", "b", "c"]), noon()), Cover::Members(c));
    }

    #[test]
    fn a_silence_covers_from_its_start_until_its_end() {
        let all = [silence(check("*"))];
        let incident = incident(&["a"]);
        let second = SignedDuration::from_secs(1);
        for (now, covered) in [
            (noon() - second, Cover::Nothing),
            (noon(), Cover::Whole),
            (noon() + SignedDuration::from_hours(1) - second, Cover::Whole),
            (noon() + SignedDuration::from_hours(1), Cover::Nothing),
        ] {
            assert_eq!(cover(&all, &incident, now), covered, "{now}");
        }
    }

    #[test]
    fn stars_stand_for_any_letters() {
        for (text, pattern, fits) in [
            ("a.b.c", "a.*", true),
            ("a.b.c", "*c", true),
            ("a.b.c", "a*b*c", true),
            ("a.b.c", "a*x*c", false),
            ("abc", "abc*", true),
            ("ab", "ab*b", false),
            ("a", "*", true),
        ] {
            assert_eq!(is_like(text, pattern), fits, "{text} {pattern}");
        }
    }

    #[test]
    fn matchers_read_as_a_sentence() {
        let matchers = Matchers { environment: Some("acme".into()), ..check("users.*") };
        assert_eq!(matchers.in_words(), "check users.* in acme");
        let all = Matchers { environment: Some("acme".into()), ..Matchers::default() };
        assert_eq!(all.in_words(), "everything in acme");
    }
}
