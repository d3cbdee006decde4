//! `segue dns diff`: what a plan would change in its zones.

use super::DIFFERENCES;
use crate::args::DiffArgs;
use crate::commands::doctor;
use anyhow::{Result, bail};
use segue_dns::{RecordSet, Settings, StepDiff, Zone, ZoneDiff};
use segue_model::{Finding, RunId, Severity};
use std::io::IsTerminal;
use std::time::Duration;

/// Longest time for one zone.
const READING: Duration = Duration::from_secs(60);

/// Prints what would change.
///
/// # Errors
/// If the plan or a zone cannot be read.
pub(crate) async fn run(args: &DiffArgs, json: bool) -> Result<u8> {
    let fleet = doctor::read_plan(&args.plan)?;
    let wanted = |name: &str| args.unit.as_deref().is_none_or(|only| only == name);
    let units: Vec<_> = fleet.units.iter().filter(|p| wanted(p.unit.name.as_str())).collect();
    if units.is_empty() {
        bail!("the plan has no unit `{}`", args.unit.as_deref().unwrap_or_default());
    }
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (mut held, mut unread) = (false, 0);
    for plan in units {
        for zone in &plan.unit.zones {
            let (run, unit) = (RunId("diff".into()), plan.unit.name.clone());
            let zone = Zone::new(Settings { plan: zone.clone(), run, unit });
            let diff = match zone.diff(READING).await {
                Ok(diff) => diff,
                Err(fault) => {
                    // The others are still worth looking at.
                    unread += 1;
                    if json {
                        let zone = zone.name();
                        println!("{}", serde_json::json!({ "zone": zone, "error": fault }));
                    } else {
                        println!("zone {}: not read\n  {fault}", zone.name());
                        println!("    to do: {}", fault.hint);
                    }
                    continue;
                }
            };
            held |= diff.findings.iter().any(|finding| finding.severity == Severity::Refuse);
            if json {
                println!("{}", serde_json::to_string(&diff)?);
            } else {
                print(&diff, colours);
            }
        }
    }
    if unread > 0 {
        bail!("{unread} of the plan's zones could not be read");
    }
    if held && !json {
        println!("held back: mend what is refused, or name the guard in `allow`");
    }
    Ok(if held { DIFFERENCES } else { 0 })
}

fn print(diff: &ZoneDiff, colours: bool) {
    let serial = diff.serial.map_or("no serial".to_owned(), |serial| format!("serial {serial}"));
    println!("zone {} by `{}` at {}, {serial}", diff.zone, diff.driver, diff.place);
    for StepDiff { step, sets } in &diff.steps {
        if sets.is_empty() {
            println!("  {step}: nothing changes");
            continue;
        }
        println!("  {step}");
        for (former, wanted) in sets {
            lines(former, '-', colours);
            lines(wanted, '+', colours);
        }
    }
    for finding in &diff.findings {
        println!("{}", told(finding));
    }
}

/// Writes a finding, and below it what to do about it.
fn told(finding: &Finding) -> String {
    let word = match finding.severity {
        Severity::Refuse => "refused",
        Severity::Warn => "warning",
    };
    let Finding { code, text, remedy, .. } = finding;
    format!("  {word} [{code}]: {text}\n    to do: {remedy}")
}

/// Prints a set, one line a record, as in a zone file.
fn lines(set: &RecordSet, sign: char, colours: bool) {
    let (begin, end) = match (colours, sign) {
        (true, '-') => ("\x1b[31m", "\x1b[0m"),
        (true, _) => ("\x1b[32m", "\x1b[0m"),
        (false, _) => ("", ""),
    };
    for text in set.texts() {
        println!("    {begin}{sign} {} {} IN {} {text}{end}", set.name(), set.ttl_s(), set.rtype());
    }
}
