//! `[webhooks.sources.NAME] scheme` and `[webhooks.sources.NAME.signature]`: how a source signs.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{WebhookSource, Webhooks};
use crate::domain::signature::scheme::{BadContent, Content, Encoding, Events, KeyForm, Text, Texts};
use crate::domain::signature::{Algorithm, BUILT_IN, Scheme, built_in};

/// The schemes that come with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemeName {
    Lemonsqueezy,
    Github,
    Vercel,
    Stripe,
    Paddle,
    StandardWebhooks,
    Shopify,
    Generic,
}

impl SchemeName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Lemonsqueezy => "lemonsqueezy",
            Self::Github => "github",
            Self::Vercel => "vercel",
            Self::Stripe => "stripe",
            Self::Paddle => "paddle",
            Self::StandardWebhooks => "standard_webhooks",
            Self::Shopify => "shopify",
            Self::Generic => "generic",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlgorithmName {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodingName {
    Hex,
    Base64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyName {
    Text,
    Base64,
}

/// `[webhooks.sources.NAME.signature]`: each field replaces what the scheme says.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignatureSettings {
    /// The sender as mails should call it.
    pub provider: Option<String>,
    /// The headers that may hold the signature; the first one that is there counts.
    pub headers: Option<Vec<String>>,
    /// sha1, sha256 or sha512.
    pub algorithm: Option<AlgorithmName>,
    /// hex or base64.
    pub encoding: Option<EncodingName>,
    /// What stands between the parts of the header: a space, a comma, a semicolon. Empty for a single signature.
    pub separator: Option<String>,
    /// What a signature begins with: `sha256=`.
    pub prefix: Option<String>,
    /// What the timestamp in the signature's header begins with: `t=`.
    pub timestamp_prefix: Option<String>,
    /// The headers that may hold the timestamp otherwise.
    pub timestamp_headers: Option<Vec<String>>,
    /// The headers that may hold the delivery's id.
    pub id_headers: Option<Vec<String>>,
    /// The signed bytes, of {body}, {timestamp} and {id}.
    pub content: Option<String>,
    /// How far the timestamp may be off; 0 for any.
    pub tolerance_seconds: Option<u32>,
    /// What the secret stands for: text (its own bytes) or base64.
    pub key: Option<KeyName>,
    /// What a base64 secret begins with: `whsec_`.
    pub key_prefix: Option<String>,
    /// Where the event's name is: header names, and JSON pointers, which begin with a slash.
    pub event: Option<Vec<String>>,
    /// Where the event's id is, by which duplicates are known: JSON pointers.
    pub event_id: Option<Vec<String>>,
    /// The JSON pointer to a boolean that is false for test events.
    pub live: Option<String>,
}

impl Webhooks {
    /// How a source signs. The settings were validated, so that what is wrong in them changes nothing here.
    pub fn scheme(&self, source: &str) -> Scheme {
        match self.sources.get(source) {
            Some(settings) => settings.scheme(source, &mut |_, _| {}),
            None => base(None, source).clone(),
        }
    }
}

fn base(name: Option<SchemeName>, source: &str) -> &'static Scheme {
    let named = match name {
        Some(name) => built_in(name.as_str()),
        None => built_in(&source.replace('-', "_")),
    };
    named.unwrap_or(&BUILT_IN[0])
}

impl WebhookSource {
    /// The scheme with what the settings change. `problem` learns of each field what is wrong with it.
    pub fn scheme(&self, source: &str, problem: &mut dyn FnMut(&str, String)) -> Scheme {
        let mut scheme = base(self.scheme, source).clone();
        let own = &self.signature;
        for (field, given, target) in [
            ("headers", &own.headers, &mut scheme.headers),
            ("timestamp_headers", &own.timestamp_headers, &mut scheme.timestamp_headers),
            ("id_headers", &own.id_headers, &mut scheme.id_headers),
        ] {
            let Some(given) = given else { continue };
            if let Some(odd) = given.iter().find(|name| !is_header(name)) {
                problem(field, format!("names {odd:?}, which is no header"));
            }
            *target = given.iter().map(|name| name.to_ascii_lowercase().into()).collect();
        }
        if scheme.headers.is_empty() {
            problem("headers", "must name the header that holds the signature".into());
        }
        if let Some(algorithm) = own.algorithm {
            scheme.algorithm = match algorithm {
                AlgorithmName::Sha1 => Algorithm::Sha1,
                AlgorithmName::Sha256 => Algorithm::Sha256,
                AlgorithmName::Sha512 => Algorithm::Sha512,
            };
        }
        if let Some(encoding) = own.encoding {
            scheme.encoding = match encoding {
                EncodingName::Hex => Encoding::Hex,
                EncodingName::Base64 => Encoding::Base64,
            };
        }
        self.layout(&mut scheme, problem);
        self.key(&mut scheme, problem);
        self.places(&mut scheme, problem);
        if let Some(provider) = &own.provider {
            scheme.provider = provider.clone().into();
            scheme.place = format!("the webhook settings of {provider}").into();
        }
        scheme
    }

