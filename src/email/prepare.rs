//! From facts to a message: subject, headers, text and HTML. Pure; nothing is sent here.

use askama::Template;
use sha2::{Digest, Sha256};

use super::text::{clean, identity, instant, is_web_address, readable, token};
use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp, humane};
use crate::domain::ids::NotificationId;
use crate::domain::incident::{Facts, Incident, IncidentKind, IncidentState, Member};
use crate::domain::notification::{Content, Notice};
use crate::settings::Settings;

/// Members that a mail lists; the page has the rest.
const MEMBERS: usize = 10;
/// Messages that a digest lists; they have no page of their own.
const DIGESTED: usize = 60;
const STEPS: usize = 10;
const CONTEXT: usize = 20;

/// What is the same for all mails of this installation.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The domain of Message-IDs and List-Ids.
    pub domain: String,
    /// Without a slash at its end; links are left out where it is unknown.
    pub public_url: Option<String>,
}

impl Desk {
    pub fn of(settings: &Settings) -> Self {
        let sender_domain = || {
            let from = settings.email.from.trim_end_matches('>');
            from.rsplit_once('@').map(|(_, domain)| domain.to_owned())
        };
        let domain = settings.email.message_id_domain.clone().or_else(sender_domain);
        Self {
            domain: token(&domain.unwrap_or_else(|| "deploywatch.invalid".into())),
            public_url: settings
                .http
                .public_url
                .as_ref()
                .map(|url| url.as_str().trim_end_matches('/').into()),
        }
    }
}

/// One message to one recipient, before it is put into words.
#[derive(Clone)]
pub struct Letter<'a> {
    pub id: &'a NotificationId,
    pub notice: Notice,
    pub environment: &'a str,
    /// Absent for reports and tests.
    pub incident: Option<&'a Incident>,
    pub facts: &'a Facts,
    pub recipient: &'a str,
    /// How many others get the same.
    pub others: usize,
    pub next_reminder: Option<Timestamp>,
    pub links: Links,
    pub now: Timestamp,
}

/// Where a mail leads besides its incident's page; all are safe to follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// What a person may do, each with a page that asks first.
    pub actions: Vec<(&'static str, String)>,
    /// The page of a report.
    pub page: Option<(&'static str, String)>,
    /// Ends the reports; never there for alerts.
    pub unsubscribe: Option<String>,
}

#[derive(Template)]
#[template(path = "email/templates/mail.txt", escape = "none")]
struct Text<'a> {
    v: &'a View,
}

#[derive(Template)]
#[template(path = "email/templates/mail.html")]
struct Html<'a> {
    v: &'a View,
}

/// What both templates show; every string in it is clean.
struct View {
    subject: String,
    status: String,
    tone: &'static str,
    colour: &'static str,
    headline: String,
    leads: Vec<String>,
    members_title: &'static str,
    members: Vec<MemberView>,
    more: usize,
    steps: Vec<String>,
    context: Vec<Row>,
    /// The column of the context's values in the text part.
    width: usize,
    open_label: &'static str,
    open_url: Option<String>,
    actions: Vec<(&'static str, String)>,
    why: Vec<String>,
}

impl View {
    /// A line of the context in the text part.
    fn fact(&self, row: &Row) -> String {
        format!("{}{}", row.padded(self.width), row.value)
    }
}

struct MemberView {
    title: String,
    severity: &'static str,
    message: String,
    rows: Vec<Row>,
}

struct Row {
    label: String,
    value: String,
}

impl Row {
    fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }

    fn padded(&self, width: usize) -> String {
        // A label that fills the column still ends before its value begins.
        format!("{:<width$}", format!("{} ", self.label))
    }

    fn is_link(&self) -> bool {
        is_web_address(&self.value)
    }
}

/// Puts a letter into words.
pub fn prepare(desk: &Desk, letter: &Letter<'_>) -> Content {
    let view = view(desk, letter);
    Content {
        message_id: message_id(desk, letter),
        headers: headers(desk, letter),
        text: Text { v: &view }.render().expect("the text template writes into a string"),
        html: Html { v: &view }.render().expect("the HTML template writes into a string"),
        subject: view.subject,
    }
}

