//! Hands mails to an SMTP server over lettre's connection, driven step by step: which step failed decides
//! whether one recipient, one message or the whole path is in trouble.
//!
//! Every step runs under our own deadline, since lettre's covers only the TCP connect and a silent server
//! would hold the sender for ever.

use std::path::Path;
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::message::Built;
use super::{SendError, Taken};
use crate::domain::notification::{FailureClass, Stage};
use crate::settings::{Smtp, SmtpTls};

/// An open, authenticated connection.
pub struct Session {
    connection: AsyncSmtpConnection,
    attempt: Duration,
    /// What is left of the first attempt, which connecting is a part of.
    deadline: Option<Instant>,
    usable: bool,
    tls: SmtpTls,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("usable", &self.usable).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects, encrypts as the settings say and never less, and logs in.
    pub async fn open(settings: &Smtp) -> Result<Self, SendError> {
        let attempt = Duration::from_secs(settings.attempt_seconds);
        let deadline = Instant::now() + attempt;
        let tls = mode(settings);
        let hello = ClientId::default();
        let address = (settings.host.as_str(), settings.port);
        let at = format!("{}:{}", settings.host, settings.port);
        let connect_by = deadline.min(Instant::now() + Duration::from_secs(settings.connect_seconds));

        let connection = match tls {
            SmtpTls::Implicit => {
                let parameters = tls_parameters(settings).await?;
                let connecting =
                    AsyncSmtpConnection::connect_tokio1(address, None, &hello, Some(parameters), None);
                match timeout_at(connect_by, connecting).await {
                    Ok(Ok(connection)) => connection,
                    Ok(Err(error)) => return Err(implicit_failure(&at, &error)),
                    Err(_) => return Err(silent(Stage::Connect, &at, settings.connect_seconds)),
                }
            }
            SmtpTls::Starttls | SmtpTls::None => {
                let stream = match timeout_at(connect_by, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        let text = format!("{at} cannot be reached: {error}");
                        return Err(SendError::new(Stage::Connect, None, text));
                    }
                    Err(_) => return Err(silent(Stage::Connect, &at, settings.connect_seconds)),
                };
                // Commands are small; waiting to fill packets costs 40 ms each.
                let _ = stream.set_nodelay(true);
                let greeting = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello);
                match timeout_at(deadline, greeting).await {
                    Ok(Ok(connection)) => connection,
                    Ok(Err(error)) => return Err(greeting_failure(&at, &error)),
                    Err(_) => return Err(no_greeting(&at, settings)),
                }
            }
        };
        let mut session = Self { connection, attempt, deadline: Some(deadline), usable: true, tls };
        if tls == SmtpTls::Starttls {
            session.encrypt(settings, &hello, deadline, &at).await?;
        }
        session.log_in(settings, deadline).await?;
        Ok(session)
    }

    async fn encrypt(
        &mut self,
        settings: &Smtp,
        hello: &ClientId,
        deadline: Instant,
        at: &str,
    ) -> Result<(), SendError> {
        if !self.connection.can_starttls() {
            return Err(SendError::configuration(
                Stage::Tls,
                format!(
                    "{at} does not offer STARTTLS and nothing is sent in the clear instead; if the port wants TLS \
                     from the first byte (usually 465) set email.smtp.tls = \"implicit\", and \"none\" only for a \
                     server on this machine"
                ),
            ));
        }
        let parameters = tls_parameters(settings).await?;
        match timeout_at(deadline, self.connection.starttls(parameters, hello)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(tls_failure(at, &error)),
            Err(_) => Err(silent(Stage::Tls, at, settings.attempt_seconds)),
        }
    }

    async fn log_in(&mut self, settings: &Smtp, deadline: Instant) -> Result<(), SendError> {
        let (Some(username), Some(password)) = (&settings.username, &settings.password) else {
            return Ok(());
        };
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        if self.connection.server_info().get_auth_mechanism(&mechanisms).is_none() {
            return Err(SendError::configuration(
                Stage::Auth,
                format!(
                    "the server offers no login by password{}; remove email.smtp.username, or use the port that \
                     is meant for sending",
                    if self.tls == SmtpTls::None { " without TLS" } else { "" }
                ),
            ));
        }
        let credentials = Credentials::new(username.clone(), password.expose_secret().to_owned());
        match timeout_at(deadline, self.connection.auth(&mechanisms, &credentials)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let mut failure = answered(Stage::Auth, &error);
                if failure.class == FailureClass::Configuration {
                    failure.text = format!(
                        "the server refused the login ({}); check email.smtp.username and email.smtp.password",
                        failure.text
                    );
                }
                Err(failure)
            }
            Err(_) => Err(silent(Stage::Auth, &settings.host, settings.attempt_seconds)),
        }
    }

    /// Hands one message over.
    pub async fn send(&mut self, message: &Built) -> Result<Taken, SendError> {
        let deadline = self.deadline.take().unwrap_or_else(|| Instant::now() + self.attempt);
        let mut stage = Stage::Sender;
        let outcome = timeout_at(deadline, self.transaction(message, &mut stage)).await;
        match outcome {
            Ok(Ok(response)) => Ok(Taken { code: Some(code(&response)), answer: said(&response) }),
            Ok(Err(error)) => {
                let failure = self.explained(answered(stage, &error));
                // After an answer the connection can be reset and used again; after anything else it is gone.
                let reset = lettre::transport::smtp::commands::Rset;
                self.usable = failure.code.is_some_and(|code| code != 421)
                    && matches!(timeout_at(deadline, self.connection.command(reset)).await, Ok(Ok(_)));
                Err(failure)
            }
            Err(_) => {
                self.usable = false;
                let seconds = self.attempt.as_secs();
                Err(SendError::new(stage, None, format!("the server did not answer within {seconds} s")))
            }
        }
    }

    async fn transaction(&mut self, message: &Built, stage: &mut Stage) -> Result<Response, Error> {
        let mut parameters = Vec::new();
        let info = self.connection.server_info();
        let foreign = message.envelope.to().iter().any(|address| !address.to_string().is_ascii());
        if foreign && info.supports_feature(Extension::SmtpUtfEight) {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !message.bytes.is_ascii() && info.supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        self.connection.command(Mail::new(message.envelope.from().cloned(), parameters)).await?;
        *stage = Stage::Recipient;
        for recipient in message.envelope.to() {
            self.connection.command(Rcpt::new(recipient.clone(), Vec::new())).await?;
        }
        *stage = Stage::Data;
        self.connection.command(Data).await?;
        *stage = Stage::Content;
        self.connection.message(&message.bytes).await
    }

    /// Adds which mode to pick where the answer gives it away.
    fn explained(&self, mut failure: SendError) -> SendError {
        if failure.code == Some(530) {
            failure.text = match self.tls {
                SmtpTls::None => format!(
                    "the server wants TLS or a login first ({}); set email.smtp.tls = \"starttls\"",
                    failure.text
                ),
                _ => format!(
                    "the server wants a login first ({}); set email.smtp.username and email.smtp.password",
                    failure.text
                ),
            };
        }
        failure
    }

    pub fn is_usable(&self) -> bool {
        self.usable && !self.connection.has_broken()
    }

    /// QUIT, which may be ignored for a moment at most.
    pub async fn close(mut self) {
        if self.is_usable() {
            let _ = tokio::time::timeout(Duration::from_secs(1), self.connection.quit()).await;
        }
    }
}

