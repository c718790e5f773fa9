//! A baseline in a file, for comparing two runs of `deploywatch check` without a server.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::domain::check::CheckKey;
use crate::domain::clock::Timestamp;
use crate::domain::ids::Entropy;
use crate::domain::measurement::Measurement;
use crate::target::Scan;

/// What was measured, and the key under which failing rows were digested, so that later digests compare.
#[derive(Debug, Serialize, Deserialize)]
pub struct BaselineFile {
    /// The version of this format.
    format: u32,
    pub captured_at: Timestamp,
    environment: String,
    #[serde(with = "hex::serde")]
    pub digest_key: [u8; 32],
    measurements: Vec<Measurement>,
}

const FORMAT: u32 = 1;

impl BaselineFile {
    pub fn new_key(entropy: &impl Entropy) -> [u8; 32] {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        key
    }

    pub fn of(scan: &Scan, environment: &str, digest_key: [u8; 32]) -> Self {
        Self {
            format: FORMAT,
            captured_at: scan.as_of,
            environment: environment.to_owned(),
            digest_key,
            measurements: scan.measurements.clone(),
        }
    }

    pub fn measurement(&self, key: &CheckKey) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.key == *key)
    }

    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the baseline {} cannot be read", path.display()))?;
        let file: Self = serde_json::from_str(&text).with_context(|| {
            format!("{} is no baseline; write one with `deploywatch check --save-baseline`", path.display())
        })?;
        anyhow::ensure!(
            file.format == FORMAT,
            "the baseline {} has format {}, this program reads {FORMAT}; write it anew with --save-baseline",
            path.display(),
            file.format
        );
        Ok(file)
    }

    /// Only its owner may read it: the digests could be guessed with the key.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let text = serde_json::to_string_pretty(self).context("the baseline cannot be written as JSON")?;
        options
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("the baseline {} cannot be written", path.display()))
    }
}
