//! Bodies as the store keeps them: packed, then sealed.
//!
//! A provider's JSON packs to less than half (LZ4, a few microseconds), and what a commit has to bring to the disk is
//! what an answer waits for.

use crate::domain::ids::{DeliveryId, Entropy};
use crate::services::secrets::{Keyring, Unsealable};

pub(super) fn seal(keyring: &Keyring, entropy: &dyn Entropy, id: &DeliveryId, body: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::compress_prepend_size(body);
    if packed.len() < body.len() {
        keyring.seal(entropy, &packed_of(id), &packed)
    } else {
        keyring.seal(entropy, id.as_str(), body)
    }
}

/// The bytes as they came. What a value is bound to says whether it is packed; those of earlier versions never are.
pub(super) fn open(keyring: &Keyring, id: &DeliveryId, sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
    match keyring.unseal(&packed_of(id), sealed) {
        Ok(packed) => lz4_flex::decompress_size_prepended(&packed).map_err(|_| Unsealable),
        Err(Unsealable) => Ok(keyring.unseal(id.as_str(), sealed)?.to_vec()),
    }
}

fn packed_of(id: &DeliveryId) -> String {
    format!("{id} packed")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::services::context::Keys;
    use crate::system::SystemEntropy;

    fn keyring() -> Keyring {
        Keyring::new(&Keys::new([7; 32]))
    }

    fn id(text: &str) -> DeliveryId {
        DeliveryId::from_text(text)
    }

    const BODY: &[u8] =
        include_bytes!("../../../tests/fixtures/lemon_squeezy/subscription_created.captured-2025.wire.json");

    #[test]
    fn a_providers_body_takes_less_than_half_the_room_and_opens_in_its_place_only() {
        let sealed = seal(&keyring(), &SystemEntropy, &id("dlv_1"), BODY);
        assert!(sealed.len() * 2 < BODY.len(), "{} of {}", sealed.len(), BODY.len());
        assert_eq!(open(&keyring(), &id("dlv_1"), &sealed).unwrap(), BODY);
        assert_eq!(open(&keyring(), &id("dlv_2"), &sealed), Err(Unsealable));
    }

    #[test]
    fn what_an_earlier_version_sealed_opens() {
        let sealed = keyring().seal(&SystemEntropy, "dlv_1", BODY);
        assert_eq!(open(&keyring(), &id("dlv_1"), &sealed).unwrap(), BODY);
    }

    proptest! {
        #[test]
        fn every_body_comes_back_byte_for_byte(body: Vec<u8>) {
            let sealed = seal(&keyring(), &SystemEntropy, &id("dlv_1"), &body);
            prop_assert_eq!(open(&keyring(), &id("dlv_1"), &sealed).unwrap(), body);
        }
    }
}