/// The mode that was set, else the one that the port is known for.
fn mode(settings: &Smtp) -> SmtpTls {
    settings.tls.unwrap_or(if settings.port == 465 { SmtpTls::Implicit } else { SmtpTls::Starttls })
}

async fn tls_parameters(settings: &Smtp) -> Result<TlsParameters, SendError> {
    let mut builder = TlsParametersBuilder::new(settings.host.clone());
    if let Some(path) = &settings.ca_file {
        builder = builder.add_root_certificate(ca(path).await?);
    }
    builder.build().map_err(|error| {
        SendError::configuration(Stage::Tls, format!("TLS could not be set up: {}", chain(&error)))
    })
}

async fn ca(path: &Path) -> Result<Certificate, SendError> {
    let named = || format!("email.smtp.ca_file ({})", path.display());
    let pem = tokio::fs::read(path).await.map_err(|error| {
        SendError::configuration(Stage::Tls, format!("{} cannot be read: {error}", named()))
    })?;
    Certificate::from_pem(&pem)
        .map_err(|_| SendError::configuration(Stage::Tls, format!("{} holds no PEM certificate", named())))
}

fn implicit_failure(at: &str, error: &Error) -> SendError {
    let text = chain(error);
    // Seen when a server greets in plain text where TLS was expected.
    if text.contains("InvalidContentType") || text.contains("corrupt message") {
        return SendError::configuration(
            Stage::Tls,
            format!("{at} answers in plain text where TLS was expected; set email.smtp.tls = \"starttls\""),
        );
    }
    if is_certificate(&text) {
        return tls_failure(at, error);
    }
    if error.status().is_some() {
        return answered(Stage::Greeting, error);
    }
    SendError::new(Stage::Connect, None, format!("{at} cannot be reached over TLS: {text}"))
}

