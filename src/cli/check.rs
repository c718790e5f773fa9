//! `deploywatch check`: run suites once against a database, and say what holds.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures_util::{StreamExt, stream};
use secrecy::{ExposeSecret, SecretString};

use super::Output;
use super::baseline_file::BaselineFile;
use super::carry_file;
use super::common::SettingsArgs;
use super::report::{self, FailOn, Format, Report, Row};
use crate::domain::blame::judge_all;
use crate::domain::check::{Check, CheckPolicy};
use crate::domain::clock::Timestamp;
use crate::domain::evaluate::{BaselineFor, SlotFacts, evaluate};
use crate::domain::measurement::{MeasureError, Measurement};
use crate::services::signals::Outside;
use crate::services::suites::{self, SuitesError};
use crate::settings::{Environment, Purpose, RowSecurity, Settings};
use crate::system::{self, SystemClock, SystemEntropy};
use crate::target::{Carry, Fusion, Params, Progress, Scan, ScanRequest, Target, TargetOptions};

/// Run check suites once and say what holds.
///
/// Ends with 0 when everything holds or only warns, 1 when a critical check failed, 2 when the command or a
/// file is wrong, 3 when a critical check could not be measured.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Suites, or folders of them; `embedded:agentzero` names one inside the program
    paths: Vec<PathBuf>,
    /// The database to look at, postgres://… or sqlite:PATH; else DATABASE_URL or the settings
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// The environment of the settings to look at
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// From which severity on a failing check ends the command with 1
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
    /// Compare with a baseline that `--save-baseline` wrote
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write what was measured, to compare with later
    #[arg(long, value_name = "FILE")]
    save_baseline: Option<PathBuf>,
    /// Read every table, also where a constraint proves that nothing can be wrong
    #[arg(long)]
    no_proofs: bool,
    /// Believe validated foreign keys instead of reading the tables
    #[arg(long)]
    trust_foreign_keys: bool,
    /// How many connections may read at once, all on one snapshot; else the settings' `scan.connections`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    connections: Option<u32>,
    /// Remember in FILE what was measured, and read no table again that nothing was written to since
    #[arg(long, value_name = "FILE")]
    carry: Option<PathBuf>,
    /// Show what would be read and what not, with the planner's estimates, and read no table
    #[arg(long)]
    explain: bool,
    /// How many checks may share one statement; for measuring what sharing gives
    #[arg(long, value_enum, default_value_t, hide = true)]
    fusion: FusionArg,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum FusionArg {
    #[default]
    Whole,
    WithoutJoins,
    Off,
}

pub async fn run(args: CheckArgs, out: &mut Output) -> anyhow::Result<u8> {
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    let place = match Place::of(&args, &settings) {
        Err(_) if ask_no_database(&args.paths) => Place::nowhere(),
        place => place?,
    };
    let mut baseline = match &args.baseline {
        Some(path) => Some(BaselineFile::read(path)?),
        None => None,
    };
    let digest_key = match &baseline {
        Some(file) => file.digest_key,
        None => BaselineFile::new_key(&SystemEntropy),
    };
    let target = Target::new(place.options(&settings, &args, digest_key));
    if target.engine().is_none() && !place.is_nowhere() {
        anyhow::bail!(
            "the database URL names no engine that is known; write postgres://USER:PASSWORD@HOST:PORT/DATABASE \
             or sqlite:PATH"
        );
    }
    let paths = if args.paths.is_empty() { place.suites.clone() } else { args.paths.clone() };
    let suites = match suites::fitting(&target, &paths).await {
        Ok(suites) => suites,
        Err(SuitesError::Unreachable(error)) => return Ok(unreachable(&error.error, out)),
        Err(error) => return Err(error.into()),
    };
    let checks: Vec<Arc<Check>> = suites.into_iter().flat_map(|suite| suite.checks).map(Arc::new).collect();
    let (beside, asked): (Vec<_>, Vec<_>) =
        checks.into_iter().partition(|check| check.measure.signal().is_some());
    let request = ScanRequest {
        checks: asked.clone(),
        params: Params {
            environment: place.name.clone(),
            baseline_at: baseline.as_ref().map(|file| file.captured_at),
            ..Params::default()
        },
        carry: match &args.carry {
            Some(path) => carry_file::read(path)?,
            None => None,
        },
    };
    if args.explain {
        return match target.explain(&request).await {
            Ok(plan) => {
                report::explain(&plan, out);
                Ok(0)
            }
            Err(error) => Ok(unreachable(&error.error, out)),
        };
    }
    let bar = bar(&args, asked.len());
    let told = bar.clone();
    let progress = Progress::to(move |answered| told.set_position(answered.try_into().unwrap_or(u64::MAX)));
    let target = target.telling(progress);
    let scanning =
        async { if asked.is_empty() { Ok(nothing_scanned()) } else { target.scan(&request).await } };
    let outside = Outside::of(&settings);
    let (scanned, seen) = tokio::join!(scanning, look_beside(&outside, &beside));
    bar.finish_and_clear();
    let report = match scanned {
        Ok(mut scan) => {
            scan.measurements.extend(seen);
            let (scan, checks) = (&scan, [asked, beside].concat());
            if let Some(path) = &args.save_baseline {
                BaselineFile::of(scan, &place.name, digest_key).write(path)?;
                out.note(&format!("the baseline was written to {}", path.display()));
            }
            if let Some(path) = &args.carry {
                carry_file::write(path, &scan.carry)?;
            }
            assemble(&place.name, &checks, scan, baseline.take())
        }
        // Machines get the whole table, each check with the error; a person gets it once.
        Err(error) if args.format != Format::Text || !beside.is_empty() => {
            let mut report = failed(&place.name, &asked, &error.error);
            let now = crate::domain::clock::Clock::now(&SystemClock);
            report.rows.extend(judged(&beside, &seen, now, baseline.as_ref()));
            report.rows = report::sorted(report.rows);
            report
        }
        Err(error) => return Ok(unreachable(&error.error, out)),
    };
    let step_summary = system::environment().get("GITHUB_STEP_SUMMARY").cloned();
    report::print(&report, args.format, args.fail_on, step_summary.as_deref(), out);
    Ok(report.exit_code(args.fail_on))
}

