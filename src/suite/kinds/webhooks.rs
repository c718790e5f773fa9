use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::What;
use crate::domain::measurement::Unit;
use crate::domain::signal::{Signal, webhooks_wording};

/// Whether the deliveries of a webhook source verify
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// The source, a name under `webhooks.sources`
    source: String,
}

impl Kind for Webhooks {
    const NAME: &'static str = "webhooks";
    const SECTION: Section = Section::Signals;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("source");
    const LATCH: bool = false;

    fn natural() -> Natural {
        Natural::none_allowed(1)
    }

    fn drafts(self, _: &Scope<'_>) -> Vec<Draft> {
        let source = self.source;
        let wording = webhooks_wording(&source);
        let what = What::Signal(Signal::Webhooks { source: source.clone() });
        vec![Draft { suffix: String::new(), subject: source, what, wording }]
    }
}
