use proptest::prelude::*;

use super::scheme::{BadContent, BadSecret, Content};
use super::*;
use crate::domain::clock::Timestamp;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn read_json(path: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(format!("{FOLDER}/{path}")).unwrap()).unwrap()
}

fn lemon() -> &'static Scheme {
    built_in("lemonsqueezy").unwrap()
}

fn key(secret: &str) -> SigningKey {
    SigningKey::new(secret.as_bytes()).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in pairs {
        headers.add(name.to_ascii_lowercase().into(), value.as_bytes());
    }
    headers
}

/// Reads the values of `X-Signature` headers as Lemon Squeezy's.
fn read_values(values: &[&[u8]]) -> Result<Claim, HeaderProblem> {
    let mut headers = Headers::default();
    values.iter().for_each(|value| headers.add("x-signature".into(), value));
    lemon().read(&headers)
}

fn named(problem: Result<Claim, HeaderProblem>) -> Result<(), String> {
    match problem {
        Ok(_) => Ok(()),
        Err(HeaderProblem::Malformed(Some(foreign))) => Err(foreign.provider().to_owned()),
        Err(other) => Err(format!("{other:?}")),
    }
}

#[test]
fn every_captured_body_is_matched_by_its_own_secret_and_by_no_other() {
    let vectors = read_json("lemon_squeezy/vectors.json");
    let new = key(vectors["secrets"]["new"].as_str().unwrap());
    let old = key(vectors["secrets"]["old"].as_str().unwrap());
    let files = vectors["files"].as_object().unwrap();
    assert_eq!(files.len(), 6);
    for (name, vector) in files {
        let body = std::fs::read(format!("{FOLDER}/lemon_squeezy/{name}")).unwrap();
        assert_eq!(body.len() as u64, vector["bytes"].as_u64().unwrap(), "{name}");
        assert_eq!(digest(&body), vector["sha256"].as_str().unwrap(), "{name}");
        for (field, value) in vector.as_object().unwrap() {
            let Some(value) = value.as_str().filter(|_| field.starts_with("sig_")) else { continue };
            let found = match read_values(&[value.as_bytes()]) {
                Ok(claim) => verify(lemon(), &body, &claim, [&new, &old]),
                Err(problem) => {
                    assert_eq!(named(Err(problem)), Err("Shopify".into()));
                    Vec::new()
                }
            };
            let expected = match field.as_str() {
                "sig_new" => vec![0],
                "sig_old" => vec![1],
                _ => Vec::new(),
            };
            assert_eq!(found, expected, "{name} {field}");
        }
    }
}

#[test]
fn a_vector_published_by_others_holds() {
    let external = &read_json("lemon_squeezy/vectors.json")["external_check"];
    let text = |field: &str| external[field].as_str().unwrap().to_owned();
    assert_eq!(hex::encode(key(&text("secret")).sign(text("body").as_bytes())), text("expected"));
}

