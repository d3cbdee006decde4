//! The run: one world, one kill after another, judged at the end.

use crate::Args;
use crate::look::{OneWriter, disagreements};
use crate::points::{self, Point};
use crate::result::Found;
use anyhow::{Context, Result, bail};
use segue_testkit::stage::{Segue, Visitors};
use segue_testkit::world::{World, WorldOptions};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest time from the program's restart until the run went on to its end or back.
const RESUME_LIMIT: Duration = Duration::from_secs(5);

/// A split rests at each share on its way: so much longer may it take.
const SPLIT_LIMIT: Duration = Duration::from_secs(15);

/// Shares that stand for a second each; static files may be read at the target.
const SPLIT: &str = "[policy]\nharmless_paths = [\"/files/\"]\nsplit = { shares = [50, 100], dwell_s = 1, \
                     longest_s = 60, warm_s = 0, proof = false }\n";

/// Tries to bring the unit to where a fault is to happen.
const WAYS: u32 = 3;

/// How long a command may take before the run counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(args: &Args) -> Result<bool> {
    let world = World::start(WorldOptions::small(&args.dir))?;
    let bin = std::env::current_exe()?.parent().context("own folder")?.to_owned();
    let segue = Segue::new(&bin, &world.description().dir)?;
    let mut stage = Stage { world, segue, bin, visitors: None };
    let judged = stage.play(args);
    stage.segue.end_everything(stage.world.description());
    judged
}

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) segue: Segue,
    bin: std::path::PathBuf,
    visitors: Option<Visitors>,
}

/// A fault at a point of a table.
type AtPoint = fn(&Stage, &Point, &str, &mut Found) -> Result<bool>;

/// Appends to the journal at which its disk is full: most of a cutover.
const APPENDS: std::ops::Range<usize> = 2..30;

impl Stage {
    fn play(&mut self, args: &Args) -> Result<bool> {
        let description = self.world.description().clone();
        let description = &description;
        // A fresh controller looks at traffic for a second before each cutover.
        let plan = self.world.plan_toml().replace("all_traffic_for_s = 3", "all_traffic_for_s = 1");
        let plan = plan.replacen("[policy]\n", SPLIT, 1);
        std::fs::write(self.segue.plan_file(), plan)?;
        let ledger = &description.ledger_dir;
        std::fs::create_dir_all(ledger)?;
        std::fs::write(ledger.join("zone.before"), self.world.dump_zone()?.join("\n") + "\n")?;
        let visitors = Visitors::start(&self.bin, description, args.rate)?;
        visitors.wait_until_busy(Duration::from_secs(15))?;
        self.visitors = Some(visitors);
        let points = points::all(&self.segue.plan_lines()?, &args.phase)?;
        let hash = self.segue.plan()?;
        self.segue.must(&["sync", &hash], 0)?;
        self.segue.must(&["cutover", &hash, "--prepare-only"], 0)?;

        let one_writer = OneWriter::watch(description);
        let mut found = Found::default();
        self.all_faults(args, &points, &hash, &mut found)?;
        let (two_writers, looks) = one_writer.end()?;
        if looks == 0 {
            found.violations.push("nobody could look for two writers".to_owned());
        }
        if two_writers > 0 {
            found
                .violations
                .push(format!("both sides took writes in {two_writers} of {looks} looks"));
        }
        let visitors = self.visitors.take().context("the visitors")?;
        println!("{}", visitors.words());
        visitors.leave()?;
        let oracle = self.judge(&mut found)?;
        found.looks = looks;
        found.write(args, &oracle)
    }

