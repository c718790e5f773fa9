use super::request::request_kind;
use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::What;
use crate::domain::measurement::Unit;
use crate::domain::signal::Signal;
use crate::domain::wording::Wording;
use crate::suite::read::At;

request_kind! {
    /// How long a request takes, from connecting to the last byte of the answer
    HttpLatency {
        /// Which percentile of the tries is the value; 95 where nothing else is said
        percentile: Option<At<u32>>,
    }
}

impl Kind for HttpLatency {
    const NAME: &'static str = "http_latency";
    const SECTION: Section = Section::Signals;
    const UNIT: Unit = Unit::Seconds;

    fn natural() -> Natural {
        Natural::to_be_stated(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let percentile = self.percentile.as_ref().map_or(95, |percentile| percentile.value);
        if let Some(written) = self.percentile.as_ref().filter(|p| !(1..=100).contains(&p.value)) {
            scope.problems.report(written.at, "`percentile` is between 1 and 100");
        }
        let label = self.parts().label();
        let request = self.parts().request(scope, 3);
        let wording = match request.tries {
            1 => Wording::valued(&format!("{label} was answered in"), ""),
            tries => Wording::valued(
                &format!("{label} was answered in"),
                &format!("(percentile {percentile} of {tries} tries)"),
            ),
        };
        let what = What::Signal(Signal::HttpLatency { request, percentile });
        vec![Draft { suffix: String::new(), subject: String::new(), what, wording }]
    }
}
