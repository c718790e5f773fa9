//! `deploywatch init`: a first suite for a database, drafted from what is in it.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::Output;
use crate::services::propose::{self, Draft, ProposeError};
use crate::system;
use crate::target::{Engine, Target, TargetOptions};

/// Look at a database and write a first suite for it, with the reason for each check.
///
/// Reads the catalog and the planner's statistics in a read-only transaction, proposes checks, and tries each
/// one once: what holds is written as a check, what does not as a comment that says what was found.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The PostgreSQL database to look at; else DATABASE_URL
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Where to write the suite; without it, to the standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The schema that holds your tables
    #[arg(long, value_name = "NAME", default_value = "public")]
    schema: String,
    /// Certificate authorities to believe, in PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Replace the file where there is one
    #[arg(long, requires = "output")]
    force: bool,
}

pub async fn run(args: InitArgs, out: &mut Output) -> anyhow::Result<u8> {
    let from_environment = || system::environment().get("DATABASE_URL").cloned();
    let url = args.database_url.clone().or_else(from_environment).context(
        "no database is named; give --database-url postgres://USER:PASSWORD@HOST:PORT/DATABASE, or set DATABASE_URL",
    )?;
    // Said before the database is asked anything.
    if let Some(path) = args.output.as_deref().filter(|path| !args.force && path.exists()) {
        anyhow::bail!(taken(path));
    }
    let options = TargetOptions { ca_file: args.ca_file.clone(), ..TargetOptions::new(url.into()) };
    let target = Target::new(options);
    if target.engine() != Some(Engine::Postgres) {
        anyhow::bail!(
            "only a PostgreSQL database keeps the statistics from which checks are proposed; write \
             postgres://USER:PASSWORD@HOST:PORT/DATABASE"
        );
    }
    let draft = match propose::draft(&target, &args.schema).await {
        Ok(draft) => draft,
        Err(ProposeError::Unreachable(error)) => {
            out.error(&format!("nothing could be looked at: {error}"));
            if let Some(hint) = &error.error.hint {
                out.note(&format!("  {hint}"));
            }
            return Ok(3);
        }
        Err(error) => return Err(error.into()),
    };
    match &args.output {
        Some(path) => write(path, &draft.yaml, args.force)?,
        None => out.line(draft.yaml.trim_end()),
    }
    summarise(&draft, args.output.as_deref(), out);
    Ok(0)
}

fn summarise(draft: &Draft, path: Option<&Path>, out: &mut Output) {
    let (checks, tables) = (count(draft.checks, "check"), count(draft.tables, "table"));
    match path {
        Some(path) => out.note(&format!("{checks} for {tables} were written to {}", path.display())),
        None => out.note(&format!("{checks} for {tables}")),
    }
    if draft.set_aside > 0 {
        out.note(&format!(
            "{} in it as comments, since they do not hold now: look for `Off, since`",
            match draft.set_aside {
                1 => "1 more is".to_owned(),
                more => format!("{more} more are"),
            }
        ));
    }
    if !draft.unreadable.is_empty() {
        out.note(&format!(
            "left out, since this role does not see all their rows: {}; connect with a role that may read them, \
             with BYPASSRLS where row-level security is on",
            draft.unreadable.join(", ")
        ));
    }
    if let Some(path) = path {
        out.note(&format!("try it: deploywatch check {}", path.display()));
    }
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn taken(path: &Path) -> String {
    format!("{} is already there; name another file, or replace it by --force", path.display())
}

/// Somebody may have made the file meanwhile, so the system decides whether it is new.
fn write(path: &Path, yaml: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    if force {
        options.write(true).create(true).truncate(true)
    } else {
        options.write(true).create_new(true)
    };
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => anyhow::bail!(taken(path)),
        Err(error) => {
            return Err(error).with_context(|| {
                format!("{} cannot be written; check that its folder is there and yours", path.display())
            });
        }
    };
    file.write_all(yaml.as_bytes())
        .with_context(|| format!("{} could not be written wholly; check the free space", path.display()))
}
