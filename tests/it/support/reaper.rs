//! Cleans up even when the test process is killed: a small shell reads a pipe whose other end only this
//! process holds, and does its work when the pipe closes.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Runs its clean-up when dropped, and when this process ends in any way.
#[derive(Debug)]
pub struct Reaper {
    shell: Child,
}

impl Reaper {
    /// `script` sees `arguments` as `$1`, `$2`, …; it must be quick and must not fail on what is already gone.
    pub fn new(script: &str, arguments: &[&str]) -> Self {
        // A line on the pipe means that nothing is left to do; its end without one means that we are gone.
        let script = format!("if read -r _; then exit 0; fi\n{script}");
        let shell = Command::new("sh")
            .args(["-c", &script, "reaper"])
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group, so that Ctrl-C on the tests does not end it before its work.
            .process_group(0)
            .spawn()
            .expect("a shell can be started");
        Self { shell }
    }

    /// Nothing is left to clean up.
    pub fn disarm(mut self) {
        if let Some(pipe) = &mut self.shell.stdin {
            let _ = pipe.write_all(b"done\n");
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
