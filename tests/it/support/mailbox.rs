//! A real SMTP server (aiosmtpd, from Debian's packages) that keeps what it takes in a Maildir.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::reaper::Reaper;
use super::wait::{eventually, wait_until};

const INSTALL: &str = "the tests need aiosmtpd; install it, on Debian with\n    apt-get install python3-aiosmtpd\n\
                       (scripts/test does that) and run the tests again";

/// A mail server on loopback; it may be down at first, as mail servers are.
#[derive(Debug)]
pub struct Mailbox {
    pub port: u16,
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
}

impl Mailbox {
    /// A port that nobody answers yet.
    pub fn down() -> Self {
        Self { port: super::free_port(), dir: super::temp_dir(), server: None }
    }

    pub fn up() -> Self {
        let mut mailbox = Self::down();
        mailbox.start();
        mailbox
    }

    pub fn start(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        let child = Command::new("/usr/bin/python3")
            .args(["-m", "aiosmtpd", "-n", "-l", &address, "-c", "aiosmtpd.handlers.Mailbox"])
            .arg(self.dir.path().join("mail"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("Python cannot be started: {error}; {INSTALL}"));
        let reaper = Reaper::new("kill -9 \"$1\"", &[&child.id().to_string()]);
        let (child, _) = self.server.insert((child, reaper));
        wait_until("the SMTP server answers", Duration::from_secs(20), || {
            assert!(child.try_wait().expect("it can be waited for").is_none(), "aiosmtpd ended; {INSTALL}");
            TcpStream::connect(&address).is_ok()
        });
    }

    /// Everything taken so far, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        let mut files: Vec<_> = std::fs::read_dir(self.dir.path().join("mail/new"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| (entry.metadata().and_then(|m| m.modified()).ok(), entry.path()))
            .collect();
        files.sort();
        files.into_iter().map(|(_, path)| read(&std::fs::read(path).expect("the mail can be read"))).collect()
    }

    /// Waits for the first mail whose subject holds `text`.
    pub async fn receives(&self, text: &str) -> Mail {
        eventually(&format!("a mail with {text:?} in its subject"), Duration::from_secs(90), async || {
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

fn read(bytes: &[u8]) -> Mail {
    let mail = mail_parser::MessageParser::default().parse(bytes).expect("the mail is well-formed");
    let to = mail.to().and_then(|to| to.first()).and_then(|to| to.address()).unwrap_or_default();
    Mail {
        subject: mail.subject().unwrap_or_default().to_owned(),
        message_id: mail.message_id().unwrap_or_default().to_owned(),
        to: to.to_owned(),
        text: mail.body_text(0).unwrap_or_default().into_owned(),
    }
}
