use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn rotation(people: &[&str], place: &str, starts: &str, handover: &str, weeks: u32) -> Rotation {
    let people = people.iter().map(|person| (*person).to_owned()).collect();
    let handover = parse_handover(handover).unwrap();
    Rotation::new(people, zone(place), starts.parse().unwrap(), handover, weeks).unwrap()
}

fn berlin() -> Rotation {
    rotation(&["ada", "bob", "cem"], "Europe/Berlin", "2026-01-05", "monday 09:00", 1)
}

#[test]
fn turns_change_at_the_handover_and_come_round() {
    let rotation = berlin();
    for (instant, person) in [
        ("2026-01-05T07:59:59Z", "cem"),
        ("2026-01-05T08:00:00Z", "ada"),
        ("2026-01-12T07:59:59Z", "ada"),
        ("2026-01-12T08:00:00Z", "bob"),
        ("2026-01-19T08:00:00Z", "cem"),
        ("2026-01-26T08:00:00Z", "ada"),
        // Before its first day it reaches back, so that there is always somebody.
        ("2025-12-24T12:00:00Z", "bob"),
    ] {
        assert_eq!(rotation.on_call(&[], at(instant)), person, "{instant}");
    }
}

#[test]
fn the_handover_keeps_its_time_on_the_clock_when_daylight_saving_begins_and_ends() {
    let rotation = berlin();
    // Clocks go forward on 29 March 2026 and back on 25 October: 09:00 is 08:00 UTC in winter, 07:00 in summer.
    for (before, after) in [
        ("2026-03-23T07:59:59Z", "2026-03-23T08:00:00Z"),
        ("2026-03-30T06:59:59Z", "2026-03-30T07:00:00Z"),
        ("2026-10-19T06:59:59Z", "2026-10-19T07:00:00Z"),
        ("2026-10-26T07:59:59Z", "2026-10-26T08:00:00Z"),
    ] {
        let (one, other) = (rotation.on_call(&[], at(before)), rotation.on_call(&[], at(after)));
        assert_ne!(one, other, "{after}");
    }
    // Every Monday of the two weeks with a change hands over exactly once: 167, 168 and 169 hours.
    let hours = |from: &str, until: &str| -> Vec<i64> {
        let shifts = rotation.schedule(&[], at(from), at(until));
        shifts.iter().map(|shift| shift.until.duration_since(shift.from).as_hours()).collect()
    };
    assert_eq!(hours("2026-03-16T12:00:00Z", "2026-04-01T00:00:00Z"), [168, 167, 168]);
    assert_eq!(hours("2026-10-12T12:00:00Z", "2026-10-28T00:00:00Z"), [168, 169, 168]);
}

#[test]
fn a_handover_that_the_clock_skips_or_has_twice_happens_once() {
    // 02:30 does not exist on Sunday 29 March in Berlin, and exists twice on 25 October.
    let rotation = rotation(&["ada", "bob"], "Europe/Berlin", "2026-01-04", "sunday 02:30", 1);
    for (from, until) in
        [("2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z"), ("2026-10-24T00:00:00Z", "2026-10-26T00:00:00Z")]
    {
        let shifts = rotation.schedule(&[], at(from), at(until));
        assert_eq!(shifts.len(), 2, "{shifts:?}");
        assert_eq!(shifts[0].until, shifts[1].from);
    }
    let skipped = rotation.schedule(&[], at("2026-03-28T00:00:00Z"), at("2026-03-30T00:00:00Z"));
    assert_eq!(skipped[1].from, at("2026-03-29T01:30:00Z"), "as much later as the clock jumped");
    let twice = rotation.schedule(&[], at("2026-10-24T00:00:00Z"), at("2026-10-26T00:00:00Z"));
    assert_eq!(twice[1].from, at("2026-10-25T00:30:00Z"), "the first of the two");
}

#[test]
fn zones_far_from_utc_hand_over_on_their_own_day() {
    for (place, handover) in [
        ("Pacific/Auckland", "2026-01-04T20:00:00Z"),
        ("America/Los_Angeles", "2026-01-05T17:00:00Z"),
        ("Asia/Kolkata", "2026-01-05T03:30:00Z"),
        ("Pacific/Kiritimati", "2026-01-04T19:00:00Z"),
        ("UTC", "2026-01-05T09:00:00Z"),
    ] {
        let rotation = rotation(&["ada", "bob"], place, "2026-01-05", "monday 09:00", 1);
        let second = jiff::SignedDuration::from_secs(1);
        assert_eq!(rotation.on_call(&[], at(handover)), "ada", "{place}");
        assert_eq!(rotation.on_call(&[], at(handover) - second), "bob", "{place}");
    }
}

#[test]
fn every_instant_of_two_years_has_exactly_one_person_and_the_schedule_agrees() {
    for place in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"] {
        let rotation = rotation(&["ada", "bob", "cem"], place, "2026-01-07", "wednesday 00:30", 2);
        let (from, until) = (at("2025-06-01T00:00:00Z"), at("2027-06-01T00:00:00Z"));
        let shifts = rotation.schedule(&[], from, until);
        assert!(
            shifts.windows(2).all(|pair| pair[0].until == pair[1].from && pair[0].person != pair[1].person)
        );
        assert!(shifts[0].from <= from && shifts.last().unwrap().until >= until);
        let mut now = from;
        while now < until {
            let shift = shifts.iter().find(|s| s.from <= now && now < s.until).unwrap();
            assert_eq!(shift.person, rotation.on_call(&[], now), "{place} {now}");
            now += jiff::SignedDuration::from_hours(5);
        }
    }
}