    fn layout(&self, scheme: &mut Scheme, problem: &mut dyn FnMut(&str, String)) {
        let own = &self.signature;
        if let Some(separator) = &own.separator {
            let mut characters = separator.chars();
            scheme.separator = characters.next();
            if characters.next().is_some() {
                problem("separator", "must be a single character, or empty for a single signature".into());
            }
        }
        if let Some(prefix) = &own.prefix {
            scheme.prefix = prefix.clone().into();
        }
        if let Some(prefix) = &own.timestamp_prefix {
            scheme.timestamp_prefix = (!prefix.is_empty()).then(|| prefix.clone().into());
        }
        if let Some(content) = &own.content {
            match Content::parse(content) {
                Ok(content) => scheme.content = content,
                Err(bad) => problem("content", BadContent::to_string(&bad)),
            }
        }
        if let Some(seconds) = own.tolerance_seconds {
            scheme.tolerance = (seconds > 0).then_some(seconds);
        }
        if let Err((field, says)) = scheme.check() {
            problem(field, says.to_owned());
        }
    }

    fn key(&self, scheme: &mut Scheme, problem: &mut dyn FnMut(&str, String)) {
        let own = &self.signature;
        match own.key {
            Some(KeyName::Text) => scheme.key = KeyForm::Text,
            Some(KeyName::Base64) => scheme.key = KeyForm::Base64 { prefix: Text::default() },
            None => {}
        }
        if let Some(given) = &own.key_prefix {
            match &mut scheme.key {
                KeyForm::Base64 { prefix } => *prefix = given.clone().into(),
                KeyForm::Text => problem("key_prefix", "belongs to key = \"base64\"".into()),
            }
        }
    }

    fn places(&self, scheme: &mut Scheme, problem: &mut dyn FnMut(&str, String)) {
        let own = &self.signature;
        if own.event.is_none() && own.event_id.is_none() && own.live.is_none() {
            return;
        }
        let (mut name, mut id, mut live) = match scheme.events.clone() {
            Events::Pointers { name, id, live } => (name, id, live),
            Events::LemonSqueezy => Default::default(),
        };
        let is_pointer = |text: &str| text.starts_with('/');
        let texts =
            |given: &[&String]| given.iter().map(|text| Text::from((*text).clone())).collect::<Texts>();
        if let Some(event) = &own.event {
            let (pointers, headers): (Vec<_>, Vec<_>) = event.iter().partition(|place| is_pointer(place));
            if let Some(odd) = headers.iter().find(|name| !is_header(name)) {
                problem("event", format!("names {odd:?}, which is neither a header nor a JSON pointer"));
            }
            name = texts(&pointers);
            scheme.event_headers = headers.iter().map(|name| name.to_ascii_lowercase().into()).collect();
        }
        if let Some(given) = &own.event_id {
            if let Some(odd) = given.iter().find(|place| !is_pointer(place)) {
                problem(
                    "event_id",
                    format!("names {odd:?}, which is no JSON pointer; headers belong to id_headers"),
                );
            }
            id = texts(&given.iter().collect::<Vec<_>>());
        }
        if let Some(given) = &own.live {
            if !is_pointer(given) {
                problem("live", "must be a JSON pointer, such as /livemode".into());
            }
            live = Some(given.clone().into());
        }
        scheme.events = Events::Pointers { name, id, live };
    }
}

fn is_header(name: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "-_.!#$%&'*+^`|~".contains(c);
    !name.is_empty() && name.len() <= 100 && name.chars().all(token)
}