fn greeting_failure(at: &str, error: &Error) -> SendError {
    let failure = answered(Stage::Greeting, error);
    match failure.code {
        Some(_) => failure,
        None => SendError {
            text: format!(
                "{at} accepted the connection but did not greet as a mail server does ({}); if the port wants TLS \
                 from the first byte (usually 465) set email.smtp.tls = \"implicit\"",
                failure.text
            ),
            ..failure
        },
    }
}

fn no_greeting(at: &str, settings: &Smtp) -> SendError {
    let hint = match settings.port {
        465 => "; port 465 wants TLS from the first byte: set email.smtp.tls = \"implicit\"",
        _ => "; if it wants TLS from the first byte set email.smtp.tls = \"implicit\"",
    };
    let text =
        format!("{at} accepted the connection and stayed silent for {} s{hint}", settings.attempt_seconds);
    SendError::new(Stage::Greeting, None, text)
}

fn tls_failure(at: &str, error: &Error) -> SendError {
    let text = chain(error);
    // The last two are what an issuer gives that has the name of a trusted one and another key: an authority
    // that was made anew, or a self-signed certificate of the host's own name.
    let unknown = ["UnknownIssuer", "CaUsedAsEndEntity", "BadSignature", "UnsupportedSignatureAlgorithmFor"];
    let hint = if unknown.iter().any(|reason| text.contains(reason)) {
        "its certificate is signed by nobody this machine trusts; name its CA in email.smtp.ca_file"
    } else if text.contains("NotValidForName") || text.contains("not valid for name") {
        "its certificate is for another name; set email.smtp.host to the name in the certificate"
    } else if text.contains("Expired") || text.contains("expired") {
        "its certificate has expired; renew it on the server"
    } else if is_certificate(&text) {
        "its certificate is not valid"
    } else {
        return SendError::new(
            Stage::Tls,
            error.status().map(u16::from),
            format!("TLS with {at} failed: {text}"),
        );
    };
    SendError::configuration(
        Stage::Tls,
        format!("{at} is not trusted, so no login was sent: {hint} ({text})"),
    )
}

fn is_certificate(text: &str) -> bool {
    text.contains("certificate")
}

fn silent(stage: Stage, at: &str, seconds: u64) -> SendError {
    SendError::new(stage, None, format!("{at} did not answer within {seconds} s"))
}

/// What the server answered at `stage`, or that it went away.
fn answered(stage: Stage, error: &Error) -> SendError {
    SendError::new(stage, error.status().map(u16::from), chain(error))
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

fn code(response: &Response) -> u16 {
    u16::from(response.code())
}

fn said(response: &Response) -> String {
    let lines: Vec<&str> = response.message().collect();
    format!("{} {}", code(response), lines.join(" / "))
}
