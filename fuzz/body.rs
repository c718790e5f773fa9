//! What strangers can send, in one function: any headers, any body, under every scheme. The fuzz target and a
//! bounded test of the normal run share it.

use deploywatch::domain::clock::Timestamp;
use deploywatch::domain::delivery::{read_event, read_head};
use deploywatch::domain::diagnosis::php::reencode;
use deploywatch::domain::diagnosis::recompute::{Candidate, recompute};
use deploywatch::domain::signature::{BUILT_IN, Claim, Headers, SigningKey, digest, verify};

const SECRET: &[u8] = b"fuzz-secret-0123456789abcdef";

/// The first line of `input` is the value of every header that a scheme reads (with `\t` between values of one
/// header), the second its timestamp and id; the rest is the body. Panics if something does not hold.
pub fn receive(input: &[u8]) {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (signature, stamp, body) = (next(), next(), next());
    let head = read_head(body);
    if let Ok(head) = &head {
        assert!(!head.event_name.is_empty() && !head.dedup_key().contains('\0'), "{head:?}");
    }
    for form in reencode(body) {
        // Whatever is written again says the same.
        if let (Ok(before), Ok(after)) = (&head, read_head(&form)) {
            assert_eq!(*before, after);
        }
    }
    for scheme in BUILT_IN.iter() {
        let Ok(key) = scheme.key(SECRET) else { continue };
        let mut headers = Headers::default();
        for name in scheme.wanted() {
            let values = if scheme.headers.contains(&name) { signature } else { stamp };
            values.split(|byte| *byte == b'\t').for_each(|value| headers.add(name.clone(), value));
        }
        if let Ok(claim) = scheme.read(&headers) {
            judge(scheme, &claim, body, &key);
        }
        genuine(scheme, body, &key);
    }
}

/// A made-up signature verifies nothing, is kept and read back unchanged, and never brings the diagnosis down.
fn judge(scheme: &deploywatch::domain::signature::Scheme, claim: &Claim, body: &[u8], key: &SigningKey) {
    let stranger = SigningKey::with(scheme.algorithm, b"another", b"another").expect("it is not empty");
    let found = verify(scheme, body, claim, [key, &stranger]);
    assert!(found.len() <= 2);
    if let Ok(head) = read_event(scheme, claim, body, &digest(body)) {
        assert!(!head.dedup_key().is_empty());
    }
    let kept = [claim.to_text().as_bytes(), body].concat();
    if let Some((again, rest)) = Claim::from_kept(&kept) {
        assert!(rest.ends_with(body));
        assert_eq!(again.signatures.len(), claim.signatures.len());
    }
    let _ = recompute(scheme, body, claim, &[Candidate { key, own_source: true }]);
    let _ = scheme.too_far_off(claim, Timestamp::UNIX_EPOCH);
}

/// What the scheme signs itself, it verifies; with one bit changed, it does not.
fn genuine(scheme: &deploywatch::domain::signature::Scheme, body: &[u8], key: &SigningKey) {
    let mut headers = Headers::default();
    for (name, value) in scheme.sign(key, "msg_1", Timestamp::UNIX_EPOCH, body) {
        headers.add(name.into(), value.as_bytes());
    }
    let claim = scheme.read(&headers).expect("a scheme reads what it wrote");
    assert!(scheme.verifies(key, &claim, body), "{}", scheme.name);
    let mut changed = body.to_vec();
    if let Some(byte) = changed.first_mut() {
        *byte ^= 1;
        assert!(!scheme.verifies(key, &claim, &changed), "{}", scheme.name);
    }
}