#[test]
fn somebody_who_stands_in_does_so_from_then_to_then() {
    let rotation = berlin();
    let stands_in = |text: &str| parse_substitute("primary", text, &zone("Europe/Berlin")).unwrap();
    let subs = [
        stands_in("2026-01-06T18:00 to 2026-01-08T09:00: cem"),
        stands_in("2026-01-07 to 2026-01-07T12:00: bob"),
    ];
    let shifts = rotation.schedule(&subs, at("2026-01-06T00:00:00Z"), at("2026-01-13T00:00:00Z"));
    let told: Vec<(&str, Option<&str>, String)> =
        shifts.iter().map(|s| (s.person.as_str(), s.instead_of.as_deref(), s.from.to_string())).collect();
    assert_eq!(
        told,
        [
            ("ada", None, "2026-01-05T08:00:00Z".to_owned()),
            ("cem", Some("ada"), "2026-01-06T17:00:00Z".to_owned()),
            ("bob", Some("ada"), "2026-01-06T23:00:00Z".to_owned()),
            ("cem", Some("ada"), "2026-01-07T11:00:00Z".to_owned()),
            ("ada", None, "2026-01-08T08:00:00Z".to_owned()),
            ("bob", None, "2026-01-12T08:00:00Z".to_owned()),
        ]
    );
}

#[test]
fn quiet_hours_end_on_the_clock_of_their_zone() {
    let (from, until) = parse_quiet("22:00-07:00").unwrap();
    let quiet = Quiet { from, until, zone: zone("Europe/Berlin") };
    for (instant, ends) in [
        ("2026-05-01T19:59:59Z", None),
        ("2026-05-01T20:00:00Z", Some("2026-05-02T05:00:00Z")),
        ("2026-05-02T04:59:59Z", Some("2026-05-02T05:00:00Z")),
        ("2026-05-02T05:00:00Z", None),
        // The night of the change is an hour shorter, or longer, and ends at seven all the same.
        ("2026-03-28T21:30:00Z", Some("2026-03-29T05:00:00Z")),
        ("2026-10-24T20:30:00Z", Some("2026-10-25T06:00:00Z")),
    ] {
        assert_eq!(quiet.ends(at(instant)), ends.map(at), "{instant}");
    }
    let (from, until) = parse_quiet("12:00-13:30").unwrap();
    let noon = Quiet { from, until, zone: TimeZone::UTC };
    assert_eq!(noon.ends(at("2026-05-01T12:30:00Z")), Some(at("2026-05-01T13:30:00Z")));
    assert_eq!(noon.ends(at("2026-05-01T13:30:00Z")), None);
}

#[test]
fn a_milder_severity_goes_to_the_more_severe_ones_people_unless_it_has_its_own() {
    let duty = Duty { critical: vec!["primary".into()], ..Duty::default() };
    assert_eq!(duty.of(Severity::Info), ["primary"]);
    let duty = Duty { warning: vec!["team@example.com".into()], ..duty };
    assert_eq!(duty.of(Severity::Critical), ["primary"]);
    assert_eq!(duty.of(Severity::Info), ["team@example.com"]);
    assert!(Duty::default().of(Severity::Critical).is_empty());
}

#[test]
fn each_address_is_told_once() {
    let person = |id: &str, email: &str| {
        (id.to_owned(), Person { id: id.into(), name: id.to_uppercase(), email: email.into() })
    };
    let roster = Roster {
        people: [person("ada", "Ada <ada@example.com>"), person("bob", "bob@example.com")].into(),
        rotations: [(
            "primary".to_owned(),
            rotation(&["ada", "bob"], "UTC", "2026-01-05", "monday 09:00", 1),
        )]
        .into(),
    };
    let names = ["primary", "ADA@example.com", "bob", "bob"].map(str::to_owned);
    let called = roster.called(&names, &[], at("2026-01-05T12:00:00Z"));
    let told: Vec<(&str, Option<&str>)> =
        called.iter().map(|c| (c.person.id.as_str(), c.by.as_deref())).collect();
    assert_eq!(told, [("ada", Some("primary")), ("bob", None)]);
}

#[test]
fn what_is_not_understood_is_said() {
    assert!(parse_handover("mon 9").is_err() && parse_handover("monday").is_err());
    assert!(
        parse_quiet("22:00").is_err()
            && parse_quiet("07:00-07:00").is_err()
            && parse_quiet("25:00-1:00").is_err()
    );
    let utc = TimeZone::UTC;
    for text in ["2026-12-24 bob", "2026-12-24 to 2026-12-20: bob", "soon to later: bob"] {
        assert!(parse_substitute("primary", text, &utc).is_err(), "{text}");
    }
    assert!(parse_moment("tomorrow", &utc).unwrap_err().contains("2026-12-24T09:00"));
}
