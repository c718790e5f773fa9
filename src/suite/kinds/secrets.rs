use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::What;
use crate::domain::measurement::Unit;
use crate::domain::signal::{Signal, secrets_wording};

/// Whether the secrets of a webhook source are in order: none stale, no rotation stuck
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The source, a name under `webhooks.sources`
    source: String,
}

impl Kind for Secrets {
    const NAME: &'static str = "secrets";
    const SECTION: Section = Section::Signals;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("source");
    const LATCH: bool = false;

    fn natural() -> Natural {
        Natural::none_allowed(1)
    }

    fn drafts(self, _: &Scope<'_>) -> Vec<Draft> {
        let source = self.source;
        let wording = secrets_wording(&source);
        let what = What::Signal(Signal::Secrets { source: source.clone() });
        vec![Draft { suffix: String::new(), subject: source, what, wording }]
    }
}
