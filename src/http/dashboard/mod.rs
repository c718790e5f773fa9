//! The pages: rendered here, complete without scripts, nothing fetched from elsewhere.

pub mod assets;
pub mod bars;
pub mod deliveries;
pub mod icons;
pub mod incidents;
pub mod pages;
pub mod secrets;
pub mod times;
pub mod told;
pub mod verdicts;
pub mod view;
pub mod words;

use assets::Assets;

/// What every page has around its content.
#[derive(Debug, Clone)]
pub struct Frame {
    pub assets: &'static Assets,
    pub signed_in: bool,
    /// Which entry of the navigation is this page.
    pub page: &'static str,
    /// For the sign-out button, where a session is behind the request.
    pub csrf: Option<String>,
    pub now: String,
    /// Refreshes itself while somebody looks at it.
    pub live: bool,
}
