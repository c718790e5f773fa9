use super::*;
use crate::domain::ids::IncidentId;

fn at(minutes: i64) -> Timestamp {
    "2026-05-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
}

fn policy() -> AlertPolicy {
    AlertPolicy {
        reopen: SignedDuration::from_mins(30),
        reminders: vec![SignedDuration::from_hours(1), SignedDuration::from_hours(4)],
        update_every: SignedDuration::from_mins(5),
    }
}

fn facts(members: &[&str]) -> Facts {
    let member = |key: &&str| Member {
        key: (*key).into(),
        title: (*key).into(),
        severity: Severity::Critical,
        expected: "= 0".into(),
        observed: "1".into(),
        baseline: None,
        change: None,
        first_seen_at: at(0),
        count: 2,
        runs: 2,
        message: String::new(),
        runbook: None,
    };
    Facts {
        severity: Severity::Critical,
        label: "FAIL".into(),
        subject: "acme-production deploy 7f3c2a1".into(),
        headline: "checks fail".into(),
        since: at(0),
        next_steps: Vec::new(),
        context: Vec::new(),
        members: members.iter().map(member).collect(),
    }
}

fn incident() -> Incident {
    let key = DedupKey {
        environment: "acme-production".into(),
        scope: "dep_1".into(),
        kind: IncidentKind::ChecksFailed,
    };
    Incident::open(IncidentId::from_text("inc_0192f0c1aabbcc"), key, at(0), facts(&["a"]))
}

fn told() -> Incident {
    let mut incident = incident();
    incident.tell(Notice::Opened, at(0));
    incident
}

#[test]
fn a_new_incident_owes_its_first_mail_once() {
    let mut incident = incident();
    assert_eq!(incident.owed(at(0), Mute::Audible, &policy()), Some(Notice::Opened));
    incident.tell(Notice::Opened, at(0));
    assert_eq!(incident.owed(at(0), Mute::Audible, &policy()), None);
    let (incident, change) = incident.fire(at(1), facts(&["a"]));
    assert_eq!(change, IncidentChange::Nothing);
    assert_eq!(incident.owed(at(1), Mute::Audible, &policy()), None);
}

#[test]
fn new_members_are_told_but_not_more_often_than_every_five_minutes() {
    let (mut incident, change) = told().fire(at(2), facts(&["a", "b"]));
    assert_eq!(change, IncidentChange::Updated);
    assert_eq!(incident.owed(at(2), Mute::Audible, &policy()), None);
    assert_eq!(incident.owed(at(5), Mute::Audible, &policy()), Some(Notice::Update));
    incident.tell(Notice::Update, at(5));
    assert_eq!(incident.owed(at(20), Mute::Audible, &policy()), None);
}

#[test]
fn a_member_that_left_is_no_news() {
    let (mut incident, _) = told().fire(at(1), facts(&["a", "b"]));
    incident.tell(Notice::Update, at(6));
    let (incident, change) = incident.fire(at(7), facts(&["b"]));
    assert_eq!(change, IncidentChange::Updated);
    assert_eq!(incident.owed(at(30), Mute::Audible, &policy()), None);
}

#[test]
fn reminders_come_after_an_hour_then_every_four() {
    let mut incident = told();
    let mut reminded = Vec::new();
    for minute in 0..24 * 60 {
        if incident.owed(at(minute), Mute::Audible, &policy()) == Some(Notice::Reminder) {
            incident.tell(Notice::Reminder, at(minute));
            reminded.push(minute / 60);
        }
    }
    assert_eq!(reminded, [1, 5, 9, 13, 17, 21]);
}

#[test]
fn an_acknowledgement_ends_reminders_until_it_grows_worse() {
    let mut mild = facts(&["a"]);
    mild.severity = Severity::Warning;
    let mut incident = incident();
    incident.facts = mild;
    incident.tell(Notice::Opened, at(0));
    let (incident, change) = incident.acknowledge(at(1), "ada");
    assert_eq!(change, IncidentChange::Acknowledged);
    assert_eq!(incident.owed(at(600), Mute::Audible, &policy()), None);
    let (incident, change) = incident.fire(at(601), facts(&["a"]));
    assert_eq!((change, incident.state.clone()), (IncidentChange::Escalated, IncidentState::Open));
    assert_eq!(incident.owed(at(601), Mute::Audible, &policy()), Some(Notice::Update));
}

#[test]
fn a_problem_that_returns_within_half_an_hour_is_the_same_one() {
    let (resolved, change) = told().resolve(at(10), "recovered by itself");
    assert_eq!(change, IncidentChange::Resolved);
    assert!(resolved.covers(at(39), &policy()));
    assert!(!resolved.covers(at(40), &policy()));
    let (again, change) = resolved.fire(at(39), facts(&["a"]));
    assert_eq!((change, again.reopened), (IncidentChange::Reopened, 1));
    assert_eq!(again.owed(at(39), Mute::Audible, &policy()), Some(Notice::Reopened));
}

#[test]
fn what_a_muted_incident_owes_is_written_when_it_is_audible_again() {
    let incident = incident();
    assert_eq!(incident.owed(at(0), Mute::Muted, &policy()), None);
    assert_eq!(incident.owed(at(9), Mute::Audible, &policy()), Some(Notice::Opened));
}

#[test]
fn a_snooze_holds_mails_back_until_it_ends() {
    let (incident, change) = told().snooze(at(1), at(300));
    assert_eq!(change, IncidentChange::Snoozed);
    assert_eq!(incident.owed(at(299), Mute::Audible, &policy()), None);
    assert_eq!(incident.owed(at(300), Mute::Audible, &policy()), Some(Notice::Reminder));
}

#[test]
fn resolved_incidents_owe_nothing_and_resolve_once() {
    let (incident, _) = incident().resolve(at(1), "superseded");
    assert_eq!(incident.owed(at(2), Mute::Audible, &policy()), None);
    assert_eq!(incident.resolve(at(3), "again").1, IncidentChange::Nothing);
}

#[test]
fn kinds_round_trip_and_only_an_unreachable_target_inhibits() {
    for kind in IncidentKind::ALL {
        assert_eq!(IncidentKind::parse(kind.as_str()), Some(kind));
        assert_eq!(IncidentKind::CannotCheck.inhibits(kind), kind == IncidentKind::ChecksFailed);
        assert!(!kind.inhibits(IncidentKind::StaleSecret));
    }
}