/// The first mail of an incident to a recipient has an id that every later one can name without a look-up.
fn root_id(desk: &Desk, incident: &Incident, recipient: &str) -> String {
    let digest = hex::encode(Sha256::digest(recipient.trim().to_lowercase()));
    format!("<{}.{}@{}>", token(incident.id.as_str()), &digest[..12], desk.domain)
}

fn message_id(desk: &Desk, letter: &Letter<'_>) -> String {
    match letter.incident {
        Some(incident) if is_first(letter.notice) => root_id(desk, incident, letter.recipient),
        _ => format!("<{}@{}>", token(letter.id.as_str()), desk.domain),
    }
}

/// The mail that begins a recipient's thread.
fn is_first(notice: Notice) -> bool {
    matches!(notice, Notice::Opened | Notice::Escalated)
}

fn headers(desk: &Desk, letter: &Letter<'_>) -> Vec<(String, String)> {
    let mut headers: Vec<(&str, String)> = Vec::new();
    if let Some(incident) = letter.incident
        && !is_first(letter.notice)
    {
        let root = root_id(desk, incident, letter.recipient);
        headers.push(("In-Reply-To", root.clone()));
        headers.push(("References", root));
    }
    // RFC 3834: keeps vacation responders from answering.
    headers.push(("Auto-Submitted", "auto-generated".into()));
    let environment = token(letter.environment);
    let list = if environment.is_empty() { "deploywatch".into() } else { environment };
    headers.push(("List-Id", format!("<{list}.deploywatch.{}>", desk.domain)));
    headers.push(("X-Deploywatch-Notice", letter.notice.as_str().into()));
    headers.push(("X-Deploywatch-Environment", list));
    headers.push(("X-Deploywatch-Severity", letter.facts.severity.as_str().into()));
    if let Some(incident) = letter.incident {
        headers.push(("X-Deploywatch-Incident", token(incident.id.as_str())));
        headers.push(("X-Deploywatch-Kind", incident.key.kind.as_str().into()));
        headers.push(("X-Deploywatch-Status", incident.state.as_str().into()));
        if incident.key.scope.starts_with("dep_") {
            headers.push(("X-Deploywatch-Deploy", identity(&incident.key.scope, 80)));
        }
    }
    if let Some(url) = &letter.links.unsubscribe {
        // RFC 8058: the button of a mail program posts, so that a scanner that follows links ends nothing.
        headers.push(("List-Unsubscribe", format!("<{url}>")));
        headers.push(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".into()));
    }
    let wakes = letter.notice.announces() || letter.notice == Notice::Worsened;
    if letter.facts.severity == Severity::Critical && wakes {
        headers.push(("Importance", "high".into()));
    }
    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn view(desk: &Desk, letter: &Letter<'_>) -> View {
    let facts = letter.facts;
    let status = status(letter);
    let (tone, colour) = tone(letter);
    let mut subject = format!("[{status}] {}", identity(&facts.subject, 120));
    if let Some(incident) = letter.incident {
        subject.push_str(&format!(" #{}", incident.short_id()));
    }
    let over = matches!(letter.notice, Notice::Resolved | Notice::Recovered);
    let listed = if letter.notice == Notice::Digest { DIGESTED } else { MEMBERS };
    let context: Vec<Row> = facts
        .context
        .iter()
        .take(CONTEXT)
        .map(|(label, value)| Row::new(clean(label, 40), readable(value, 300)))
        .collect();
    let longest = context.iter().map(|row| row.label.chars().count()).max().unwrap_or_default();
    View {
        subject,
        tone,
        colour,
        headline: headline(letter),
        leads: leads(letter),
        members_title: members_title(letter),
        members: facts.members.iter().take(listed).map(|member| member_view(letter, member)).collect(),
        more: facts.members.len().saturating_sub(listed),
        steps: if over {
            Vec::new()
        } else {
            facts.next_steps.iter().take(STEPS).map(|step| readable(step, 500)).collect()
        },
        width: (longest + 2).clamp(17, 30),
        context,
        open_label: letter.links.page.as_ref().map_or("Open the incident", |(label, _)| *label),
        open_url: letter
            .incident
            .zip(desk.public_url.as_ref())
            .map(|(incident, url)| format!("{url}/incidents/{}", token(incident.id.as_str())))
            .or_else(|| letter.links.page.as_ref().map(|(_, url)| url.clone())),
        actions: letter.links.actions.clone(),
        why: why(letter),
        status,
    }
}

/// What stands in the brackets: it may change within a thread.
fn status(letter: &Letter<'_>) -> String {
    let label = identity(&letter.facts.label, 40);
    let checks = letter.incident.is_some_and(|incident| incident.key.kind == IncidentKind::ChecksFailed);
    let members = letter.facts.members.len();
    let count = if checks && members > 0 { format!(" {members}") } else { String::new() };
    match letter.notice {
        Notice::Opened => format!("{label}{count}"),
        Notice::Reopened => format!("{label} AGAIN{count}"),
        Notice::Update => format!("UPDATE{count}"),
        Notice::Worsened => format!("NOW {}: {label}{count}", letter.facts.severity.as_str().to_uppercase()),
        Notice::Reminder => format!("REMINDER{count}"),
        Notice::Escalated => format!("ESCALATED {label}{count}"),
        Notice::Flapping => format!("FLAPPING{count}"),
        Notice::Acknowledged => "ACKNOWLEDGED".into(),
        Notice::Resolved | Notice::Recovered => "RESOLVED".into(),
        Notice::Report | Notice::Digest => label,
        Notice::Test => "TEST".into(),
    }
}

fn tone(letter: &Letter<'_>) -> (&'static str, &'static str) {
    const GOOD: (&str, &str) = ("good", "#1a7f45");
    const WARN: (&str, &str) = ("warn", "#b7791f");
    const UNKNOWN: (&str, &str) = ("unknown", "#6b5bb5");
    const BAD: (&str, &str) = ("bad", "#c0281c");
    const QUIET: (&str, &str) = ("quiet", "#6b7684");
    let label = letter.facts.label.as_str();
    match (letter.notice, letter.incident.map(|incident| incident.key.kind)) {
        (Notice::Resolved | Notice::Recovered, _) => GOOD,
        (Notice::Test | Notice::Digest, _) => QUIET,
        (Notice::Report, _) if label.starts_with("PASSED") || label == "SECRET ROTATED" => GOOD,
        (Notice::Report, _) if label.starts_with("INCONCLUSIVE") || label == "CHECKER DOWN" => UNKNOWN,
        (Notice::Report, _) if label.starts_with("FAILED") => BAD,
        (Notice::Report, _) => QUIET,
        (_, Some(IncidentKind::CannotCheck | IncidentKind::CheckerDown)) => UNKNOWN,
        _ if letter.facts.severity == Severity::Critical => BAD,
        _ => WARN,
    }
}

fn headline(letter: &Letter<'_>) -> String {
    let said = readable(&letter.facts.headline, 300);
    match (letter.notice, letter.incident) {
        (Notice::Resolved | Notice::Recovered, Some(incident)) => {
            let end = match &incident.state {
                IncidentState::Resolved { at, .. } => *at,
                _ => letter.now,
            };
            format!("Over after {}. It was: {said}", humane(end.duration_since(letter.facts.since)))
        }
        _ => said,
    }
}

fn leads(letter: &Letter<'_>) -> Vec<String> {
    let since = letter.facts.since;
    let mut leads = Vec::new();
    let Some(incident) = letter.incident else { return leads };
    match (letter.notice, &incident.state) {
        (Notice::Resolved, IncidentState::Resolved { at, note }) => {
            leads.push(format!("From {} to {}: {}.", instant(since), instant(*at), readable(note, 300)));
        }
        (Notice::Recovered, IncidentState::Resolved { at, note }) => {
            leads.push(format!("From {} to {}: {}.", instant(since), instant(*at), readable(note, 300)));
            leads.push(
                "It was over before its first mail could be handed over; this mail replaces that one.".into(),
            );
        }
        _ => {
            let length = letter.now.duration_since(since).max(SignedDuration::ZERO);
            let ago = if length.is_zero() { "just now".into() } else { format!("{} ago", humane(length)) };
            leads.push(format!("Since {} ({ago}).", instant(since)));
        }
    }
    if letter.notice == Notice::Reopened {
        leads.push("It had been resolved shortly before, so this is the same incident.".into());
    }
    if letter.notice == Notice::Worsened {
        leads.push(format!(
            "It was milder when you were told of it last; now it is {}.",
            letter.facts.severity.as_str()
        ));
    }
    if letter.notice == Notice::Escalated {
        leads.push("Whoever was told first has not acknowledged it, so you are told as well.".into());
    }
    if letter.notice == Notice::Flapping {
        leads.push(
            "It comes and goes: more than 4 turns within an hour. It is held open now, and you are not told of each \
             turn; the next mail comes when it has been calm for an hour."
                .into(),
        );
    }
    if letter.notice == Notice::Reminder {
        leads.push("Nobody has acknowledged it yet.".into());
    }
    leads
}

fn members_title(letter: &Letter<'_>) -> &'static str {
    match (letter.notice, letter.incident.map(|incident| incident.key.kind)) {
        (Notice::Resolved | Notice::Recovered, _) => "What it was",
        (Notice::Digest, _) => "The messages",
        (Notice::Report, _) => "What failed",
        (_, Some(IncidentKind::ChecksFailed)) => "What fails",
        (_, Some(IncidentKind::CannotCheck)) => "What cannot be checked",
        (_, Some(IncidentKind::WebhookSetup)) => "What does not fit",
        (_, Some(IncidentKind::StaleSecret | IncidentKind::CompromisedSecret)) => "Which secret",
        _ => "Details",
    }
}

fn member_view(letter: &Letter<'_>, member: &Member) -> MemberView {
    let mut rows = Vec::new();
    for (label, value) in [
        ("expected", Some(&member.expected)),
        ("observed", Some(&member.observed)),
        ("baseline", member.baseline.as_ref()),
        ("change", member.change.as_ref()),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            rows.push(Row::new(label, readable(value, 200)));
        }
    }
    let seen = if letter.notice == Notice::Digest { "written" } else { "first seen" };
    rows.push(Row::new(seen, instant(member.first_seen_at)));
    match (member.count, member.runs) {
        (0, _) => {}
        (count, 0) => rows.push(Row::new("seen", times(count))),
        (count, runs) => rows.push(Row::new("failed", format!("{count} of {runs} runs"))),
    }
    if let Some(runbook) = &member.runbook {
        rows.push(Row::new("runbook", clean(runbook, 300)));
    }
    let (title, key) = (clean(&member.title, 160), clean(&member.key, 160));
    let check = letter.incident.is_some_and(|incident| incident.key.kind == IncidentKind::ChecksFailed);
    if check && title != key {
        rows.push(Row::new("check", key));
    }
    MemberView { title, severity: member.severity.as_str(), message: readable(&member.message, 400), rows }
}

fn times(count: u32) -> String {
    if count == 1 { "once".into() } else { format!("{count} times") }
}

fn why(letter: &Letter<'_>) -> Vec<String> {
    let mut why = Vec::new();
    let environment = clean(letter.environment, 80);
    let about = if environment.is_empty() { "deploywatch itself".into() } else { environment };
    why.push(match letter.notice {
        Notice::Digest => "You get this because you are on call, and so that nothing is buried.".into(),
        Notice::Test => "Somebody asked for this mail to see whether mails arrive.".into(),
        _ => format!("You get this because you are on call for {about}."),
    });
    match letter.others {
        0 => why.push("Nobody else was told.".into()),
        1 => why.push("One other person was told.".into()),
        n => why.push(format!("{n} others were told.")),
    }
    if let Some(next) = letter.next_reminder {
        why.push(format!("The next reminder comes at {} unless somebody acknowledges.", instant(next)));
    }
    if let Some(incident) = letter.incident {
        why.push(format!(
            "Incident {}. On the command line: deploywatch incident show {}",
            incident.id,
            incident.short_id()
        ));
    }
    if letter.links.unsubscribe.is_some() {
        why.push("Your mail program can end these reports for you; alerts will come as ever.".into());
    }
    why.push(format!("Written at {}.", instant(letter.now)));
    why
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::email::samples;

    fn desk() -> Desk {
        Desk { domain: "example.com".into(), public_url: Some("https://watch.example.com".into()) }
    }

    fn noon() -> Timestamp {
        "2026-05-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn every_kind_reads_as_it_should() {
        for sample in samples::all(noon()) {
            let content = sample.prepare(&desk());
            let headers: Vec<String> =
                content.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let whole = format!(
                "Message-ID: {}\nSubject: {}\n{}\n\n{}",
                content.message_id,
                content.subject,
                headers.join("\n"),
                content.text
            );
            insta::assert_snapshot!(sample.name, whole);
        }
    }

    /// Gmail ignores what stands in brackets when it threads, so that the text outside must be the same for all
    /// mails of an incident, and of no other.
    #[test]
    fn what_stands_outside_the_brackets_is_the_incidents_alone() {
        let mut owner = std::collections::BTreeMap::new();
        for (n, sample) in samples::all(noon()).into_iter().enumerate() {
            let Some(mut incident) = sample.incident.clone() else { continue };
            incident.id =
                crate::domain::ids::IncidentId::from_text(format!("inc_0192f0c1d2e37f00a1b2c3d4e5{n:06x}"));
            for notice in Notice::ALL {
                let mut sample =
                    samples::Sample { notice, incident: Some(incident.clone()), ..sample.clone() };
                let label = format!("{} [x]", sample.facts.label);
                for label in [sample.facts.label.clone(), "ANOTHER WORD".into(), label] {
                    sample.facts.label = label;
                    let subject = sample.prepare(&desk()).subject;
                    let (status, outside) = subject.split_once("] ").expect("the status is in brackets");
                    assert!(status.starts_with('[') && !outside.contains(['[', ']']), "{subject}");
                    let known = owner.entry(outside.to_owned()).or_insert_with(|| incident.id.clone());
                    assert_eq!(*known, incident.id, "{subject} is another incident's too");
                }
            }
        }
        let incidents: std::collections::BTreeSet<_> = owner.values().collect();
        assert_eq!(owner.len(), incidents.len(), "one text for each incident: {owner:?}");
    }

    #[test]
    fn only_what_a_deploy_came_to_can_be_unsubscribed() {
        for sample in samples::all(noon()) {
            let content = sample.prepare(&desk());
            let can = content.headers.iter().any(|(name, _)| name == "List-Unsubscribe");
            let optional = ["PASSED", "FAILED", "SUPERSEDED", "INCONCLUSIVE"];
            let outcome =
                sample.incident.is_none() && optional.iter().any(|o| sample.facts.label.starts_with(o));
            assert_eq!(can, outcome, "{}", sample.name);
        }
    }

    #[test]
    fn html_is_small_and_fetches_nothing() {
        for sample in samples::all(noon()) {
            let html = sample.prepare(&desk()).html;
            assert!(html.len() < 90_000, "{} has {} bytes", sample.name, html.len());
            for forbidden in ["<img", "<script", "<link", "url(", "@import"] {
                assert!(!html.contains(forbidden), "{} contains {forbidden}", sample.name);
            }
        }
    }

    #[test]
    fn text_from_outside_is_inert() {
        let mut sample = samples::all(noon()).remove(0);
        let evil = "<script>alert(1)</script>\r\nBcc: eve@example.com \u{202e}";
        sample.facts.headline = evil.into();
        sample.facts.subject = evil.into();
        sample.facts.members[0].title = evil.into();
        sample.facts.members[0].runbook = Some("javascript:alert(1)".into());
        sample.facts.context.push((evil.into(), evil.into()));
        let content = sample.prepare(&desk());
        assert!(!content.html.contains("<script") && !content.html.contains("href=\"javascript"));
        assert!(!content.subject.contains(['\r', '\n']) && content.subject.is_ascii());
        assert!(!content.text.contains("\nBcc:"));
    }
}
