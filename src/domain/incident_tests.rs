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
        resolve_hold: SignedDuration::ZERO,
        escalate_after: None,
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
    assert_eq!(incident.owed(at(601), Mute::Audible, &policy()), Some(Notice::Worsened));
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

fn held() -> AlertPolicy {
    AlertPolicy { resolve_hold: SignedDuration::from_mins(5), ..policy() }
}

#[test]
fn an_end_is_told_once_it_has_held_and_a_flap_inside_the_hold_sends_nothing() {
    let (ending, change) = told().clear(at(10), "recovered", &held());
    assert_eq!((change, ending.state.clone()), (IncidentChange::Updated, IncidentState::Open));
    assert_eq!(ending.clone().settle(at(14), &held()).1, IncidentChange::Nothing);
    let (over, change) = ending.clone().settle(at(15), &held());
    assert_eq!(change, IncidentChange::Resolved);
    assert_eq!(over.state, IncidentState::Resolved { at: at(10), note: "recovered".into() });
    let (again, _) = ending.fire(at(12), facts(&["a"]));
    assert_eq!(again.owed(at(12), Mute::Audible, &held()), None);
    assert_eq!(again.settle(at(30), &held()).1, IncidentChange::Nothing);
}

#[test]
fn five_turns_in_an_hour_are_told_once_and_then_it_is_held_open() {
    let mut incident = told();
    for minute in [5, 10, 15] {
        incident = incident.waver(at(minute)).0;
        assert_eq!(incident.owed(at(minute), Mute::Audible, &policy()), None, "{minute}");
    }
    incident = incident.waver(at(20)).0;
    assert_eq!(incident.owed(at(20), Mute::Audible, &policy()), Some(Notice::Flapping));
    incident.tell(Notice::Flapping, at(20));
    for minute in (25..24 * 60).step_by(5) {
        incident = incident.waver(at(minute)).0;
        incident = incident.settle(at(minute), &policy()).0;
        assert_eq!(incident.owed(at(minute), Mute::Audible, &policy()), None, "{minute}");
    }
    // Over, but not told before it has been calm for an hour.
    let last = 24 * 60 - 5;
    let (incident, _) = incident.clear(at(last), "recovered", &policy());
    assert_eq!(incident.clone().settle(at(last + 59), &policy()).1, IncidentChange::Nothing);
    assert_eq!(incident.settle(at(last + 60), &policy()).1, IncidentChange::Resolved);
}

#[test]
fn mails_that_alternate_end_in_one_notice_of_flapping() {
    let (mut incident, mut sent) = (incident(), Vec::new());
    for minute in (0..24 * 60).step_by(5) {
        let now = at(minute);
        incident = incident.settle(now, &policy()).0;
        incident = match (minute / 5) % 2 {
            0 => incident.fire(now, facts(&["a"])).0,
            _ => {
                let (incident, change) = incident.clear(now, "recovered", &policy());
                if change == IncidentChange::Resolved {
                    sent.push(Notice::Resolved);
                }
                incident
            }
        };
        if let Some(notice) = incident.owed(now, Mute::Audible, &policy()) {
            incident.tell(notice, now);
            sent.push(notice);
        }
    }
    use Notice::*;
    assert_eq!(sent, [Opened, Resolved, Reopened, Resolved, Flapping]);
}

#[test]
fn calm_after_flapping_brings_reminders_back() {
    let mut incident = told();
    for minute in 2..=5 {
        incident = incident.waver(at(minute)).0;
    }
    incident.tell(Notice::Flapping, at(5));
    assert_eq!(incident.next_reminder(&policy()), None);
    let (incident, change) = incident.settle(at(65), &policy());
    assert_eq!(change, IncidentChange::Updated);
    assert_eq!(incident.owed(at(65), Mute::Audible, &policy()), Some(Notice::Reminder));
}

#[test]
fn the_second_step_is_told_once_and_only_where_nobody_acknowledged() {
    let policy = AlertPolicy { escalate_after: Some(SignedDuration::from_mins(15)), ..policy() };
    let mut incident = told();
    assert_eq!(incident.owed(at(14), Mute::Audible, &policy), None);
    assert_eq!(incident.owed(at(15), Mute::Audible, &policy), Some(Notice::Escalated));
    let acknowledged = incident.clone().acknowledge(at(10), "ada").0;
    assert_eq!(acknowledged.owed(at(15), Mute::Audible, &policy), None);
    incident.tell(Notice::Escalated, at(15));
    assert_eq!(incident.owed(at(59), Mute::Audible, &policy), None);
    assert_eq!(incident.owed(at(60), Mute::Audible, &policy), Some(Notice::Reminder));
    let mut mild = told();
    mild.facts.severity = Severity::Warning;
    assert_eq!(mild.owed(at(15), Mute::Audible, &policy), None);
}

#[test]
fn quiet_hours_let_the_first_mail_be_written_and_nothing_after_it() {
    assert_eq!(incident().owed(at(0), Mute::Quiet, &policy()), Some(Notice::Opened));
    assert_eq!(told().owed(at(600), Mute::Quiet, &policy()), None);
}

#[test]
fn a_superseded_incident_is_over_for_good() {
    let (incident, change) = told().supersede(at(5), "9b1e004");
    assert_eq!((change, incident.state.as_str()), (IncidentChange::Superseded, "superseded"));
    assert!(!incident.covers(at(6), &policy()), "what fails again is the newer deploy's");
    assert_eq!(incident.owed(at(600), Mute::Audible, &policy()), None);
    assert_eq!(incident.clear(at(7), "recovered", &policy()).1, IncidentChange::Nothing);
}

#[test]
fn what_older_versions_wrote_down_is_still_read() {
    let told: Told = serde_json::from_str(r#"{"members":["a"],"last_at":null,"reminders":2}"#).unwrap();
    assert_eq!((told.reminders, told.flaps), (2, Flaps::default()));
}

#[test]
fn what_a_person_types_stands_between_backticks() {
    assert_eq!(
        spans("Check with `deploywatch secret probe shop`, then wait"),
        [(false, "Check with "), (true, "deploywatch secret probe shop"), (false, ", then wait")]
    );
    assert_eq!(spans("Nothing to do"), [(false, "Nothing to do")]);
    assert_eq!(spans("a name with ` in it"), [(false, "a name with ` in it")], "a single one ends nothing");
}
