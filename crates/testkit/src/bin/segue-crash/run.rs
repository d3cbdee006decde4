//! The run: one world, one kill after another, judged at the end.

use crate::Args;
use crate::look::{OneWriter, disagreements};
use crate::points::{self, Point};
use anyhow::{Context, Result, bail};
use segue_testkit::stage::{Segue, Visitors};
use segue_testkit::world::{World, WorldOptions};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest time from the program's restart until the run went on to its end or back.
const RESUME_LIMIT: Duration = Duration::from_secs(5);

/// How long a command may take before the run counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was found, in words.
#[derive(Default)]
struct Found {
    violations: Vec<String>,
    covered: usize,
    kills: usize,
    resume_ms: Vec<u64>,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let world = World::start(WorldOptions::small(&args.dir))?;
    let bin = std::env::current_exe()?.parent().context("own folder")?.to_owned();
    let segue = Segue::new(&bin, &world.description().dir)?;
    let stage = Stage { world, segue, bin };
    let judged = stage.play(args);
    stage.segue.end_everything(stage.world.description());
    judged
}

struct Stage {
    world: World,
    segue: Segue,
    bin: std::path::PathBuf,
}

impl Stage {
    fn play(&self, args: &Args) -> Result<bool> {
        let description = self.world.description();
        // A fresh controller looks at traffic for a second before each cutover.
        let plan = self.world.plan_toml().replace("all_traffic_for_s = 3", "all_traffic_for_s = 1");
        std::fs::write(self.segue.plan_file(), plan)?;
        let ledger = &description.ledger_dir;
        std::fs::create_dir_all(ledger)?;
        std::fs::write(ledger.join("zone.before"), self.world.dump_zone()?.join("\n") + "\n")?;
        let visitors = Visitors::start(&self.bin, description, args.rate)?;
        visitors.wait_until_busy(Duration::from_secs(15))?;
        let points = points::all(&self.segue.plan_lines()?)?;
        let hash = self.segue.plan()?;
        self.segue.must(&["sync", &hash], 0)?;
        self.segue.must(&["cutover", &hash, "--prepare-only"], 0)?;

        let one_writer = OneWriter::watch(description);
        let mut found = Found::default();
        let chosen: Vec<&Point> = points.iter().step_by(args.every.max(1)).collect();
        for (number, point) in chosen.iter().enumerate() {
            print!("{:>3}/{} {:<8} {:<30} ", number + 1, chosen.len(), point.phase, point.order());
            self.kill_at(point, &hash, &mut found)
                .with_context(|| format!("kill at {} of {}", point.order(), point.phase))?;
        }
        let (two_writers, looks) = one_writer.end()?;
        if two_writers > 0 {
            found
                .violations
                .push(format!("both sides took writes in {two_writers} of {looks} looks"));
        }
        println!("{}", visitors.words());
        visitors.leave()?;
        let oracle = self.judge(&mut found)?;
        write_result(args, &found, points.len(), looks, &oracle)
    }

    /// Brings the unit to where the point's table begins.
    fn bring_to(&self, phase: &str, hash: &str) -> Result<()> {
        let status = self.segue.status()?;
        let at_target = matches!(status["stage"].as_str(), Some("watching" | "confirmed"));
        match (phase, at_target) {
            ("cutover", true) => self.quietly(&["rollback"], &[0]),
            ("failback", false) => self.quietly(&["cutover", hash], &[0]),
            _ => Ok(()),
        }
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

    fn kill_at(&self, point: &Point, hash: &str, found: &mut Found) -> Result<()> {
        self.bring_to(&point.phase, hash)?;
        self.quietly(&["stop"], &[0])?;
        let args: &[&str] =
            if point.phase == "cutover" { &["cutover", hash] } else { &["rollback"] };
        // The command starts the controller, which inherits the order to die.
        let mut child = self
            .segue
            .command(args)
            .env("SEGUE_CRASH_AT", point.order())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let began = Instant::now();
        let exit = loop {
            if let Some(exit) = child.try_wait()? {
                break exit;
            }
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                bail!("`segue {}` hangs", args.join(" "));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if exit.success() {
            println!("not reached");
            found.violations.push(format!("{} of {} was not reached", point.order(), point.phase));
            return Ok(());
        }
        found.kills += 1;
        found.covered += 1;
        let began = Instant::now();
        self.quietly(&["resume"], &[0, 5])?;
        let status =
            self.segue.wait_for("the run goes on or has gone back", PATIENCE, |status| {
                status["open"].is_null()
            })?;
        let took = began.elapsed();
        found.resume_ms.push(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let wrong = disagreements(&self.world);
        println!(
            "{:>5} ms, now {}{}",
            took.as_millis(),
            status["stage"].as_str().unwrap_or("?"),
            if wrong.is_empty() { String::new() } else { format!("  WRONG: {}", wrong.join("; ")) }
        );
        if took > RESUME_LIMIT {
            found.violations.push(format!(
                "{}: {} ms until the run went on or back",
                point.order(),
                took.as_millis()
            ));
        }
        found.violations.extend(
            wrong.into_iter().map(|text| format!("{} of {}: {text}", point.order(), point.phase)),
        );
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

fn write_result(
    args: &Args,
    found: &Found,
    total: usize,
    looks: u64,
    oracle: &Value,
) -> Result<bool> {
    let result = json!({
        "kills": found.kills,
        "violations": found.violations.len(),
        "points_covered": found.covered,
        "points_total": total,
        "longest_resume_ms": found.resume_ms.iter().max(),
        "looks_for_two_writers": looks,
        "acknowledged_writes": oracle["acknowledged_writes"],
        "failed_requests": oracle["failed_requests"],
        "violation_texts": found.violations,
    });
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&args.out, serde_json::to_string_pretty(&result)? + "\n")
        .with_context(|| format!("write `{}`", args.out.display()))?;
    println!("{result:#}");
    Ok(found.violations.is_empty() && found.kills > 0)
}
