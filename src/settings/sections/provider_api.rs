//! `[webhooks.sources.NAME.api]`: the provider's own API, by which it is asked about the webhooks that point here.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::settings::schema::SecretText;

/// Lemon Squeezy's API; nothing is asked without a key.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderApi {
    /// A key of the live mode; it is only read with.
    #[schemars(with = "Option<SecretText>")]
    pub key: Option<SecretString>,
    /// A key of the test mode, which sees test webhooks alone.
    #[schemars(with = "Option<SecretText>")]
    pub test_key: Option<SecretString>,
    /// Events that the webhook must be subscribed to.
    #[serde(default)]
    pub events: Vec<String>,
    /// Where the API is, if not at <https://api.lemonsqueezy.com>.
    #[schemars(with = "Option<String>", extend("format" = "uri"))]
    pub base_url: Option<url::Url>,
}
