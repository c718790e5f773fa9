use super::*;
use crate::domain::clock::SignedDuration;
use crate::domain::secret::{Origin, Slot, Usage};
use crate::domain::signature::{Signature, built_in};

const AGENTS: &[Text] = &[Text::Borrowed(HOOKSHOT)];
const ANY: Rules<'_> = Rules { overdue: Overdue::Accept, store_ids: &[], agents: AGENTS };
const STRICT: Rules<'_> = Rules { overdue: Overdue::Reject, store_ids: &[], agents: AGENTS };

fn wire(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/lemon_squeezy/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

#[test]
fn captured_bodies_say_what_they_are() {
    let head = read_head(&wire("subscription_payment_success.captured-2025.wire.json")).unwrap();
    assert_eq!(head.event_name, "subscription_payment_success");
    assert_eq!((head.data_type.as_str(), head.data_id.as_str()), ("subscription-invoices", "4591820"));
    assert_eq!(head.dedup_key(), "id:82215a0d-412c-4f60-88b7-24c710f64f3a");
    assert_eq!((head.mode(), head.store_id), (SlotMode::Test, Some(224_253)));

    let old = read_head(&wire("subscription_updated.captured-2023.wire.json")).unwrap();
    assert_eq!(old.dedup_key(), "key:subscription_updated|subscriptions|91872|2023-07-01T14:32:59.000000Z");
}

#[test]
fn bodies_are_read_kindly_but_not_as_something_else() {
    let read = |text: &str| read_head(text.as_bytes());
    let number = read(r#"{"meta":{"event_name":"x"},"data":{"type":"orders","id":7}}"#).unwrap();
    assert_eq!((number.data_id.as_str(), number.mode()), ("7", SlotMode::Live));
    let empty_array = r#"{"meta":{"event_name":"x","custom_data":[]},"data":{"type":"o","id":"1","attributes":{"test_mode":true}}}"#;
    assert_eq!(read(empty_array).unwrap().mode(), SlotMode::Test);
    for bad in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"meta":{},"data":{"type":"o","id":"1"}}"#,
        r#"{"meta":{"event_name":""},"data":{"type":"o","id":"1"}}"#,
        r#"{"meta":{"event_name":"x"},"data":{"type":"o","id":{}}}"#,
        r#"{"meta":{"event_name":"x\u0000"},"data":{"type":"o","id":"1"}}"#,
    ] {
        assert_eq!(read(bad), Err(NotAnEvent), "{bad}");
    }
    assert_eq!(read_head(b"\xff\xfe{}"), Err(NotAnEvent));
}

fn claim() -> Claim {
    Claim::plain(Signature::new(&[0; 32]).unwrap())
}

