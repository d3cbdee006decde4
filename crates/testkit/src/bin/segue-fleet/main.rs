//! A fleet: many small accounts on one pair of servers and in one zone, moved in waves
//! while they are written to. One of them cannot be cut over: its wave stops, the others
//! stay where they are, a person lets the wave go on, and the report tells it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod accounts;
mod judge;
mod writers;

use accounts::Accounts;
use anyhow::{Context, Result, bail};
use clap::Parser;
use segue_testkit::stage::Segue;
use segue_testkit::world::{World, WorldOptions};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use writers::Writers;

/// Moves a fleet of accounts in four waves; one goes back.
#[derive(Debug, Parser)]
#[command(name = "segue-fleet")]
struct Args {
    /// Folder of the world
    #[arg(long, default_value = "/var/tmp/segue-fleet")]
    dir: PathBuf,
    /// Where the report goes
    #[arg(long, default_value = "segue-report")]
    out: PathBuf,
    /// How many accounts
    #[arg(long, default_value_t = 100)]
    units: usize,
}

fn main() -> ExitCode {
    match play(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Plays the move; returns whether the judge found nothing wrong.
fn play(args: &Args) -> Result<bool> {
    let own = std::env::current_exe().context("find this program")?;
    let bin = own.parent().context("find its folder")?;
    segue_testkit::stage::end_segue(&args.dir);
    let options = WorldOptions {
        shop_program: Some(bin.join("segue-shop")),
        ..WorldOptions::small(&args.dir)
    };
    let world = World::start(options).context("start the world")?;
    let description = world.description().clone();
    let segue = Segue::new(bin, &description.dir)?;
    let began = Instant::now();
    let told = move |what: &str| println!("[{:6.1} s] {what}", began.elapsed().as_secs_f64());
    let accounts = Accounts::create(&description, args.units).context("create the accounts")?;
    accounts.write_plan(&description, &segue)?;
    told(&format!("{} accounts on one pair of servers, {} in one zone", args.units, args.units));
    let writers = Writers::start(&description, &accounts)?;
    let played = waves(&segue, &accounts, &description, &told);
    let ledger = writers.stop();
    let judged = played.and_then(|()| {
        segue.must(&["report", "--out", &args.out.display().to_string()], 0)?;
        judge::judge(&description, &accounts, &ledger?, &args.out)
    });
    segue.end_everything(&description);
    let wrong = judged?;
    for line in &wrong {
        eprintln!("wrong: {line}");
    }
    told(if wrong.is_empty() { "judged: as promised" } else { "judged: not as promised" });
    Ok(wrong.is_empty())
}

fn waves(
    segue: &Segue,
    accounts: &Accounts,
    description: &segue_testkit::world::Description,
    told: &dyn Fn(&str),
) -> Result<()> {
    let hash = segue.plan()?;
    told("planned");
    segue.must(&["sync", &hash], 0)?;
    told("every account follows");
    segue.must(&["cutover", &hash, "--prepare-only"], 0)?;
    told("TTLs are low");
    segue.must(&["cutover", &hash], 0)?;
    told("wave 1 is over");
    // A transaction that nobody ends: no lock of the fence is given while it lasts.
    let blocked = accounts.block(description)?;
    segue.must(&["cutover", &hash], 5)?;
    told(&format!("wave 2 stopped at `{}`", blocked.name()));
    let status = segue.status()?;
    let stopped = &status["waves"][1]["stopped"];
    if !stopped.as_str().is_some_and(|because| because.contains(blocked.name())) {
        bail!("wave 2 does not say which unit stopped it: {stopped}");
    }
    segue.must(&["cutover", &hash], 5)?;
    told("it stays stopped until a person lets it go on");
    let name = blocked.name().to_owned();
    blocked.end();
    segue.must(&["wave", "resume", "2"], 0)?;
    segue.must(&["cutover", &hash], 0)?;
    told(&format!("wave 2 is over, without `{name}`"));
    segue.must(&["cutover", &hash], 0)?;
    segue.must(&["cutover", &hash], 0)?;
    told("waves 3 and 4 are over");
    segue.must(&["rollback", "--unit", &accounts.last()], 0)?;
    told(&format!("`{}` is failed back", accounts.last()));
    Ok(())
}
