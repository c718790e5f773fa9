//! Where commands print: results to stdout, messages to stderr. A closed pipe ends the output quietly.

use std::io::Write;

/// A checked writer; `println!` would panic on a closed pipe.
#[derive(Debug, Default)]
pub struct Output {
    closed: bool,
}

impl Output {
    pub fn stdio() -> Self {
        Self::default()
    }

    /// One line of result. Colours are stripped where the terminal or `NO_COLOR` says so.
    pub fn line(&mut self, text: &str) {
        if !self.closed && writeln!(anstream::stdout(), "{text}").is_err() {
            self.closed = true;
        }
    }

    /// One message for the person, beside the result.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(anstream::stderr(), "{text}");
    }

    pub fn error(&mut self, text: &str) {
        let _ = writeln!(anstream::stderr(), "error: {text}");
    }
}
