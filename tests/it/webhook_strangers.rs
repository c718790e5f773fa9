//! Whatever strangers send: every single bit of real deliveries flipped, and a bounded run of the fuzz target.

#[path = "../../fuzz/body.rs"]
mod body;

use deploywatch::domain::signature::{Claim, SigningKey, built_in, verify};
use proptest::prelude::*;

use crate::support::fixture_bytes;
use crate::support::hook::NEW;
use crate::support::signer::{captured, sign};

#[test]
fn each_flipped_bit_of_body_signature_and_secret_is_refused() {
    let scheme = built_in("lemonsqueezy").unwrap();
    let key = SigningKey::new(NEW.as_bytes()).unwrap();
    let body = captured("subscription_payment_success.captured-2025");
    let claim = Claim::plain(key.sign(&body));
    assert!(scheme.verifies(&key, &claim, &body));
    let mut flipped = body.clone();
    for bit in 0..body.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!scheme.verifies(&key, &claim, &flipped), "bit {bit} of the body");
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    let signature = hex::decode(sign(NEW, &body)).unwrap();
    for bit in 0..signature.len() * 8 {
        let mut wrong = signature.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let wrong = Claim::plain(deploywatch::domain::signature::Signature::new(&wrong).unwrap());
        assert!(!scheme.verifies(&key, &wrong, &body), "bit {bit} of the signature");
    }
    for bit in 0..NEW.len() * 8 {
        let mut other = NEW.as_bytes().to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        let other = SigningKey::new(&other).unwrap();
        assert!(!scheme.verifies(&other, &claim, &body), "bit {bit} of the secret");
        assert_eq!(verify(scheme, &body, &claim, [&other, &key]), [1]);
    }
}

/// Seeds that reach deep: real bodies under real signatures, and the odd forms of headers.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for name in ["subscription_created", "subscription_payment_success"] {
        let body = fixture_bytes(&format!("lemon_squeezy/{name}.captured-2025.wire.json"));
        for header in
            [sign(NEW, &body), format!("sha256={}", sign(NEW, &body)), "t=1,v1=00".into(), "v1,AA==".into()]
        {
            seeds.push([header.as_bytes(), b"\n1614265330\n", body.as_slice()].concat());
        }
    }
    seeds.push(b"\t\t\n\n{}".to_vec());
    seeds.push(b"\xff\xfe\n-1\n\xef\xbb\xbf{\"meta\":{\"event_name\":\"\\u0000\"},\"data\":{\"type\":\"a\",\"id\":1e400}}".to_vec());
    seeds.push([b"\n\n".as_slice(), "[".repeat(10_000).as_bytes()].concat());
    seeds
}

#[test]
fn seeds_hold() {
    for seed in seeds() {
        body::receive(&seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn noise_holds(input in prop::collection::vec(any::<u8>(), 0..600)) {
        body::receive(&input);
    }

    #[test]
    fn seeds_with_changes_hold(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..20),
    ) {
        let seeds = seeds();
        let mut input = seeds[which.index(seeds.len())].clone();
        for (at, byte, what) in changes {
            let at = at.index(input.len().max(1));
            match what {
                0 if at < input.len() => input[at] = byte,
                1 => input.insert(at, byte),
                _ if at < input.len() => drop(input.remove(at)),
                _ => {}
            }
        }
        body::receive(&input);
    }
}
