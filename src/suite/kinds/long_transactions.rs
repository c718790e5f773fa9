use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::{Server, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::{Wording, seconds};
use crate::suite::amount::Length;

/// Transactions that are open for longer than a given time
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongTransactions {
    /// From which age on a transaction counts
    over: Length,
}

impl Kind for LongTransactions {
    const NAME: &'static str = "long_transactions";
    const SECTION: Section = Section::Server;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("over");

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, _: &Scope<'_>) -> Vec<Draft> {
        let age = format!("open for longer than {}", seconds(self.over.0.into()));
        vec![Draft {
            suffix: String::new(),
            subject: "server".to_owned(),
            what: What::Server(Server::LongTransactions { over: self.over.0 }),
            wording: Wording::counted(
                "transaction",
                "transactions",
                &format!("is {age}"),
                &format!("are {age}"),
            ),
        }]
    }
}