/// Which database, under which name, with which suites.
struct Place {
    name: String,
    url: SecretString,
    suites: Vec<PathBuf>,
    environment: Option<Environment>,
}

impl Place {
    /// For suites that ask no database.
    fn nowhere() -> Self {
        Self { name: "local".into(), url: "".into(), suites: Vec::new(), environment: None }
    }

    fn is_nowhere(&self) -> bool {
        self.url.expose_secret().is_empty()
    }

    fn of(args: &CheckArgs, settings: &Settings) -> anyhow::Result<Self> {
        let names = || settings.environments.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let named = match &args.environment {
            Some(name) => Some(settings.environments.get_key_value(name).with_context(|| {
                match settings.environments.len() {
                    0 => format!("there is no environment `{name}`, since the settings have none at all"),
                    _ => format!("there is no environment `{name}` in the settings; there are: {}", names()),
                }
            })?),
            None => None,
        };
        match (&args.database_url, named) {
            (Some(url), named) => Ok(Self {
                name: named.map_or("local", |(name, _)| name).to_owned(),
                url: url.as_str().into(),
                suites: named.map(|(_, environment)| environment.suites.clone()).unwrap_or_default(),
                environment: named.map(|(_, environment)| environment.clone()),
            }),
            (None, Some((name, environment))) => Ok(Self::from_settings(name, environment)),
            (None, None) => match settings.environments.iter().collect::<Vec<_>>().as_slice() {
                [(name, environment)] => Ok(Self::from_settings(name, environment)),
                [] => anyhow::bail!(
                    "no database is named; give --database-url postgres://USER:PASSWORD@HOST:PORT/DATABASE, or set \
                     DATABASE_URL"
                ),
                _ => anyhow::bail!("say which of the environments is meant by --environment: {}", names()),
            },
        }
    }

    fn from_settings(name: &str, environment: &Environment) -> Self {
        Self {
            name: name.to_owned(),
            url: environment.database_url.expose_secret().into(),
            suites: environment.suites.clone(),
            environment: Some(environment.clone()),
        }
    }

    fn options(&self, settings: &Settings, args: &CheckArgs, digest_key: [u8; 32]) -> TargetOptions {
        let scan = &settings.scan;
        let own = self.environment.as_ref();
        TargetOptions {
            ca_file: own.and_then(|environment| environment.ca_file.clone()),
            row_security_off: own.is_none_or(|environment| environment.row_security == RowSecurity::Off),
            budget: Duration::from_secs(scan.budget_seconds.into()),
            statement_timeout: Duration::from_secs(scan.statement_timeout_seconds.into()),
            lock_timeout: Duration::from_millis(scan.lock_timeout_millis.into()),
            connections: args.connections.unwrap_or(scan.connections),
            max_cost: scan.max_cost,
            proofs: !args.no_proofs,
            trust_foreign_keys: args.trust_foreign_keys || scan.trust_foreign_keys,
            fusion: match args.fusion {
                FusionArg::Whole => Fusion::Whole,
                FusionArg::WithoutJoins => Fusion::WithoutJoins,
                FusionArg::Off => Fusion::Off,
            },
            digest_key,
            ..TargetOptions::new(self.url.clone())
        }
    }
}

