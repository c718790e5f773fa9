use super::request::request_kind;
use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::What;
use crate::domain::measurement::Unit;
use crate::domain::signal::Signal;
use crate::domain::wording::Wording;

request_kind! {
    /// A request of a critical user flow that must be answered as expected
    Http {}
}

impl Kind for Http {
    const NAME: &'static str = "http";
    const SECTION: Section = Section::Signals;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("url");

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let label = self.parts().label();
        let wording = Wording::counted(
            &format!("try of {label}"),
            &format!("tries of {label}"),
            "was not answered as expected",
            "were not answered as expected",
        );
        let request = self.parts().request(scope, 1);
        let what = What::Signal(Signal::Http(request));
        vec![Draft { suffix: String::new(), subject: String::new(), what, wording }]
    }
}
