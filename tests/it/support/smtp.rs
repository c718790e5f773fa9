//! A mail server on loopback that does what a test tells it, and remembers every line that it was sent.

use std::sync::{Arc, Mutex};

use deploywatch::settings::{EmailTransport, Settings, SmtpTls};
use mail_parser::MessageParser;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the server does next; it may be changed while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Accept,
    /// Takes the connection and never says a word.
    Silent,
    /// 550 for recipients that contain this.
    RefuseRecipient(&'static str),
    RefuseLogin,
    /// 5.7.x for whoever sends.
    RefuseSender,
    /// Greets, and says nothing more after EHLO.
    StallAfterEhlo,
    /// Takes the command DATA and says nothing more.
    StallAfterData,
    /// Reads the message to its dot and says nothing more.
    StallAfterDot,
    /// Answers one letter a second.
    Trickle,
    /// Reads the message and goes away instead of answering.
    DropAfterContent,
}

#[derive(Debug, Default)]
struct Seen {
    lines: Vec<String>,
    mails: Vec<Vec<u8>>,
    connections: usize,
}

/// A mail as a mail program reads it.
#[derive(Debug, Clone)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// As it came over the wire.
    pub bytes: Vec<u8>,
}

impl Letter {
    fn read(bytes: Vec<u8>) -> Self {
        let mail = MessageParser::default().parse(&bytes).expect("the mail is well-formed");
        let to = mail.to().and_then(|to| to.first()).and_then(|to| to.address()).unwrap_or_default();
        Self {
            to: to.to_owned(),
            subject: mail.subject().unwrap_or_default().to_owned(),
            // Lines end as everywhere else in the tests.
            text: mail.body_text(0).unwrap_or_default().replace("\r\n", "\n"),
            html: mail.body_html(0).unwrap_or_default().into_owned(),
            bytes: bytes.clone(),
        }
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let mail = MessageParser::default().parse(&self.bytes).expect("the mail is well-formed");
        mail.header_raw(name).map(|value| value.trim().to_owned())
    }

    /// What stands in the brackets of the subject.
    pub fn status(&self) -> &str {
        self.subject.split(']').next().expect("a text has a first part").trim_start_matches('[')
    }
}

/// Gone with the value.
#[derive(Debug)]
pub struct SmtpServer {
    pub port: u16,
    behaviour: Arc<Mutex<Behaviour>>,
    seen: Arc<Mutex<Seen>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl SmtpServer {
    pub async fn start(behaviour: Behaviour) -> Self {
        Self::start_on(0, behaviour).await
    }

    pub async fn start_on(port: u16, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let behaviour = Arc::new(Mutex::new(behaviour));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (b, s) = (behaviour.clone(), seen.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (b, s) = (b.clone(), s.clone());
                s.lock().unwrap().connections += 1;
                tokio::spawn(async move {
                    let _ = converse(stream, b, s).await;
                });
            }
        });
        Self { port, behaviour, seen, accepting }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// Lets mails go this way, to one person unless the test says otherwise.
    pub fn lead_here(&self, settings: &mut Settings) {
        lead_to(settings, self.port);
    }

    /// The messages that it answered with 250, oldest first, as a mail program reads them.
    pub fn letters(&self) -> Vec<Letter> {
        self.mails().into_iter().map(Letter::read).collect()
    }

    pub fn subjects(&self) -> Vec<String> {
        self.letters().into_iter().map(|letter| letter.subject).collect()
    }

    pub fn statuses(&self) -> Vec<String> {
        self.letters().iter().map(|letter| letter.status().to_owned()).collect()
    }

    /// The messages that it answered with 250.
    pub fn mails(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().mails.clone()
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Every command that it was sent.
    pub fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().lines.clone()
    }
}

/// Lets mails go to this port of loopback, where perhaps nobody answers yet.
pub fn lead_to(settings: &mut Settings, port: u16) {
    settings.email.transport = EmailTransport::Smtp;
    settings.email.from = "deploywatch <alerts@example.com>".into();
    settings.email.recipients = vec!["ada@example.com".into()];
    settings.email.smtp.host = "127.0.0.1".into();
    settings.email.smtp.port = port;
    settings.email.smtp.tls = Some(SmtpTls::None);
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn converse(
    stream: TcpStream,
    behaviour: Arc<Mutex<Behaviour>>,
    seen: Arc<Mutex<Seen>>,
) -> std::io::Result<()> {
    let now = || *behaviour.lock().unwrap();
    if now() == Behaviour::Silent {
        return hang(BufReader::new(stream)).await;
    }
    let (read, mut write) = stream.into_split();
    let mut reader = BufReader::new(read);
    if now() == Behaviour::Trickle {
        for letter in b"220 stub ESMTP\r\n" {
            write.write_all(&[*letter]).await?;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
    write.write_all(b"220 stub ESMTP\r\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end().to_owned();
        seen.lock().unwrap().lines.push(command.clone());
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match (verb.as_str(), now()) {
            ("EHLO", Behaviour::StallAfterEhlo) => return hang(reader).await,
            ("MAIL", Behaviour::RefuseSender) => b"550 5.7.1 you may not send from this address\r\n",
            ("DATA", Behaviour::StallAfterData) => return hang(reader).await,
            ("EHLO", _) => b"250-stub\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n",
            ("AUTH", Behaviour::RefuseLogin) => b"535 5.7.8 authentication failed\r\n",
            ("AUTH", _) => b"235 2.7.0 welcome\r\n",
            ("RCPT", Behaviour::RefuseRecipient(part)) if command.contains(part) => {
                b"550 5.1.1 no such user\r\n"
            }
            ("DATA", now) => {
                write.write_all(b"354 go on\r\n").await?;
                let mail = content(&mut reader).await?;
                if now == Behaviour::StallAfterDot {
                    return hang(reader).await;
                }
                if now == Behaviour::DropAfterContent {
                    return Ok(());
                }
                seen.lock().unwrap().mails.push(mail);
                b"250 2.0.0 queued as stub-1\r\n"
            }
            ("QUIT", _) => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        write.write_all(answer).await?;
    }
}

/// Held open until the client gives up.
async fn hang(mut reader: impl tokio::io::AsyncBufRead + Unpin) -> std::io::Result<()> {
    let mut line = String::new();
    while reader.read_line(&mut line).await? > 0 {}
    Ok(())
}

async fn content(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> std::io::Result<Vec<u8>> {
    let mut mail = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).await? == 0 || line == b".\r\n" {
            return Ok(mail);
        }
        let line = if line.starts_with(b"..") { &line[1..] } else { &line[..] };
        mail.extend_from_slice(line);
    }
}
