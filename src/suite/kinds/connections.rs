use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::{Server, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;

/// The percentage of `max_connections` that is in use
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connections {}

impl Kind for Connections {
    const NAME: &'static str = "connections";
    const SECTION: Section = Section::Server;
    const UNIT: Unit = Unit::Percent;

    fn natural() -> Natural {
        Natural::to_be_stated(2)
    }

    fn drafts(self, _: &Scope<'_>) -> Vec<Draft> {
        vec![Draft {
            suffix: String::new(),
            subject: "server".to_owned(),
            what: What::Server(Server::Connections),
            wording: Wording::valued("", "of the allowed connections are in use"),
        }]
    }
}
