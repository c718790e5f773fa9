//! Tells the story on the terminal: short sentences, the commands a team would run, links to look at.

use std::net::SocketAddr;

use anstyle::{AnsiColor, Style};

use super::Then;
use crate::cli::Output;
use crate::domain::clock::Timestamp;
use crate::domain::gate::GateAnswer;
use crate::services::gate::Answered;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Prints as the story goes.
pub struct Narrator<'a> {
    out: &'a mut Output,
    address: SocketAddr,
}

impl<'a> Narrator<'a> {
    pub fn new(out: &'a mut Output, address: SocketAddr) -> Self {
        Self { out, address }
    }

    pub fn opening(&mut self, product: &str) {
        self.out.line(&format!("{BOLD}deploywatch demo{BOLD:#}: {product}."));
        self.out.line("Nothing leaves this machine; a day passes in seconds. Watch it here:");
        self.out.line("");
        self.link("Dashboard", "/");
        self.link("Mails", "/inbox");
    }

    pub fn chapter(&mut self, at: Timestamp, title: &str) {
        self.out.line("");
        self.out.line(&format!("{BOLD}{title}{BOLD:#}  {DIM}{}{DIM:#}", at.strftime("%a %H:%M UTC")));
    }

    pub fn says(&mut self, text: &str) {
        self.out.line(&format!("  {text}"));
    }

    pub fn command(&mut self, command: &str) {
        self.out.line(&format!("  {DIM}${DIM:#} {command}"));
    }

    /// The gate's answer with its reasons.
    pub fn gate(&mut self, answered: &Answered) {
        let answer = answered.decision.answer;
        let colour = match answer {
            GateAnswer::Go => AnsiColor::Green,
            GateAnswer::Stop => AnsiColor::Red,
            _ => AnsiColor::Yellow,
        };
        let style = colour.on_default().bold();
        let version = answered.row.as_ref().map(|row| row.deploy.label()).unwrap_or_default();
        self.says(&format!(
            "{style}{}{style:#} {version}  {DIM}(exit code {}){DIM:#}",
            answer.as_str().to_uppercase(),
            answer.exit_code()
        ));
        for reason in answered.decision.reasons.iter().take(3) {
            let aside = if reason.code == "warning" { "warning: " } else { "" };
            self.says(&format!("  {aside}{}", reason.message));
        }
    }

    pub fn mail(&mut self, subject: &str) {
        self.says(&format!("{DIM}mail:{DIM:#} {subject}"));
    }

    pub fn the_end(&mut self, then: Then) {
        self.out.line("");
        match then {
            Then::Stay => {
                self.says("The server goes on scanning on real time. Look around:");
                self.link("Dashboard", "/");
                self.link("Mails", "/inbox");
                self.out.line("");
                self.says("Ctrl-C ends it and removes everything that it made.");
            }
            Then::Leave => self.says("The end."),
        }
    }

    fn link(&mut self, name: &str, path: &str) {
        self.out.line(&format!("  {name:<10} http://{}{path}", self.address));
    }
}
