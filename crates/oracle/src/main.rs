//! Judges a run from outside: what clients noted, what was acknowledged, what the
//! databases, the files and the zone hold.
//!
//! **Invariant.** Nothing of what is judged takes part: this program links no crate of
//! the program under test. What is missing is an error, never a pass.

mod database;
mod gather;
mod judge;
mod ledger;
mod trees;
mod world;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use judge::{Findings, Verdict};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit code if something is not as promised.
const DIFFERENCES: u8 = 3;

/// Judges a run from its ledger, both databases, the files and the zone.
#[derive(Debug, Parser)]
#[command(name = "segue-oracle")]
struct Args {
    /// Description of the world.
    #[arg(long, value_name = "FILE")]
    world: PathBuf,
    /// Where the verdict is written, as JSON.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Side that must hold every write; if not given, the side last published.
    #[arg(long)]
    write_side: Option<world::Side>,
    /// Folder of the ledger; the world's own if not given.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// Leaves a question out; the verdict says so.
    #[arg(long, value_name = "QUESTION")]
    without: Vec<Question>,
}

/// A question that a run may have no evidence for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Question {
    /// Jobs that write without a web server.
    Cron,
    /// Another customer's schema.
    Tenant,
    /// Another customer's records.
    Zone,
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stderr)]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("segue-oracle: nothing was judged: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode> {
    let world = world::World::read(&args.world)?;
    let ledger = ledger::Ledger(args.ledger.unwrap_or_else(|| world.ledger_dir.clone()));
    let gathered = gather::gather(&world, &ledger, args.write_side, &args.without).await?;
    let mut verdict = judge::judge(&gathered.evidence);
    verdict.detail.write_side = gathered.write_side.to_string();
    verdict.detail.lines_cut_off = gathered.lines_cut_off;
    verdict.detail.not_judged = args
        .without
        .iter()
        .filter_map(|question| question.to_possible_value())
        .map(|value| value.get_name().to_owned())
        .collect();
    write(&args.out, &verdict)?;
    std::io::stdout().write_all(table(&verdict).as_bytes())?;
    Ok(if verdict.detail.pass { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENCES) })
}

fn write(path: &Path, verdict: &Verdict) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("create folder {}", folder.display()))?;
    }
    let mut text = serde_json::to_vec_pretty(verdict)?;
    text.push(b'\n');
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// The verdict for a person's eyes.
fn table(verdict: &Verdict) -> String {
    let detail = &verdict.detail;
    let former = match verdict.requests_at_former_address_after_publish {
        Some(count) => {
            let share = detail.share_at_former_address_after_publish.unwrap_or(0.0);
            format!("{count} ({:.1} %)", share * 100.0)
        }
        None => "nothing was published".to_owned(),
    };
    let rows = [
        ("write side", detail.write_side.clone()),
        ("requests", verdict.requests.to_string()),
        ("failed requests", verdict.failed_requests.to_string()),
        ("acknowledged writes", verdict.acknowledged_writes.to_string()),
        ("lost writes", verdict.lost_writes.to_string()),
        ("doubled writes", verdict.doubled_writes.to_string()),
        ("out of order per client", verdict.out_of_order_per_client.to_string()),
        ("longest request, ms", verdict.longest_request_ms.to_string()),
        ("foreign bytes changed", verdict.foreign_bytes_changed.to_string()),
        ("at the former address after publish", former),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        text.push_str(&format!("{name:<38}{value:>20}\n"));
    }
    for failure in detail.first_failures.iter().take(5) {
        text.push_str(&format!(
            "  {} {:?} of {}: {}\n",
            failure.intended_ms, failure.kind, failure.client, failure.fail
        ));
    }
    let findings = [&detail.lost, &detail.doubled, &detail.out_of_order, &detail.foreign];
    for sentence in findings.into_iter().flat_map(|Findings { first, .. }| first.iter().take(5)) {
        text.push_str(&format!("  {sentence}\n"));
    }
    if !detail.not_judged.is_empty() {
        text.push_str(&format!("  left out on request: {}\n", detail.not_judged.join(", ")));
    }
    text.push_str(if detail.pass { "pass\n" } else { "NOT as promised\n" });
    text
}
