//! A real SMTP server (aiosmtpd, from Debian's packages) that keeps what it takes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use deploywatch::settings::SmtpTls;

use super::certificates::{Authority, Issued};
use super::reaper::Reaper;
use super::wait::eventually;

const INSTALL: &str = "the tests need aiosmtpd; install it, on Debian with\n    apt-get install python3-aiosmtpd\n\
                       (scripts/test does that) and run the tests again";
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/mail_server.py");

/// Where the server's certificate is valid for.
pub const HOST: &str = "localhost";
pub const USERNAME: &str = "deploywatch";
pub const PASSWORD: &str = "canary-password";

/// How the server wants to be talked to.
#[derive(Debug, Clone)]
pub struct Front {
    pub tls: SmtpTls,
    pub certificate: Option<Issued>,
    /// Whether it takes mails from whoever logged in only.
    pub login: bool,
    /// The only way to log in; without one, both PLAIN and LOGIN.
    pub mechanism: Option<&'static str>,
}

impl Front {
    /// No TLS, no login.
    pub fn open() -> Self {
        Self { tls: SmtpTls::None, certificate: None, login: false, mechanism: None }
    }

    /// TLS with this certificate, and a login.
    pub fn closed(tls: SmtpTls, certificate: Issued) -> Self {
        Self { tls, certificate: Some(certificate), login: true, mechanism: None }
    }
}

/// A mail server on loopback; it may be down at first, as mail servers are.
#[derive(Debug)]
pub struct Mailbox {
    pub port: u16,
    front: Front,
    authority: Option<Authority>,
    dir: tempfile::TempDir,
    server: Option<(Child, Reaper)>,
}

/// One mail as the server took it.
#[derive(Debug, Clone)]
pub struct Mail {
    pub subject: String,
    pub message_id: String,
    pub to: String,
    pub text: String,
    pub envelope: Envelope,
    pub bytes: Vec<u8>,
}

/// What came with a mail.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Envelope {
    pub from: String,
    pub to: Vec<String>,
    pub login: Option<String>,
    pub tls: bool,
}

impl Mailbox {
    /// A port that nobody answers yet; once started it wants STARTTLS and a login, as a provider's does.
    pub fn down() -> Self {
        Self::trusted(super::free_port())
    }

    /// One that wants STARTTLS and a login.
    pub fn up() -> Self {
        let mut mailbox = Self::trusted(0);
        mailbox.start();
        mailbox
    }

    pub fn up_with(front: Front) -> Self {
        let mut mailbox = Self::new(0, front, None);
        mailbox.start();
        mailbox
    }

    fn trusted(port: u16) -> Self {
        let authority = Authority::new();
        let front = Front::closed(SmtpTls::Starttls, authority.issue(HOST));
        Self::new(port, front, Some(authority))
    }

    fn new(port: u16, front: Front, authority: Option<Authority>) -> Self {
        Self { port, front, authority, dir: super::temp_dir(), server: None }
    }

    pub fn start(&mut self) {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(SERVER).arg(self.dir.path()).args(["--port", &self.port.to_string()]);
        command.args(["--tls", tls_word(self.front.tls)]);
        if let Some(issued) = &self.front.certificate {
            command.arg("--certificate").arg(&issued.certificate).arg("--key").arg(&issued.key);
        }
        if self.front.login {
            command.args(["--username", USERNAME, "--password", PASSWORD]);
        }
        if let Some(mechanism) = self.front.mechanism {
            command.args(["--mechanism", mechanism]);
        }
        let mut child = command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("Python cannot be started: {error}; {INSTALL}"));
        let reaper = Reaper::new("kill -9 \"$1\"", &[&child.id().to_string()]);
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("its output can be read");
        self.server = Some((child, reaper));
        self.port = line.trim().parse().unwrap_or_else(|_| panic!("the SMTP server ended; {INSTALL}"));
    }

    /// The lines of `[email.smtp]` that lead here.
    pub fn settings(&self) -> String {
        let mut lines =
            format!("host = \"{HOST}\"\nport = {}\ntls = \"{}\"\n", self.port, tls_word(self.front.tls));
        if let Some(authority) = &self.authority {
            lines.push_str(&format!("ca_file = \"{}\"\n", authority.file().display()));
        }
        if self.front.login {
            lines.push_str(&format!("username = \"{USERNAME}\"\npassword = \"{PASSWORD}\"\n"));
        }
        lines
    }

    /// Everything taken so far, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        let mut files: Vec<_> = std::fs::read_dir(self.dir.path())
            .expect("the folder can be read")
            .map(|entry| entry.expect("the folder can be read").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .collect();
        files.sort();
        files.into_iter().map(|path| read(&path)).collect()
    }

    /// How many it took so far.
    pub fn taken(&self) -> usize {
        let files = std::fs::read_dir(self.dir.path()).expect("the folder can be read");
        files.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "eml")).count()
    }

    /// Every command it was sent, with what follows AUTH left out.
    pub fn commands(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("commands.log")).expect("the server keeps a log")
    }

    /// Waits for the first mail whose subject holds `text`: longer than the claim of a sender that was killed in the
    /// middle of an attempt lasts, which is 90 s.
    pub async fn receives(&self, text: &str) -> Mail {
        eventually(&format!("a mail with {text:?} in its subject"), Duration::from_secs(150), async || {
            self.mails().into_iter().find(|mail| mail.subject.contains(text))
        })
        .await
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if let Some((mut child, reaper)) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
            reaper.disarm();
        }
    }
}

/// How many mails there are under each Message-ID.
pub fn copies(mails: &[Mail]) -> HashMap<&str, Vec<&Mail>> {
    let mut copies: HashMap<&str, Vec<&Mail>> = HashMap::new();
    for mail in mails {
        copies.entry(&mail.message_id).or_default().push(mail);
    }
    copies
}

fn tls_word(tls: SmtpTls) -> &'static str {
    match tls {
        SmtpTls::None => "none",
        SmtpTls::Starttls => "starttls",
        SmtpTls::Implicit => "implicit",
    }
}

fn read(path: &std::path::Path) -> Mail {
    let bytes = std::fs::read(path).expect("the mail can be read");
    let envelope = std::fs::read(path.with_extension("json")).expect("its envelope can be read");
    let mail = mail_parser::MessageParser::default().parse(&bytes).expect("the mail is well-formed");
    let to = mail.to().and_then(|to| to.first()).and_then(|to| to.address()).unwrap_or_default();
    Mail {
        subject: mail.subject().unwrap_or_default().to_owned(),
        message_id: mail.message_id().unwrap_or_default().to_owned(),
        to: to.to_owned(),
        text: mail.body_text(0).unwrap_or_default().into_owned(),
        envelope: serde_json::from_slice(&envelope).expect("the envelope is JSON"),
        bytes: bytes.clone(),
    }
}
