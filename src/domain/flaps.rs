//! A problem that comes and goes: how often it turned within the last hour, and whether that was told.

use serde::{Deserialize, Serialize};

use super::clock::{SignedDuration, Timestamp};

/// Turns are counted over this long; without one for as long, it is calm again.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// More turns than this within the window are flapping.
const TURNS: usize = 4;

/// The turns of an incident: its beginning, each going and each coming back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flaps {
    turns: Vec<Timestamp>,
    flapping_since: Option<Timestamp>,
    flapping_told: bool,
}

impl Flaps {
    pub fn begun(at: Timestamp) -> Self {
        Self { turns: vec![at], ..Self::default() }
    }

    /// It went, or it came back.
    pub fn turn(&mut self, at: Timestamp) {
        self.turns.retain(|turn| at.duration_since(*turn) < WINDOW);
        self.turns.push(at);
        // The newest decide; a problem that turns each second must not grow a list of thousands.
        if self.turns.len() > TURNS + 1 {
            self.turns.remove(0);
        }
        if self.turns.len() > TURNS && self.flapping_since.is_none() {
            self.flapping_since = self.turns.first().copied();
            self.flapping_told = false;
        }
    }

    pub fn is_flapping(&self) -> bool {
        self.flapping_since.is_some()
    }

    pub fn since(&self) -> Option<Timestamp> {
        self.flapping_since
    }

    /// It is flapping, and nobody was told.
    pub fn is_untold(&self) -> bool {
        self.is_flapping() && !self.flapping_told
    }

    pub fn tell(&mut self) {
        self.flapping_told = true;
    }

    /// Ends flapping where nothing turned for the whole window. `true`: it has just ended.
    pub fn calm_down(&mut self, now: Timestamp) -> bool {
        let calm = self.turns.last().is_none_or(|turn| now.duration_since(*turn) >= WINDOW);
        if !calm || !self.is_flapping() {
            return false;
        }
        *self = Self::default();
        true
    }
}
