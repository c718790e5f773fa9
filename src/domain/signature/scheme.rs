//! How a provider signs its webhooks, as data: no provider has code of its own.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::{Algorithm, BUILT_IN, Claim, EmptySecret, HeaderProblem, Signature, SigningKey};
use crate::domain::clock::Timestamp;

/// Signatures of one header that are looked at: more than this is nobody's rotation.
const MOST_SIGNATURES: usize = 16;
/// An id is part of the signed bytes and of the log.
const LONGEST_ID: usize = 200;

pub type Text = Cow<'static, str>;
pub type Texts = Vec<Text>;

/// Everything that is particular to a provider. Header names are lower-case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// As in the settings: `standard_webhooks`.
    pub name: Text,
    /// As people call the sender: `Paddle`.
    pub provider: Text,
    /// Where its secret is set: `Paddle > Developer tools > Notifications`.
    pub place: Text,
    /// The headers that may hold the signature; the first one that is there counts.
    pub headers: Texts,
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    /// What stands between the parts of the header; without it the whole value is one signature.
    pub separator: Option<char>,
    /// What a signature begins with: `sha256=`, `v1,`.
    pub prefix: Text,
    /// What the timestamp begins with, where it stands beside the signature: `t=`.
    pub timestamp_prefix: Option<Text>,
    /// The headers that may hold the timestamp otherwise.
    pub timestamp_headers: Texts,
    /// The headers that may hold the delivery's id and the event's name.
    pub id_headers: Texts,
    pub event_headers: Texts,
    pub content: Content,
    /// How far the timestamp may be off, in seconds; any where absent.
    pub tolerance: Option<u32>,
    pub key: KeyForm,
    /// The most characters that the provider takes for a secret, where it has a limit.
    pub longest_secret: Option<usize>,
    /// How its requests call themselves; a hint, never a gate.
    pub agents: Texts,
    /// How long the provider tries, as the end of a sentence.
    pub patience: Option<Text>,
    pub events: Events,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Hex,
    Base64,
}

/// What the text of a secret stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyForm {
    /// Its own bytes.
    Text,
    /// Base64 behind a prefix that may be left out: `whsec_…`.
    Base64 { prefix: Text },
}

/// What a body says about its event, once the signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Events {
    /// Lemon Squeezy's own bodies, which say more than a name.
    LemonSqueezy,
    /// JSON pointers, of which the first that holds something counts; none at all means an opaque body.
    Pointers { name: Texts, id: Texts, live: Option<Text> },
}

/// The signed bytes: `{timestamp}.{body}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content(pub Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Body,
    Timestamp,
    Id,
    Literal(Text),
}

/// Why a template is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadContent {
    #[error("must hold {{body}} exactly once")]
    Body,
    #[error("knows {{body}}, {{timestamp}} and {{id}}, not {{{0}}}")]
    Unknown(String),
    #[error("has a brace that does not belong to {{body}}, {{timestamp}} or {{id}}")]
    Brace,
}

impl Content {
    pub fn parse(template: &str) -> Result<Self, BadContent> {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            let (literal, after) = rest.split_at(open);
            let (name, after) = after[1..].split_once('}').ok_or(BadContent::Brace)?;
            push_literal(&mut pieces, literal)?;
            pieces.push(match name {
                "body" => Piece::Body,
                "timestamp" => Piece::Timestamp,
                "id" => Piece::Id,
                other => return Err(BadContent::Unknown(other.to_owned())),
            });
            rest = after;
        }
        push_literal(&mut pieces, rest)?;
        if pieces.iter().filter(|piece| **piece == Piece::Body).count() != 1 {
            return Err(BadContent::Body);
        }
        Ok(Self(pieces))
    }

    pub fn needs(&self, piece: &Piece) -> bool {
        self.0.contains(piece)
    }
}

fn push_literal(pieces: &mut Vec<Piece>, literal: &str) -> Result<(), BadContent> {
    if literal.contains('}') {
        return Err(BadContent::Brace);
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.to_owned().into()));
    }
    Ok(())
}

/// A secret that does not stand for a key in its provider's notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    #[error(transparent)]
    Empty(#[from] EmptySecret),
    #[error("the secret is not base64, as this provider writes its secrets; copy it whole, with its prefix")]
    NotBase64,
}

/// Another provider, recognised by its header or by the form of the signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Foreign(&'static Scheme);

impl Foreign {
    /// As an operator would say it.
    pub fn provider(self) -> &'static str {
        &self.0.provider
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Foreign({})", self.0.name)
    }
}

/// The headers of a request that a scheme asks for, as they came. `Debug` shows their names alone.
#[derive(Clone, Default)]
pub struct Headers(Vec<(Text, Vec<u8>)>);

