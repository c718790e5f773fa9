//! The words of the product and its decisions: pure, no async, no I/O, no clock, no logging.
//!
//! Everything here is a value or a function of values. Time and randomness come in as parameters.

pub mod address;
pub mod clock;
pub mod ids;

pub mod check;
pub mod drift;
pub mod evaluate;
pub mod events;
pub mod inspection;
pub mod logs;
pub mod measure;
pub mod measurement;
pub mod observation;
pub mod params;
pub mod problem;
pub mod signal;
pub mod threshold;
pub mod wording;

pub mod announce;
pub mod attribution;
pub mod baseline;
pub mod blame;
pub mod cadence;
pub mod check_state;
pub mod deploy;
pub mod explain;
pub mod gate;
pub mod verdict;

pub mod absence;
pub mod flaps;
pub mod incident;
pub mod link;
pub mod notification;
pub mod oncall;
pub mod silence;
pub mod storm;

pub mod delivery;
pub mod diagnosis;
pub mod provider;
pub mod provider_facts;
pub mod questions;
pub mod relay;
pub mod rhythm;
pub mod rotation;
pub mod secret;
pub mod signature;
pub mod source_health;

pub mod answer;
pub mod trigger;

pub mod access;
#[cfg(test)]
pub mod fixtures;
#[cfg(test)]
mod machine_tests;
pub mod reach;
