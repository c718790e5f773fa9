//! What on-call reads about the provider's side: webhooks that do not fit, and webhooks that do not come.

use super::check::Severity;
use super::clock::{SignedDuration, Timestamp, humane, rfc3339};
use super::incident::{Facts, Member};
use super::provider::Finding;
use super::rhythm::Orders;
use super::secret::Slot;
use super::wording::number;

/// What the provider's API says does not fit; the worst finding first, of at least one.
pub fn setup(subject: String, source: &str, webhooks: u64, findings: &[Finding], now: Timestamp) -> Facts {
    let (severity, says, since) = match findings.first() {
        Some(worst) => (worst.severity, worst.says.as_str(), worst.since),
        None => (Severity::Info, "everything fits", None),
    };
    let more = match findings.len() {
        0 | 1 => String::new(),
        2 => "; one more thing does not fit".to_owned(),
        n => format!("; {} more things do not fit", n - 1),
    };
    let mut next_steps: Vec<String> = Vec::new();
    for finding in findings {
        if !next_steps.contains(&finding.next) {
            next_steps.push(finding.next.clone());
        }
    }
    next_steps.push(format!("Look again with `deploywatch webhook audit {source}`"));
    Facts {
        severity,
        label: "WEBHOOK SETUP".into(),
        subject,
        headline: format!("{says}{more}"),
        since: since.unwrap_or(now),
        next_steps,
        context: vec![
            ("source".into(), source.to_owned()),
            ("asked".into(), format!("Lemon Squeezy's API at {}", rfc3339(now))),
            ("webhooks there".into(), webhooks.to_string()),
        ],
        members: findings.iter().map(|finding| member(finding, now)).collect(),
    }
}

fn member(finding: &Finding, now: Timestamp) -> Member {
    Member {
        key: finding.code.clone(),
        title: finding.code.replace('_', " "),
        severity: finding.severity,
        expected: String::new(),
        observed: String::new(),
        baseline: None,
        change: None,
        first_seen_at: finding.since.unwrap_or(now),
        count: 0,
        runs: 0,
        message: finding.says.clone(),
        runbook: None,
    }
}

/// The provider's API does not take our key; `text` says so.
pub fn key_refused(subject: String, source: &str, text: String, now: Timestamp) -> Facts {
    Facts {
        severity: Severity::Warning,
        label: "API KEY REFUSED".into(),
        subject,
        headline: text,
        since: now,
        next_steps: vec![
            "Make a new key in Lemon Squeezy > Settings > API, in the mode of the old one".into(),
            format!("Set it as webhooks.sources.{source}.api.key (or test_key) and restart deploywatch"),
            format!("Try it with `deploywatch webhook audit {source}`"),
        ],
        context: vec![(
            "meanwhile".into(),
            "deliveries are verified as ever; only the provider's own view of its webhooks is missing".into(),
        )],
        members: Vec::new(),
    }
}

/// A pause beyond a slot's own rhythm.
#[derive(Debug, Clone, Copy)]
pub struct Silence<'a> {
    pub slot: &'a Slot,
    pub last: Timestamp,
    pub silent: SignedDuration,
    /// The longest usual pause, learned from so many, and what is told.
    pub usual: SignedDuration,
    pub pauses: usize,
    pub limit: SignedDuration,
}

pub fn silence(subject: String, silence: &Silence<'_>) -> Facts {
    let Silence { slot, last, silent, usual, pauses, limit } = silence;
    Facts {
        severity: Severity::Warning,
        label: "WEBHOOK SILENCE".into(),
        subject,
        headline: format!(
            "No {slot} delivery for {}; its longest usual pause is {}. That may be a quiet day, or nothing arrives any more",
            humane(*silent),
            humane(*usual)
        ),
        since: *last,
        next_steps: vec![
            "Look whether there were orders meanwhile, in the shop and in the product's database".into(),
            "Compare with the provider's own list of deliveries; if it shows some, check DNS, certificate, firewall and the webhook's URL".into(),
            format!(
                "For a certain answer have one delivery sent again, and look at `deploywatch webhook list --source {}`",
                slot.source
            ),
        ],
        context: vec![
            ("slot".into(), slot.to_string()),
            ("last delivery".into(), rfc3339(*last)),
            ("learned from".into(), format!("{pauses} pauses of the last 28 days")),
            ("told after".into(), humane(*limit)),
        ],
        members: Vec::new(),
    }
}

/// Orders that grow while no webhook tells of them.
pub fn orders(subject: String, source: &str, orders: &Orders, now: Timestamp) -> Facts {
    let last = match orders.received_at {
        Some(at) => format!("has arrived since {}", rfc3339(at)),
        None => "has ever arrived".to_owned(),
    };
    let said = |value: Option<f64>| number(value.unwrap_or(0.0));
    Facts {
        severity: Severity::Critical,
        label: "ORDERS WITHOUT WEBHOOKS".into(),
        subject,
        headline: format!(
            "Orders grow in the database (from {} to {}), but no {source} webhook {last}",
            said(orders.counted),
            said(orders.latest)
        ),
        since: orders.grown_at.unwrap_or(now),
        next_steps: vec![
            "Look whether the webhook still exists at the provider, with this URL, its events ticked, and in live mode".into(),
            "Look at the provider's own list of deliveries for what it was answered".into(),
            format!("Run `deploywatch webhook audit {source}` where an API key is set"),
            "Have the missing deliveries sent again, or mend the rows by hand".into(),
        ],
        context: vec![
            ("growing since".into(), orders.grown_at.map_or_else(String::new, rfc3339)),
            ("counted".into(), format!("by webhooks.sources.{source}.orders_query")),
        ],
        members: Vec::new(),
    }
}