impl Headers {
    /// `name` in lower case; a header that came several times is added several times.
    pub fn add(&mut self, name: Text, value: &[u8]) {
        self.0.push((name, value.to_vec()));
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(held, _)| held == name).map(|(_, value)| value.trim_ascii())
    }

    /// The value of the first of these that is there and not empty. Values that differ are ambiguous.
    fn single<'a>(&'a self, names: &'a [Text]) -> Result<Option<&'a [u8]>, HeaderProblem> {
        for name in names {
            let mut values = self.values(name);
            let Some(first) = values.next() else { continue };
            if values.any(|other| other != first) {
                return Err(HeaderProblem::Ambiguous);
            }
            if !first.is_empty() {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// The same as a short text that can be logged; anything else is as if it were not there.
    fn text_of(&self, names: &[Text]) -> Result<Option<String>, HeaderProblem> {
        let value = self.single(names)?.and_then(|value| std::str::from_utf8(value).ok());
        let plain = |text: &&str| text.len() <= LONGEST_ID && text.bytes().all(|b| b.is_ascii_graphic());
        Ok(value.filter(plain).map(str::to_owned))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Scheme {
    /// Every header that a request is asked for: its own, and those by which other providers are recognised.
    pub fn wanted(&self) -> Vec<Text> {
        let own = [&self.headers, &self.timestamp_headers, &self.id_headers, &self.event_headers];
        let others = BUILT_IN.iter().flat_map(|scheme| scheme.headers.iter());
        let mut names: Vec<Text> = Vec::new();
        for name in own.into_iter().flat_map(|texts| texts.iter()).chain(others) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// What contradicts itself: the setting that is to blame, and a sentence.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let dated = self.timestamp_prefix.is_some() || !self.timestamp_headers.is_empty();
        if self.timestamp_prefix.is_some() && self.separator.is_none() {
            return Err(("separator", "must say what stands between timestamp and signature"));
        }
        if self.content.needs(&Piece::Timestamp) && !dated {
            return Err((
                "content",
                "signs a timestamp, but neither timestamp_prefix nor timestamp_headers is set",
            ));
        }
        if self.content.needs(&Piece::Id) && self.id_headers.is_empty() {
            return Err(("content", "signs an id, but id_headers is not set"));
        }
        if self.tolerance.is_some() && !self.content.needs(&Piece::Timestamp) {
            return Err((
                "tolerance_seconds",
                "needs a timestamp that is signed; without {timestamp} in content anybody can change it",
            ));
        }
        Ok(())
    }

    /// The key that a secret of this provider stands for.
    pub fn key(&self, secret: &[u8]) -> Result<SigningKey, BadSecret> {
        let key = match &self.key {
            KeyForm::Text => return Ok(SigningKey::with(self.algorithm, secret, secret)?),
            KeyForm::Base64 { prefix } => {
                let encoded = secret.strip_prefix(prefix.as_bytes()).unwrap_or(secret);
                zeroize::Zeroizing::new(base64(encoded).ok_or(BadSecret::NotBase64)?)
            }
        };
        Ok(SigningKey::with(self.algorithm, secret, &key)?)
    }

    /// Reads what the headers claim. Only outer blanks are forgiven; hex digits may have any case.
    pub fn read(&self, headers: &Headers) -> Result<Claim, HeaderProblem> {
        let Some(value) = headers.single(&self.headers)? else { return Err(self.absent(headers)) };
        let Some(mut claim) = self.read_value(value) else { return Err(self.not_mine(value)) };
        if claim.timestamp.is_none() {
            claim.timestamp = headers.text_of(&self.timestamp_headers)?;
        }
        claim.id = headers.text_of(&self.id_headers)?;
        // No signature covers it, so that a doubled or odd one refuses nothing.
        claim.event = headers.text_of(&self.event_headers).ok().flatten();
        let lacking = self.content.needs(&Piece::Timestamp) && claim.timestamp.is_none()
            || self.content.needs(&Piece::Id) && claim.id.is_none();
        if lacking { Err(HeaderProblem::Malformed(None)) } else { Ok(claim) }
    }

    /// Whether `key` made one of the claimed signatures of `body`. Compares in constant time.
    pub fn verifies(&self, key: &SigningKey, claim: &Claim, body: &[u8]) -> bool {
        let (timestamp, id) = (claim.timestamp.as_deref(), claim.id.as_deref());
        claim.holds(&self.signature(key, timestamp, id, body))
    }

    fn signature(
        &self,
        key: &SigningKey,
        timestamp: Option<&str>,
        id: Option<&str>,
        body: &[u8],
    ) -> Signature {
        key.sign_pieces(self.content.0.iter().map(|piece| match piece {
            Piece::Body => body,
            Piece::Timestamp => timestamp.unwrap_or_default().as_bytes(),
            Piece::Id => id.unwrap_or_default().as_bytes(),
            Piece::Literal(text) => text.as_bytes(),
        }))
    }

    /// The headers with which the provider would send `body`; `id` is used where it sends one.
    pub fn sign(&self, key: &SigningKey, id: &str, at: Timestamp, body: &[u8]) -> Vec<(String, String)> {
        let dated = self.timestamp_prefix.is_some() || !self.timestamp_headers.is_empty();
        let timestamp = dated.then(|| at.as_second().to_string());
        let signature = self.signature(key, timestamp.as_deref(), Some(id), body);
        let encoded = match self.encoding {
            Encoding::Hex => hex::encode(signature),
            Encoding::Base64 => STANDARD.encode(signature),
        };
        let mut value = format!("{}{encoded}", self.prefix);
        if let (Some(prefix), Some(timestamp), Some(separator)) =
            (&self.timestamp_prefix, &timestamp, self.separator)
        {
            value = format!("{prefix}{timestamp}{separator}{value}");
        }
        let mut headers = vec![(first(&self.headers), value)];
        if let (Some(name), Some(timestamp)) = (self.timestamp_headers.first(), timestamp) {
            headers.push((name.to_string(), timestamp));
        }
        if let Some(name) = self.id_headers.first() {
            headers.push((name.to_string(), id.to_owned()));
        }
        headers
    }

    /// How many seconds the timestamp is off, where that is more than is tolerated. A text that is no number
    /// is off by all there is.
    pub fn too_far_off(&self, claim: &Claim, now: Timestamp) -> Option<i64> {
        let tolerance = i64::from(self.tolerance?);
        let written = claim.timestamp.as_deref()?;
        let Ok(at) = written.parse::<i64>() else { return Some(i64::MAX) };
        let off = now.as_second().saturating_sub(at);
        (off.saturating_abs() > tolerance).then_some(off)
    }

    fn read_value(&self, value: &[u8]) -> Option<Claim> {
        let text = std::str::from_utf8(value).ok()?;
        let mut claim = Claim { signatures: Vec::new(), timestamp: None, id: None, event: None };
        let Some(separator) = self.separator else {
            claim.signatures.push(self.decode(text.strip_prefix(&*self.prefix)?)?);
            return Some(claim);
        };
        let mut timestamps = Vec::new();
        for part in text.split(separator).map(str::trim_ascii) {
            if let Some(at) = self.timestamp_prefix.as_ref().and_then(|prefix| part.strip_prefix(&**prefix)) {
                timestamps.push(at);
            } else if let Some(encoded) = part.strip_prefix(&*self.prefix) {
                // Other versions of the scheme stand beside the known one, and are none of our business.
                claim.signatures.extend(self.decode(encoded));
            }
        }
        if claim.signatures.is_empty() || claim.signatures.len() > MOST_SIGNATURES {
            return None;
        }
        if self.timestamp_prefix.is_some() {
            let [at] = timestamps[..] else { return None };
            let number = !at.is_empty() && at.len() <= 20 && at.bytes().all(|b| b.is_ascii_digit());
            claim.timestamp = Some(number.then(|| at.to_owned())?);
        }
        Some(claim)
    }

    fn decode(&self, text: &str) -> Option<Signature> {
        let size = self.algorithm.size();
        match self.encoding {
            Encoding::Hex => {
                let mut bytes = [0_u8; 64];
                hex::decode_to_slice(text, &mut bytes[..size]).ok()?;
                Signature::new(&bytes[..size])
            }
            Encoding::Base64 => Signature::new(&base64(text.as_bytes()).filter(|bytes| bytes.len() == size)?),
        }
    }

    /// Without a signature of its own: another provider's header says whose request it is.
    fn absent(&self, headers: &Headers) -> HeaderProblem {
        let theirs = |scheme: &&Scheme| {
            let own = scheme.headers.iter().any(|name| self.headers.contains(name));
            !own && matches!(headers.single(&scheme.headers), Ok(Some(_)))
        };
        match BUILT_IN.iter().find(theirs) {
            Some(scheme) => HeaderProblem::Malformed(Some(Foreign(scheme))),
            None => HeaderProblem::Missing,
        }
    }

    /// A value of another form: a list where one is expected, or what another provider writes.
    fn not_mine(&self, value: &[u8]) -> HeaderProblem {
        let list = || {
            let mut parts = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
            self.separator.is_none()
                && value.contains(&b',')
                && parts.all(|part| self.read_value(part).is_some())
        };
        if list() {
            return HeaderProblem::Ambiguous;
        }
        let theirs = |scheme: &&Scheme| scheme.name != self.name && scheme.resembles(value);
        HeaderProblem::Malformed(BUILT_IN.iter().find(theirs).map(Foreign))
    }

    /// Whether a value has this scheme's form, even if its signature was cut.
    fn resembles(&self, value: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(value) else { return false };
        if self.read_value(value).is_some() {
            return true;
        }
        let begins = |prefix: &str| match self.separator {
            Some(separator) => text.split(separator).any(|part| part.trim_ascii().starts_with(prefix)),
            None => text.starts_with(prefix),
        };
        !self.prefix.is_empty()
            && begins(&self.prefix)
            && self.timestamp_prefix.as_ref().is_none_or(|prefix| begins(prefix))
    }
}

fn first(names: &[Text]) -> String {
    names.first().map(ToString::to_string).unwrap_or_default()
}

/// With or without its padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}
