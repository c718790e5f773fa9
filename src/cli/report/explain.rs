//! The plan of a scan: each statement with the checks that share it, what it costs, and what is not read at all.

use crate::cli::Output;
use crate::domain::check::CheckKey;
use crate::domain::wording::number;
use crate::target::{ScanPlan, Step};

pub fn explain(plan: &ScanPlan, out: &mut Output) {
    out.line(&format!("what a scan would do on {}; no table was read for this", plan.server));
    let (catalog, read): (Vec<&Step>, Vec<&Step>) = plan.steps.iter().partition(|step| step.sql.is_none());
    for (index, step) in read.iter().enumerate() {
        out.line("");
        statement(index + 1, step, plan, out);
    }
    let keys = |steps: &[&Step]| steps.iter().flat_map(|step| step.checks.clone()).collect::<Vec<_>>();
    let asked = [plan.known.clone(), keys(&catalog)].concat();
    list("asked of the catalog or the server, no table is read:", &lines(&asked), out);
    let proved: Vec<String> = plan.proved.iter().map(|(key, by)| format!("{key} by {by}")).collect();
    list("proved by a constraint, not read (--no-proofs reads them):", &proved, out);
    list("carried, since nothing was written to their tables:", &lines(&plan.carried), out);
    let answered: Vec<String> = plan.answered.iter().map(|(key, how)| format!("{key}: {how}")).collect();
    list("not read, since they are skipped or wrong for this schema:", &answered, out);
    out.line("");
    out.line(&summary(plan, &read, asked.len()));
}

fn statement(number_: usize, step: &Step, plan: &ScanPlan, out: &mut Output) {
    let mut facts = vec![match step.checks.len() {
        1 => "1 check".to_owned(),
        many => format!("{many} checks fused"),
    }];
    if step.isolated {
        facts.push("in a transaction of its own".to_owned());
    }
    if let Some(cost) = step.cost {
        facts.push(format!("cost {}", number(cost.round())));
    }
    facts.extend(step.nodes.clone());
    out.line(&format!("statement {number_}: {}", facts.join(", ")));
    let fused = step.checks.len() > 1;
    for (index, key) in step.checks.iter().enumerate() {
        let column = step.columns.get(index).filter(|_| fused).map(|c| format!("c{c} ")).unwrap_or_default();
        let note = if plan.carriable.contains(key) { ", carried while its tables are quiet" } else { "" };
        out.line(&format!("  {column}{key}{note}"));
    }
    if let Some(problem) = &step.problem {
        out.line(&format!("  would not run: {problem}"));
    }
    for line in step.sql.iter().flat_map(|sql| sql.lines()) {
        out.line(&format!("    {line}"));
    }
}

fn lines(keys: &[CheckKey]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

fn list(title: &str, entries: &[String], out: &mut Output) {
    if entries.is_empty() {
        return;
    }
    out.line("");
    out.line(title);
    for entry in entries {
        out.line(&format!("  {entry}"));
    }
}

fn summary(plan: &ScanPlan, read: &[&Step], catalog: usize) -> String {
    let checks: usize = read.iter().map(|step| step.checks.len()).sum();
    let plural = |n: usize, noun: &str| if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") };
    let mut parts = vec![format!("{} for {}", plural(read.len(), "statement"), plural(checks, "check"))];
    let cost: f64 = read.iter().filter_map(|step| step.cost).sum();
    if cost > 0.0 {
        parts.push(format!("cost {} in all", number(cost.round())));
    }
    for (count, words) in [
        (catalog, "asked of the catalog or the server"),
        (plan.proved.len(), "proved"),
        (plan.carried.len(), "carried"),
        (plan.answered.len(), "not read"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {words}"));
        }
    }
    parts.join(", ")
}
