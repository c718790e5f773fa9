//! One change of a signing secret. It holds two independent proofs, the provider's and the product's, in
//! either order; its phase is derived from them and never stored.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::ids::{RotationId, SecretVersionId};
use super::secret::{SecretState, Slot, StateName};

/// A rotation as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    pub id: RotationId,
    pub slot: Slot,
    /// The version to be replaced; absent for the first secret of a slot.
    pub from: Option<SecretVersionId>,
    /// The version to replace it; absent while the rotation is only planned.
    pub to: Option<SecretVersionId>,
    pub started_at: Timestamp,
    pub started_by: String,
    /// Without the next proof by then, the rotation is stuck.
    pub deadline_at: Timestamp,
    pub provider: Option<Proof>,
    pub product: Option<Proof>,
    pub end: Option<End>,
}

/// What shows that one side uses the new secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub at: Timestamp,
    pub by: ProofKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ProofKind {
    /// The provider signed this delivery with the new secret.
    Delivery { delivery: String },
    /// The product accepted a relayed delivery that only the new secret verifies.
    Relay { delivery: String },
    /// The product accepted what the new secret signed and refused what the old one signed.
    Probe,
    /// The product reported the fingerprint of the secret it holds.
    Fingerprint,
    /// A person vouches for it.
    Operator { actor: String },
    /// Nothing watches this side: said honestly instead of a proof.
    NotWatched,
}

impl ProofKind {
    /// For a person: what the proof rests on.
    pub fn describe(&self) -> String {
        match self {
            Self::Delivery { delivery } => format!("it signed delivery {delivery}"),
            Self::Relay { delivery } => format!("it accepted relayed delivery {delivery}"),
            Self::Probe => "the probe saw it accept the new and refuse the old secret".into(),
            Self::Fingerprint => "it reported the new secret's fingerprint".into(),
            Self::Operator { actor } => format!("{actor} vouched for it"),
            Self::NotWatched => "not watched (no relay, probe or fingerprint report is set up)".into(),
        }
    }
}

/// How a rotation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub at: Timestamp,
    pub how: EndKind,
    pub note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndKind {
    Completed,
    RolledBack,
    /// Given up by a person.
    Failed,
}

impl EndKind {
    pub const ALL: [Self; 3] = [Self::Completed, Self::RolledBack, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
        }
    }
}

/// Who takes part in a rotation besides us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Provider,
    Product,
}

/// Where a rotation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    Planned,
    Staged,
    HalfSwitched { waiting_for: Side },
    Draining,
    Completed,
    Stuck { waiting_for: Side },
    Overdue,
    RolledBack,
    Failed,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Staged => "staged",
            Self::HalfSwitched { .. } => "half_switched",
            Self::Draining => "draining",
            Self::Completed => "completed",
            Self::Stuck { .. } => "stuck",
            Self::Overdue => "overdue",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
        }
    }

    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::RolledBack | Self::Failed)
    }

    /// The sentence that `secret status` shows.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Planned => "announced; the new secret is not known here yet",
            Self::Staged => {
                "the new secret is accepted here, but neither the provider nor the product uses it yet"
            }
            Self::HalfSwitched { waiting_for: Side::Product } => {
                "the provider signs with the new secret; the product has not proved that it knows it"
            }
            Self::HalfSwitched { waiting_for: Side::Provider } => {
                "the product knows the new secret; the provider has not signed with it yet"
            }
            Self::Draining => "both sides switched; waiting until the old secret is quiet",
            Self::Completed => "both sides use the new secret and the old one is retired",
            Self::Stuck { waiting_for: Side::Provider } => {
                "the deadline passed and the provider never signed with the new secret"
            }
            Self::Stuck { waiting_for: Side::Product } => {
                "the deadline passed and the product never proved that it knows the new secret"
            }
            Self::Overdue => "the overlap is over and deliveries are still signed with the old secret",
            Self::RolledBack => "given up in favour of the old secret",
            Self::Failed => "given up by a person",
        }
    }
}

/// What is refused on a rotation that is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rotation {id} is {phase} and takes no more evidence")]
pub struct InvalidTransition {
    pub id: RotationId,
    pub phase: &'static str,
}

impl Rotation {
    /// Adds a proof. The first proof of a side stays, except that a real one replaces "not watched".
    pub fn observe(mut self, side: Side, proof: Proof) -> Result<Self, InvalidTransition> {
        if let Some(end) = &self.end {
            return Err(InvalidTransition { id: self.id, phase: end.how.as_str() });
        }
        let place = match side {
            Side::Provider => &mut self.provider,
            Side::Product => &mut self.product,
        };
        let replace = match place {
            None => true,
            Some(held) => held.by == ProofKind::NotWatched && proof.by != ProofKind::NotWatched,
        };
        if replace {
            *place = Some(proof);
        }
        Ok(self)
    }