    fn all_faults(
        &self,
        args: &Args,
        points: &[Point],
        hash: &str,
        found: &mut Found,
    ) -> Result<()> {
        let at_points: [(&'static str, bool, AtPoint); 4] = [
            ("kill", args.kill, Self::kill_at),
            ("takeover", args.takeover, Self::take_over_at),
            ("abort", args.abort, Self::abort_at),
            ("stop", args.stop, Self::stop_at),
        ];
        for (kind, _, fault) in at_points.into_iter().filter(|(_, wanted, _)| *wanted) {
            found.kind(kind).total = points.len();
            for point in points.iter().step_by(args.every.max(1)) {
                let what = format!("{} of {}", point.order(), point.phase);
                // No server changes its place in a split: a fault in it costs nobody anything.
                let spared = ["split", "unsplit"].contains(&&*point.phase);
                self.one(kind, &what, spared, found, |found| fault(self, point, hash, found))?;
            }
        }
        if args.full {
            found.kind("full").total = APPENDS.len();
            for append in APPENDS.step_by(args.every.max(1)) {
                let what = format!("disk full at append {append}");
                self.one("full", &what, false, found, |found| self.full_at(append, hash, found))?;
            }
        }
        if args.random > 0 {
            found.kind("random").total = args.random;
            for number in 1..=args.random {
                let what = format!("random moment {number}");
                self.one("random", &what, false, found, |found| self.kill_sometime(hash, found))?;
            }
        }
        if args.restart_source {
            found.kind("restart_source").total = 1;
            let what = "source restarted";
            self.one("restart_source", what, false, found, |_| self.restart_source(hash))?;
        }
        Ok(())
    }

    /// Plays one fault, then looks at the world; where visitors are `spared`, none of their
    /// requests may have failed.
    fn one(
        &self,
        kind: &'static str,
        what: &str,
        spared: bool,
        found: &mut Found,
        play: impl Fn(&mut Found) -> Result<bool>,
    ) -> Result<()> {
        print!("{kind:<9} {what:<40} ");
        let began = Instant::now();
        let failed = || self.visitors.as_ref().map_or(0, |visitors| visitors.counted().1);
        let (mut reached, mut failed_before) = (false, 0);
        for _ in 0..WAYS {
            // An attempt that withdraws before it comes there shows nothing.
            failed_before = failed();
            reached = play(found).with_context(|| format!("{kind} at {what}"))?;
            if reached {
                break;
            }
        }
        if !reached {
            println!("not reached");
            found.violations.push(format!("{kind}: {what} was not reached"));
            return Ok(());
        }
        found.kind(kind).covered += 1;
        let status = self.segue.status()?;
        let mut wrong = disagreements(&self.world, status["share"].as_u64());
        let more = failed().saturating_sub(failed_before);
        if spared && more > 0 {
            wrong.push(format!("{more} requests of visitors failed"));
        }
        println!(
            "{:>6} ms, now {}{}",
            began.elapsed().as_millis(),
            status["stage"].as_str().unwrap_or("?"),
            if wrong.is_empty() { String::new() } else { format!("  WRONG: {}", wrong.join("; ")) }
        );
        found.violations.extend(wrong.into_iter().map(|text| format!("{kind} {what}: {text}")));
        Ok(())
    }

    /// Brings the unit to where the phase begins.
    pub(crate) fn bring_to(&self, phase: &str, hash: &str) -> Result<()> {
        let status = self.segue.status()?;
        let (at_target, share) = (self.at_target()?, status["share"].as_u64().unwrap_or(0));
        let (args, there): (&[&str], bool) = match (phase, at_target) {
            ("cutover" | "split" | "unsplit", true) => (&["rollback"], false),
            ("failback", false) => (&["cutover", hash], true),
            _ => return self.bring_share_to(phase, share, hash),
        };
        for _ in 0..WAYS {
            // One that withdraws was no fault: the next may have a better moment.
            self.quietly(args, &[0, 5])?;
            if self.at_target()? == there {
                return self.bring_share_to(phase, 0, hash);
            }
        }
        bail!("`segue {}` withdrew {WAYS} times", args.join(" "));
    }

    /// The split stands whole where one is to end, and nowhere else.
    fn bring_share_to(&self, phase: &str, share: u64, hash: &str) -> Result<()> {
        match (phase, share) {
            ("unsplit", 100) => Ok(()),
            ("unsplit", _) => {
                self.bring_share_to("split", share, hash)?;
                self.quietly(&["split", hash], &[0])
            }
            (_, 0) => Ok(()),
            _ => self.quietly(&["split", hash, "--back"], &[0]),
        }
    }

    /// The same, and leaves no controller: the next command starts one with its orders.
    pub(crate) fn fresh_controller(&self, phase: &str, hash: &str) -> Result<()> {
        self.bring_to(phase, hash)?;
        self.quietly(&["stop"], &[0])
    }

    pub(crate) fn at_target(&self) -> Result<bool> {
        let status = self.segue.status()?;
        Ok(matches!(status["stage"].as_str(), Some("watching" | "confirmed")))
    }

    /// Waits until no attempt is open.
    pub(crate) fn closed(&self) -> Result<()> {
        let what = "the run goes on or has gone back";
        self.segue.wait_for(what, PATIENCE, |status| status["open"].is_null()).map(drop)
    }

    /// Goes on as a person would, and measures it.
    pub(crate) fn resume(&self, args: &[&str], phase: &str, found: &mut Found) -> Result<()> {
        let began = Instant::now();
        self.quietly(args, &[0, 5])?;
        self.closed()?;
        let took = began.elapsed();
        let limit = if phase == "split" { SPLIT_LIMIT } else { RESUME_LIMIT };
        if phase != "split" {
            found.resume_ms.push(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
        if took > limit {
            let ms = took.as_millis();
            found.violations.push(format!("{ms} ms until the run went on or back"));
        }
        Ok(())
    }

    fn quietly(&self, args: &[&str], wanted: &[i32]) -> Result<()> {
        let output = self.segue.command(args).output()?;
        let exit = output.status.code().unwrap_or(-1);
        if !wanted.contains(&exit) {
            bail!(
                "`segue {}` ended with {exit}: {}{}",
                args.join(" "),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    fn judge(&self, found: &mut Found) -> Result<Value> {
        let description = self.world.description();
        let zone = self.world.dump_zone()?.join("\n") + "\n";
        std::fs::write(description.ledger_dir.join("zone.after"), zone)?;
        let status = self.segue.status()?;
        let side = status["write_side"]["at"].as_str().unwrap_or("source").to_owned();
        let out = description.dir.join("oracle.json");
        let judged = Command::new(self.bin.join("segue-oracle"))
            .arg("--world")
            .arg(description.path())
            .arg("--out")
            .arg(&out)
            .args(["--write-side", &side])
            .status()
            .context("run the oracle")?;
        let text =
            std::fs::read(&out).with_context(|| format!("the oracle ended with {judged}"))?;
        let oracle: Value = serde_json::from_slice(&text)?;
        for key in
            ["lost_writes", "doubled_writes", "out_of_order_per_client", "foreign_bytes_changed"]
        {
            match oracle[key].as_u64() {
                Some(0) => {}
                Some(count) => found.violations.push(format!("{key}: {count}")),
                None => found.violations.push(format!("{key}: unknown")),
            }
        }
        Ok(oracle)
    }
}
