use super::request::request_kind;
use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::What;
use crate::domain::measurement::Unit;
use crate::domain::signal::Signal;
use crate::domain::wording::Wording;
use crate::suite::read::At;

request_kind! {
    /// A request of a critical user flow that must be answered as expected
    Http {
        /// For how many days the server's certificate must still be valid; not looked at where nothing is said
        certificate_days: Option<At<u32>>,
    }
}

/// Longer than any certificate that browsers trust.
const MOST_DAYS: u32 = 825;

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
        let mut request = self.parts().request(scope, 1);
        request.certificate_days = self.certificate_days.as_ref().map(|days| days.value);
        if let Some(days) = &self.certificate_days {
            if !(1..=MOST_DAYS).contains(&days.value) {
                scope.problems.report(days.at, format!("`certificate_days` is between 1 and {MOST_DAYS}"));
            }
            if !request.url.starts_with("https:") {
                scope
                    .problems
                    .report(days.at, "only an address that begins with `https://` has a certificate");
            }
        }
        let what = What::Signal(Signal::Http(request));
        vec![Draft { suffix: String::new(), subject: String::new(), what, wording }]
    }
}
