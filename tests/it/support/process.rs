//! The real binary as a process: a clean environment, its own folder, everything it prints, and its end.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::reaper::Reaper;
use super::wait::{eventually, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_deploywatch");

/// What a command ended with.
#[derive(Debug, Clone)]
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end in an empty folder with a clean environment.
pub async fn cli<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Finished {
    Invocation::new().args(arguments).finish().await
}

/// A command about to be run.
#[derive(Debug, Default)]
pub struct Invocation {
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<std::path::PathBuf>,
}

impl Invocation {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The working directory; without one, an empty folder that goes with the process.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Runs it to its end, at most five minutes.
    pub async fn finish(self) -> Finished {
        let mut process = self.spawn();
        let status = process.exit(Duration::from_secs(300)).await;
        Finished { code: status.code().unwrap_or(-1), stdout: process.stdout(), stderr: process.stderr() }
    }

    /// Starts it and returns at once.
    pub fn spawn(self) -> Deploywatch {
        let own = super::temp_dir();
        let folder = self.folder.as_deref().unwrap_or(own.path());
        let mut command = Command::new(PROGRAM);
        command
            .args(&self.arguments)
            .current_dir(folder)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", own.path())
            .env("TMPDIR", own.path())
            .env("NO_COLOR", "1")
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let reaper = Reaper::new("kill -9 \"$1\"", &[&child.id().to_string()]);
        let stdout = follow(child.stdout.take().expect("stdout is piped"));
        let stderr = follow(child.stderr.take().expect("stderr is piped"));
        Deploywatch { child, stdout, stderr, reaper: Some(reaper), own }
    }
}

/// A running deploywatch.
#[derive(Debug)]
pub struct Deploywatch {
    child: Child,
    stdout: Arc<Mutex<Captured>>,
    stderr: Arc<Mutex<Captured>>,
    reaper: Option<Reaper>,
    own: tempfile::TempDir,
}

impl Deploywatch {
    /// `deploywatch serve` with these settings beside a listener on a free port of its own; returns when ready.
    pub async fn serve(invocation: Invocation) -> (Self, SocketAddr) {
        let mut server = invocation.env("DEPLOYWATCH__HTTP__LISTEN", "127.0.0.1:0").args(["serve"]).spawn();
        let address = server.address().await;
        server.ready(address).await;
        (server, address)
    }

    /// The address it says it listens on.
    pub async fn address(&mut self) -> SocketAddr {
        let mut found = None;
        wait_for(self, "the address that it listens on", |process| {
            found = listening_on(&process.stdout()).or_else(|| listening_on(&process.stderr()));
            found.is_some()
        })
        .await;
        found.expect("it was found")
    }

    /// Waits until `/readyz` says yes.
    pub async fn ready(&mut self, address: SocketAddr) {
        let url = format!("http://{address}/readyz");
        let client = super::http::client();
        eventually("the server is ready", Duration::from_secs(30), async || {
            self.assert_running();
            let answer = client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().expect("the reader did not panic").text.clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("the reader did not panic").text.clone()
    }

    /// Waits until either stream holds `text`.
    pub async fn prints(&mut self, text: &str) {
        wait_for(self, text, |process| process.stdout().contains(text) || process.stderr().contains(text))
            .await;
    }

    /// Asks it to stop as a service manager does, and waits.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.exit(Duration::from_secs(30)).await
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid fits");
        kill(Pid::from_raw(pid), signal).expect("the process can be signalled");
    }

    /// Ends it as a power cut would.
    pub fn kill9(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process ends");
    }

    /// Waits for its own end.
    pub async fn exit(&mut self, deadline: Duration) -> ExitStatus {
        let status = eventually("the process ends", deadline, async || {
            self.child.try_wait().expect("the process can be waited for")
        })
        .await;
        // The readers see the end of the pipes soon after the process is gone.
        wait_until("its output is read", Duration::from_secs(10), || {
            [&self.stdout, &self.stderr].iter().all(|s| s.lock().expect("the reader did not panic").ended)
        });
        status
    }

    /// Fails the test, with what was printed, if the process has ended.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the process can be waited for") {
            panic!("deploywatch ended ({status})\nstdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr());
        }
    }
}

impl Drop for Deploywatch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reaper) = self.reaper.take() {
            reaper.disarm();
        }
        #[expect(clippy::print_stderr, reason = "a failed test shows what the process said")]
        if std::thread::panicking() {
            eprintln!("--- deploywatch stdout\n{}--- deploywatch stderr\n{}", self.stdout(), self.stderr());
        }
    }
}

#[derive(Debug, Default)]
struct Captured {
    text: String,
    ended: bool,
}

fn follow(stream: impl std::io::Read + Send + 'static) -> Arc<Mutex<Captured>> {
    let captured = Arc::new(Mutex::new(Captured::default()));
    let writer = Arc::clone(&captured);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            writer.lock().expect("nobody panics here").text.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
        writer.lock().expect("nobody panics here").ended = true;
    });
    captured
}

async fn wait_for(process: &mut Deploywatch, what: &str, mut condition: impl FnMut(&Deploywatch) -> bool) {
    eventually(what, Duration::from_secs(60), async || {
        if condition(process) {
            return Some(());
        }
        process.assert_running();
        None
    })
    .await;
}

/// The first `http://IP:PORT` after the word "listening".
fn listening_on(text: &str) -> Option<SocketAddr> {
    let (_, rest) = text.split_once("listening")?;
    let (_, rest) = rest.split_once("http://")?;
    let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c)))?;
    rest[..end].parse().ok()
}