    pub fn close(mut self, how: EndKind, at: Timestamp, note: &str) -> Result<Self, InvalidTransition> {
        if let Some(end) = &self.end {
            return Err(InvalidTransition { id: self.id, phase: end.how.as_str() });
        }
        self.end = Some(End { at, how, note: note.to_owned() });
        Ok(self)
    }

    /// Derives the phase from the proofs, the old version's state and the time.
    pub fn phase(&self, old: Option<&SecretState>, now: Timestamp) -> Phase {
        if let Some(end) = &self.end {
            return match end.how {
                EndKind::Completed => Phase::Completed,
                EndKind::RolledBack => Phase::RolledBack,
                EndKind::Failed => Phase::Failed,
            };
        }
        if self.to.is_none() {
            return Phase::Planned;
        }
        let old = old.map(SecretState::name);
        if old == Some(StateName::Overdue) {
            return Phase::Overdue;
        }
        let late = self.deadline_at <= now;
        match (&self.provider, &self.product) {
            (None, None) if late => Phase::Stuck { waiting_for: Side::Provider },
            (None, None) => Phase::Staged,
            (None, Some(_)) if late => Phase::Stuck { waiting_for: Side::Provider },
            (None, Some(_)) => Phase::HalfSwitched { waiting_for: Side::Provider },
            (Some(_), None) if late => Phase::Stuck { waiting_for: Side::Product },
            (Some(_), None) => Phase::HalfSwitched { waiting_for: Side::Product },
            (Some(_), Some(_)) => match old {
                None | Some(StateName::Retired | StateName::Compromised | StateName::Purged) => {
                    Phase::Completed
                }
                _ => Phase::Draining,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SignedDuration;
    use crate::domain::secret::SlotMode;

    fn at(hours: i64) -> Timestamp {
        "2026-05-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
    }

    fn begun() -> Rotation {
        Rotation {
            id: RotationId::from_text("rot_1"),
            slot: Slot { source: "lemonsqueezy".into(), mode: SlotMode::Live },
            from: Some(SecretVersionId::from_text("sec_1")),
            to: Some(SecretVersionId::from_text("sec_2")),
            started_at: at(0),
            started_by: "ana".into(),
            deadline_at: at(24),
            provider: None,
            product: None,
            end: None,
        }
    }

    fn with(rotation: Rotation, side: Side, hour: i64, by: ProofKind) -> Rotation {
        rotation.observe(side, Proof { at: at(hour), by }).unwrap()
    }

    #[test]
    fn the_phase_follows_from_the_proofs_in_either_order() {
        let retiring = SecretState::Retiring { since: at(1), overlap_until: at(25) };
        let retired = SecretState::Retired { since: at(25), detect_until: at(999) };
        let overdue = SecretState::Overdue { since: at(26) };
        let provider = with(begun(), Side::Provider, 1, ProofKind::Delivery { delivery: "dlv_1".into() });
        let product = with(begun(), Side::Product, 1, ProofKind::Probe);
        let both = with(provider.clone(), Side::Product, 2, ProofKind::Fingerprint);
        let planned = Rotation { to: None, ..begun() };
        let table = [
            (&planned, &retiring, 2, Phase::Planned),
            (&begun(), &retiring, 2, Phase::Staged),
            (&begun(), &retiring, 24, Phase::Stuck { waiting_for: Side::Provider }),
            (&provider, &retiring, 2, Phase::HalfSwitched { waiting_for: Side::Product }),
            (&provider, &retiring, 24, Phase::Stuck { waiting_for: Side::Product }),
            (&product, &retiring, 2, Phase::HalfSwitched { waiting_for: Side::Provider }),
            (&product, &retiring, 24, Phase::Stuck { waiting_for: Side::Provider }),
            (&both, &retiring, 30, Phase::Draining),
            (&both, &overdue, 30, Phase::Overdue),
            (&both, &retired, 30, Phase::Completed),
        ];
        for (rotation, old, hour, expected) in table {
            assert_eq!(rotation.phase(Some(old), at(hour)), expected, "{old:?} at {hour}");
        }
    }

    #[test]
    fn the_first_proof_stays_and_a_closed_rotation_takes_none() {
        let unwatched = with(begun(), Side::Product, 1, ProofKind::NotWatched);
        let probed = with(unwatched, Side::Product, 2, ProofKind::Probe);
        assert_eq!(probed.product.as_ref().unwrap().by, ProofKind::Probe);
        let again = with(probed, Side::Product, 3, ProofKind::Fingerprint);
        assert_eq!(again.product.as_ref().unwrap().at, at(2));

        let closed = again.close(EndKind::RolledBack, at(4), "product could not be built").unwrap();
        assert_eq!(closed.phase(None, at(5)), Phase::RolledBack);
        let refused = closed.observe(Side::Provider, Proof { at: at(5), by: ProofKind::Probe }).unwrap_err();
        assert_eq!(refused.to_string(), "rotation rot_1 is rolled_back and takes no more evidence");
    }
}