fn unreachable(error: &MeasureError, out: &mut Output) -> u8 {
    out.error(&format!("nothing could be measured: {error}"));
    if let Some(hint) = &error.hint {
        out.note(&format!("  {hint}"));
    }
    3
}

/// Whether the named suites can be loaded and are about HTTP alone.
fn ask_no_database(paths: &[PathBuf]) -> bool {
    let checks = |suites: Vec<crate::suite::Suite>| suites.into_iter().flat_map(|suite| suite.checks);
    !paths.is_empty()
        && crate::suite::load(paths)
            .is_ok_and(|suites| checks(suites).all(|check| check.measure.signal().is_some()))
}

/// What is beside the database, a few at a time.
async fn look_beside(outside: &Outside, checks: &[Arc<Check>]) -> Vec<Measurement> {
    let now = crate::domain::clock::Clock::now(&SystemClock);
    let all: Vec<_> = checks.iter().map(|check| outside.measure_alone(check, now)).collect();
    stream::iter(all).buffered(8).collect().await
}

fn nothing_scanned() -> Scan {
    Scan {
        as_of: crate::domain::clock::Clock::now(&SystemClock),
        measurements: Vec::new(),
        carry: Carry::default(),
        statements: 0,
        duration: Duration::ZERO,
        server: "no database".into(),
    }
}

fn assemble(environment: &str, checks: &[Arc<Check>], scan: &Scan, baseline: Option<BaselineFile>) -> Report {
    let rows = judged(checks, &scan.measurements, scan.as_of, baseline.as_ref());
    Report {
        environment: environment.to_owned(),
        server: Some(scan.server.clone()),
        as_of: Some(scan.as_of),
        baseline_at: baseline.map(|file| file.captured_at),
        duration: scan.duration,
        statements: scan.statements,
        rows: report::sorted(rows),
    }
}

fn judged(
    checks: &[Arc<Check>],
    measurements: &[Measurement],
    now: Timestamp,
    baseline: Option<&BaselineFile>,
) -> Vec<Row> {
    let slot = SlotFacts { slot_at: now, observed_at: now, confirm: false, finished_at: None };
    // Who brings no baseline asks how things are now: what can be judged by itself is.
    let policy = |check: &Check| match baseline {
        None => check.policy.without_comparison().unwrap_or_else(|| check.policy.clone()),
        Some(_) => check.policy.clone(),
    };
    let policies: Vec<CheckPolicy> = checks.iter().map(|check| policy(check)).collect();
    let judge = |index: usize, measurement: &Measurement| {
        let before = baseline.and_then(|file| file.measurement(&policies[index].key));
        let before = before.map_or(BaselineFor::Missing, BaselineFor::Usable);
        evaluate(&policies[index], measurement, before, slot)
    };
    let observations = judge_all(checks.iter().map(Arc::as_ref), measurements, |_| false, judge);
    policies.into_iter().zip(observations).map(|(policy, observation)| Row { policy, observation }).collect()
}

/// Every check with the one error that kept all of them from being measured.
fn failed(environment: &str, checks: &[Arc<Check>], error: &MeasureError) -> Report {
    let now = crate::domain::clock::Clock::now(&SystemClock);
    let slot = SlotFacts { slot_at: now, observed_at: now, confirm: false, finished_at: None };
    let rows = checks
        .iter()
        .map(|check| {
            let measurement = Measurement {
                key: check.key().clone(),
                definition_hash: check.policy.definition_hash.clone(),
                result: Err(error.clone()),
                duration_ms: 0,
                carried: false,
                proved: None,
                isolated: false,
                statement: None,
            };
            Row {
                policy: check.policy.clone(),
                observation: evaluate(&check.policy, &measurement, BaselineFor::Missing, slot),
            }
        })
        .collect();
    Report {
        environment: environment.to_owned(),
        server: None,
        as_of: None,
        baseline_at: None,
        duration: Duration::ZERO,
        statements: 0,
        rows: report::sorted(rows),
    }
}

/// Fills on a terminal as checks are answered while a person waits, and is not there otherwise.
fn bar(args: &CheckArgs, checks: usize) -> indicatif::ProgressBar {
    if args.format != Format::Text || !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template(
        "{spinner} measuring [{bar:30}] {pos} of {len} checks, {elapsed}",
    )
    .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar())
    .progress_chars("=> ");
    let bar = indicatif::ProgressBar::new(checks.try_into().unwrap_or(u64::MAX)).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