/// What other providers' bodies say, by the scheme's places.
#[test]
fn heads_of_other_providers_are_read_where_their_scheme_says() {
    let scheme = |name: &str| built_in(name).unwrap();
    let read = |name: &str, claim: &Claim, body: &str| read_event(scheme(name), claim, body.as_bytes(), "d1");
    let stripe =
        read("stripe", &claim(), r#"{"id":"evt_1","type":"invoice.paid","livemode":false}"#).unwrap();
    assert_eq!((stripe.event_name.as_str(), stripe.mode()), ("invoice.paid", SlotMode::Test));
    assert_eq!(stripe.dedup_key(), "id:evt_1");
    assert_eq!(stripe.business_key(), "invoice.paid|body|d1|");
    for bad in ["", "[]", r#"{"id":"evt_1"}"#, r#"{"id":"evt_1","type":{}}"#] {
        assert_eq!(read("stripe", &claim(), bad), Err(NotAnEvent), "{bad}");
    }

    let named = Claim { event: Some("push".into()), id: Some("guid".into()), ..claim() };
    let github = read("github", &named, "payload=%7B%7D").unwrap();
    // Its signature does not cover the id, so that a replay could carry another one.
    assert_eq!((github.event_name.as_str(), github.dedup_key().as_str()), ("push", "key:push|body|d1|"));
    let svix = Claim { id: Some("msg_1".into()), ..claim() };
    let svix = read("standard_webhooks", &svix, r#"{"type":"invoice.paid"}"#).unwrap();
    assert_eq!(svix.dedup_key(), "id:msg_1", "what is signed identifies");
    // Nothing names it and nothing identifies it: the bytes do.
    let opaque = read("generic", &claim(), "any bytes").unwrap();
    assert_eq!(
        (opaque.event_name.as_str(), opaque.dedup_key().as_str()),
        ("webhook", "key:webhook|body|d1|")
    );
}

fn version(state: SecretState) -> SecretVersion {
    SecretVersion {
        id: SecretVersionId::from_text("sec_1"),
        slot: Slot { source: "lemonsqueezy".into(), mode: SlotMode::Live },
        number: 1,
        fingerprint: "aaaaaaaaaaaa".into(),
        length: 32,
        warnings: Vec::new(),
        origin: Origin::Environment,
        added_at: now(),
        state,
        usage: Usage::default(),
        stale_since: None,
    }
}

fn received(check: Check) -> Received {
    Received {
        id: DeliveryId::from_text("dlv_1"),
        source: "lemonsqueezy".into(),
        at: now(),
        sender: "s".into(),
        user_agent: Some(HOOKSHOT.into()),
        event_header: Some("order_created".into()),
        content_encoding: None,
        body_bytes: 2,
        body_digest: "d".into(),
        check,
    }
}

fn head(test_mode: bool) -> EventHead {
    EventHead {
        event_name: "order_created".into(),
        data_type: "orders".into(),
        data_id: "1".into(),
        updated_at: None,
        webhook_id: None,
        test_mode: Some(test_mode),
        store_id: None,
    }
}

#[test]
fn the_state_of_the_matched_version_decides() {
    let since = now() - hours(48);
    let later = now() + hours(1);
    let table = [
        (SecretState::Active { since }, 200, Class::Verified),
        (SecretState::Staged { since, deadline: later }, 200, Class::NewSecret),
        (SecretState::Retiring { since, overlap_until: later }, 200, Class::RetiringSecret),
        (SecretState::Retiring { since, overlap_until: now() }, 200, Class::OverdueSecret),
        (SecretState::Overdue { since }, 200, Class::OverdueSecret),
        (SecretState::Retired { since, detect_until: later }, 401, Class::StaleSecret),
        (
            SecretState::Compromised { since, detect_until: later, reason: String::new() },
            401,
            Class::CompromisedSecret,
        ),
    ];
    for (state, status, class) in table {
        let version = version(state.clone());
        let check = Check::Matched { version: version.id.clone(), claim: claim(), head: Ok(head(false)) };
        let found = dispose(&received(check), Some(&version), ANY);
        assert_eq!((found.answer.status(), found.class), (status, class), "{state:?}");
    }
}

#[test]
fn what_is_not_verified_gets_its_answer_and_its_standing() {
    let unmatched = Check::Unmatched { claim: claim() };
    let table = [
        (unmatched, 401, Standing::Bad, true),
        (Check::Header(HeaderProblem::Missing), 401, Standing::Bad, false),
        (Check::Header(HeaderProblem::Ambiguous), 400, Standing::Bad, false),
        (Check::Header(HeaderProblem::Malformed(None)), 400, Standing::Bad, false),
        (Check::TooLarge, 413, Standing::Noise, false),
        (Check::TooSlow, 408, Standing::Noise, false),
        (Check::NoSecret, 503, Standing::Noise, false),
    ];
    for (check, status, standing, quarantine) in table {
        let found = dispose(&received(check.clone()), None, ANY);
        assert_eq!(
            (found.answer.status(), found.standing, found.quarantine),
            (status, standing, quarantine),
            "{check:?}"
        );
    }
    let mut scanner = received(Check::Header(HeaderProblem::Missing));
    scanner.user_agent = Some("curl/8".into());
    assert_eq!(dispose(&scanner, None, ANY).standing, Standing::Noise);
}

#[test]
fn odd_but_genuine_deliveries_are_accepted_and_named() {
    let active = version(SecretState::Active { since: now() });
    let matched = |head| received(Check::Matched { version: active.id.clone(), claim: claim(), head });
    let dispose = |received: &Received| dispose(received, Some(&active), ANY);
    assert_eq!(dispose(&matched(Ok(head(true)))).class, Class::TestOnLive);
    let other_store = Rules { store_ids: &[7], ..ANY };
    let found = super::dispose(&matched(Ok(head(false))), Some(&active), other_store);
    assert_eq!((found.answer, found.class), (Answer::Stored, Class::UnexpectedStore));
    let mut renamed = matched(Ok(head(false)));
    renamed.event_header = Some("order_refunded".into());
    assert_eq!(dispose(&renamed).class, Class::EventNameDiffers);
    let broken = dispose(&matched(Err(NotAnEvent)));
    assert_eq!((broken.answer, broken.class), (Answer::Malformed, Class::Unparsable));
}

#[test]
fn a_strict_policy_refuses_what_is_overdue_and_keeps_it() {
    let old = version(SecretState::Overdue { since: now() });
    let check = Check::Matched { version: old.id.clone(), claim: claim(), head: Ok(head(false)) };
    let found = dispose(&received(check), Some(&old), STRICT);
    assert_eq!((found.answer, found.class, found.quarantine), (Answer::Refused, Class::OverdueSecret, true));
}