/// Each built-in scheme against what its provider published, and against every way to break it.
#[test]
fn published_vectors_of_other_providers_hold() {
    let vectors = read_json("signatures/vectors.json");
    for vector in vectors["vectors"].as_array().unwrap() {
        let text = |field: &str| vector[field].as_str().unwrap();
        let name = text("scheme");
        let scheme = built_in(name).unwrap_or_else(|| panic!("{name} is built in"));
        let body = match vector["body_file"].as_str() {
            Some(file) => std::fs::read(format!("{FOLDER}/signatures/{file}")).unwrap(),
            None => text("body").as_bytes().to_vec(),
        };
        let sent: Vec<(&str, &str)> = vector["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str().unwrap()))
            .collect();
        let right = scheme.key(text("secret").as_bytes()).unwrap();
        let wrong = scheme.key(text("wrong_secret").as_bytes()).unwrap();
        let claim = scheme.read(&headers(&sent)).unwrap_or_else(|problem| panic!("{name}: {problem:?}"));
        assert_eq!(verify(scheme, &body, &claim, [&wrong, &right, &wrong]), [1], "{name}");

        for at in 0..body.len() {
            let mut flipped = body.clone();
            flipped[at] ^= 1;
            assert!(!scheme.verifies(&right, &claim, &flipped), "{name}: byte {at} of the body");
        }
        for signature in 0..claim.signatures.len() {
            let mut broken = claim.clone();
            broken.signatures.iter_mut().for_each(|s| s.bytes[0] ^= 1);
            assert!(!scheme.verifies(&right, &broken, &body), "{name}: signature {signature}");
        }
        let other = |text: &Option<String>| text.as_ref().map(|text| format!("{text}1"));
        for broken in [
            Claim { timestamp: other(&claim.timestamp), ..claim.clone() },
            Claim { id: other(&claim.id), ..claim.clone() },
        ] {
            let covered = broken.timestamp != claim.timestamp || scheme.content.needs(&scheme::Piece::Id);
            assert_eq!(scheme.verifies(&right, &broken, &body), !covered || broken == claim, "{name}");
        }
        if let Some(at) = claim.timestamp.as_ref().map(|at| at.parse::<i64>().unwrap()) {
            let now = |off: i64| Timestamp::from_second(at + off).unwrap();
            for (off, expected) in
                [(0, None), (300, None), (-300, None), (301, Some(301)), (-301, Some(-301))]
            {
                assert_eq!(scheme.too_far_off(&claim, now(off)), expected, "{name}");
            }
        }
    }
}

#[test]
fn what_a_scheme_signs_it_reads_and_verifies() {
    let at: Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
    for scheme in BUILT_IN.iter() {
        let secret = scheme.key(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let sent = scheme.sign(&secret, "msg_1", at, b"{}");
        let pairs: Vec<(&str, &str)> =
            sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let claim = scheme.read(&headers(&pairs)).unwrap();
        assert!(scheme.verifies(&secret, &claim, b"{}"), "{}", scheme.name);
        assert_eq!(scheme.too_far_off(&claim, at), None, "{}", scheme.name);
        let kept = [claim.to_text().as_bytes(), b"{\n}\n\n"].concat();
        assert_eq!(Claim::from_kept(&kept), Some((claim, &b"{\n}\n\n"[..])), "{}", scheme.name);
        assert!(scheme.wanted().iter().all(|name| name.to_ascii_lowercase() == *name));
    }
}

#[test]
fn headers_are_read_strictly() {
    let good = "a".repeat(64);
    let upper = good.to_uppercase();
    let list = format!("{good}, {good}");
    let long = "a".repeat(65);
    let spaced = format!("{} {}", "a".repeat(32), "a".repeat(31));
    let base64 = format!("{}=", "A".repeat(43));
    let (missing, ambiguous, malformed) = ("Missing", "Ambiguous", "Malformed(None)");
    let table: Vec<(Vec<&str>, &str)> = vec![
        (vec![], missing),
        (vec![""], missing),
        (vec!["  "], missing),
        (vec![&good], ""),
        (vec![&upper], ""),
        (vec![" \taaaa"], malformed),
        (vec![&good, &good], ""),
        (vec![&good, &upper], ambiguous),
        (vec![&good, ""], ambiguous),
        (vec![&list], ambiguous),
        (vec![&good[..63]], malformed),
        (vec![&long], malformed),
        (vec![&spaced], malformed),
        (vec!["0xaaaa"], malformed),
        (vec!["sha256=abcdef"], "GitHub"),
        (vec!["t=1492774577,v1=5257a869"], "Stripe"),
        (vec!["ts=1671552777;h1=eb4d0dc8"], "Paddle"),
        (vec!["v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="], "the sender (Standard Webhooks, Svix)"),
        (vec![&good[..40]], "Vercel"),
        (vec![&base64], "Shopify"),
    ];
    for (values, expected) in table {
        let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(named(read_values(&bytes)).err().unwrap_or_default(), expected, "{values:?}");
    }
    assert_eq!(read_values(&[b"\xff\xfe"]), Err(HeaderProblem::Malformed(None)));
    assert_eq!(read_values(&[format!(" {good}\t").as_bytes()]), read_values(&[good.as_bytes()]));
}

#[test]
fn another_providers_header_says_who_came_to_the_wrong_door() {
    let none = lemon().read(&headers(&[("X-Hub-Signature-256", "sha256=00")]));
    assert_eq!(named(none), Err("GitHub".into()));
    let stripe = built_in("stripe").unwrap();
    assert_eq!(
        named(stripe.read(&headers(&[("X-Signature", &"a".repeat(64))]))),
        Err("Lemon Squeezy".into())
    );
    assert_eq!(named(stripe.read(&headers(&[]))), Err("Missing".into()));
}

#[test]
fn lists_of_signatures_are_bounded_and_need_their_timestamp() {
    let stripe = built_in("stripe").unwrap();
    let one = "a".repeat(64);
    let read = |value: &str| stripe.read(&headers(&[("stripe-signature", value)])).is_ok();
    assert!(read(&format!("t=1,v1={one}")));
    assert!(read(&format!("v0=zz, v1={one}, v1=zz, t=1")));
    assert!(!read(&format!("v1={one}")));
    assert!(!read(&format!("t=1,t=2,v1={one}")));
    assert!(!read(&format!("t=-1,v1={one}")));
    assert!(!read("t=1,v1=zz"));
    assert!(!read(&format!("t=1{}", format!(",v1={one}").repeat(17))));
    let svix = built_in("standard_webhooks").unwrap();
    let base64 = format!("v1,{}=", "A".repeat(43));
    let whole = [("svix-signature", base64.as_str()), ("svix-id", "m"), ("svix-timestamp", "1")];
    assert!(svix.read(&headers(&whole)).is_ok());
    for lacking in 0..3 {
        let mut some = whole.to_vec();
        some.remove(lacking);
        assert!(svix.read(&headers(&some)).is_err(), "{lacking}");
    }
}

#[test]
fn secrets_stand_for_the_bytes_that_their_provider_means() {
    let svix = built_in("standard_webhooks").unwrap();
    assert_eq!(svix.key(b"whsec_ not base64").unwrap_err(), BadSecret::NotBase64);
    assert_eq!(svix.key(b"whsec_").unwrap_err(), BadSecret::Empty(EmptySecret));
    assert_eq!(svix.key(b"aGVsbG8=").unwrap().sign(b"x"), key("hello").sign(b"x"));
    // Stripe writes whsec_ too, and means the text itself.
    let stripe = built_in("stripe").unwrap();
    assert_eq!(stripe.key(b"whsec_abc").unwrap().sign(b"x"), key("whsec_abc").sign(b"x"));
}

#[test]
fn templates_are_read_or_explained() {
    assert_eq!(
        &Content::parse("{id}.{timestamp}.{body}").unwrap(),
        &built_in("standard_webhooks").unwrap().content
    );
    assert_eq!(Content::parse("{timestamp}"), Err(BadContent::Body));
    assert_eq!(Content::parse("{body}{body}"), Err(BadContent::Body));
    assert_eq!(Content::parse("{time}.{body}"), Err(BadContent::Unknown("time".into())));
    assert_eq!(Content::parse("{body"), Err(BadContent::Brace));
    assert_eq!(Content::parse("body}{body}"), Err(BadContent::Brace));
}

/// Slack's is not built in: its documented example is verified by a scheme that is nothing but settings.
#[test]
fn a_scheme_of_ones_own_verifies_a_published_vector() {
    let vector = &read_json("signatures/vectors.json")["slack"];
    let text = |field: &str| vector[field].as_str().unwrap();
    let slack = Scheme {
        name: "slack".into(),
        headers: vec!["x-slack-signature".into()],
        prefix: "v0=".into(),
        timestamp_headers: vec!["x-slack-request-timestamp".into()],
        content: Content::parse("v0:{timestamp}:{body}").unwrap(),
        ..built_in("generic").unwrap().clone()
    };
    let sent = [("X-Slack-Signature", text("signature")), ("X-Slack-Request-Timestamp", text("timestamp"))];
    let claim = slack.read(&headers(&sent)).unwrap();
    assert!(slack.verifies(&slack.key(text("secret").as_bytes()).unwrap(), &claim, text("body").as_bytes()));
}

/// RFC 2202 and RFC 4231, test case 2.
#[test]
fn each_algorithm_is_the_standards() {
    for (algorithm, expected) in [
        (Algorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (Algorithm::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            Algorithm::Sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ] {
        let key = SigningKey::with(algorithm, b"Jefe", b"Jefe").unwrap();
        assert_eq!(hex::encode(key.sign(b"what do ya want for nothing?")), expected);
        assert_eq!(expected.len(), algorithm.size() * 2);
    }
}

#[test]
fn an_empty_secret_is_refused_and_no_secret_is_shown() {
    assert_eq!(SigningKey::new(b"").unwrap_err(), EmptySecret);
    assert!(!format!("{:?}", key("hunter2-hunter2")).contains("hunter2"));
    assert!(!format!("{:?}", headers(&[("x-signature", "hunter2")])).contains("hunter2"));
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(body in prop::collection::vec(any::<u8>(), 1..400), secret in prop::collection::vec(any::<u8>(), 1..60), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let key = SigningKey::new(&secret).unwrap();
        let good = Claim::plain(key.sign(&body));
        prop_assert!(lemon().verifies(&key, &good, &body));

        let mut flipped = body.clone();
        flipped[at.index(body.len())] ^= 1 << bit;
        prop_assert!(!lemon().verifies(&key, &good, &flipped));

        let mut wrong = good.clone();
        wrong.signatures[0].bytes[at.index(32)] ^= 1 << bit;
        prop_assert!(!lemon().verifies(&key, &wrong, &body));

        let mut other = secret.clone();
        other[at.index(secret.len())] ^= 1 << bit;
        // A key is padded with zeros, so a last byte that becomes zero makes the same key.
        let same = |s: &[u8]| s.iter().rposition(|b| *b != 0).map_or(Vec::new(), |last| s[..=last].to_vec());
        if same(&other) != same(&secret) {
            prop_assert!(!lemon().verifies(&SigningKey::new(&other).unwrap(), &good, &body));
        }

        let mut longer = body.clone();
        longer.push(b'\n');
        prop_assert!(!lemon().verifies(&key, &good, &longer));
    }

    #[test]
    fn any_header_is_read_without_a_panic(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..4), text in "(t=|ts=|v1=|v1,|h1=|sha256=|[,; 0-9a-fA-F=+/]){0,12}") {
        for scheme in BUILT_IN.iter() {
            let mut some = Headers::default();
            values.iter().for_each(|value| some.add(scheme.headers[0].clone(), value));
            let _ = scheme.read(&some);
            let _ = scheme.read(&headers(&[(&scheme.headers[0], &text)]));
        }
    }

    #[test]
    fn whatever_was_kept_is_read_without_a_panic(kept in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Claim::from_kept(&kept);
    }
}
