//! What a `check` leaves for the next one, so that a quiet table is not read again.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::target::Carry;

/// The carry state of the last run; `None` where there was none yet, or another version of the program made it.
pub fn read(path: &Path) -> anyhow::Result<Option<Carry>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Written beside and moved into place, so that a run that is killed leaves the last state.
pub fn write(path: &Path, carry: &Carry) -> anyhow::Result<()> {
    let text = serde_json::to_string(carry).context("the carry state cannot be written as JSON")?;
    let mut name = path.file_name().context("--carry names no file")?.to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("the carry state {} cannot be written", path.display()))
}
