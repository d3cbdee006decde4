//! A run under visitors on which moments are played: after each, service goes on.

use super::certificate::TlsServer;
use super::change::Said;
use super::table::{Kind, Row};
use crate::run::Run;
use crate::{admin, bin};
use anyhow::{Context, Result, bail, ensure};
use mysql_async::prelude::Queryable;
use segue_testkit::stage::{Controller, wait_asleep};
use segue_testkit::world::{Description, Side};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Longest time anything may take: what hangs is found.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);
/// Requests after a moment that show that service goes on.
const GOES_ON: u64 = 15;

/// What a moment does; returns what was seen.
pub(super) type Play = fn(&mut Scene) -> Result<String>;

/// A moment as data.
pub(super) struct Moment {
    pub(super) name: &'static str,
    pub(super) done: &'static str,
    pub(super) expected: &'static str,
    pub(super) play: Play,
    /// Whether the site itself is down for a while: nothing of Segue could help.
    pub(super) outage: bool,
}

impl Moment {
    pub(super) const fn new(
        name: &'static str,
        done: &'static str,
        expected: &'static str,
        play: Play,
    ) -> Self {
        Self { name, done, expected, play, outage: false }
    }

    pub(super) const fn with_outage(self) -> Self {
        Self { outage: true, ..self }
    }
}

/// The run.
pub(super) struct Scene {
    pub(super) run: Run,
    pub(super) runtime: Runtime,
    /// The TLS server in front of the site, if there is one.
    pub(super) tls: Option<TlsServer>,
}

impl Scene {
    /// A unit that follows, under visitors. Gates wait for some seconds only.
    pub(super) fn with(change: impl Fn(String) -> String) -> Self {
        let short = |plan: String| {
            let plan = plan.replacen("all_traffic_for_s = 3", "all_traffic_for_s = 1", 1);
            change(plan.replacen("[policy]\n", "[policy]\ngate_wait_s = 6\n", 1))
        };
        Self { run: Run::synced_with(short), runtime: Runtime::new().unwrap(), tls: None }
    }

    /// Plays moments in their order, and judges at the end.
    pub(super) fn play(mut self, moments: &[Moment]) -> Vec<Row> {
        let mut rows = Vec::new();
        for moment in moments {
            let began = Instant::now();
            let seen = self.one(moment).map_err(|error| format!("{error:#}"));
            if seen.is_err() {
                // So that one moment does not spoil the next.
                let _ = self.say(&["resume"]);
                let _ = self.say(&["rollback"]);
            }
            let of = (moment.name, moment.done, moment.expected);
            rows.push(Row::new(Kind::Moment, of, seen, began));
        }
        if let Err(error) = self.judge() {
            // It is about all of them; each counts as wrong.
            for row in &mut rows {
                row.right = false;
                row.seen = format!("WRONG: the oracle at the end: {error:#}; {}", row.seen);
            }
        }
        rows
    }

    fn one(&mut self, moment: &Moment) -> Result<String> {
        let before = self.failed_of(|_| true)?;
        let seen = (moment.play)(self)?;
        self.serves_at_source()?;
        let failed = self.failed_of(|_| true)? - before;
        ensure!(moment.outage || failed == 0, "{failed} requests failed; {seen}");
        Ok(seen)
    }

    pub(super) fn description(&self) -> &Description {
        self.run.world.description()
    }

    /// Requests sent and failed so far.
    pub(super) fn counted(&self) -> (u64, u64) {
        self.run.visitors.as_ref().map_or((0, 0), |visitors| visitors.counted())
    }

    /// Requests that failed so far and fit, by the visitors' own ledger.
    pub(super) fn failed_of(&self, fits: impl Fn(&Value) -> bool) -> Result<usize> {
        let ledger = self.description().ledger_dir.join("requests.jsonl");
        let text = std::fs::read_to_string(ledger)?;
        let failed = text.lines().filter(|line| line.contains("\"ok\":false"));
        // A last line may be half written.
        Ok(failed.filter_map(|line| serde_json::from_str(line).ok()).filter(fits).count())
    }

    /// Nothing is open, the source has the writes, and visitors are served.
    fn serves_at_source(&mut self) -> Result<()> {
        let at_source =
            |status: &Value| status["open"].is_null() && status["write_side"]["at"] == "source";
        self.run.segue.wait_for("the source serves", PATIENCE, at_source)?;
        let sent = self.counted().0;
        self.until("visitors go on", || Ok(self.counted().0 >= sent + GOES_ON))
    }

    /// Waits for a condition with a deadline.
    pub(super) fn until(&self, what: &str, fits: impl Fn() -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        while !fits()? {
            ensure!(began.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Runs a command to its end.
    pub(super) fn say(&self, args: &[&str]) -> Said {
        // It ends by itself, or is ended: what hangs is seen, not waited for.
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.as_secs().to_string()).arg(self.run.segue.program());
        command.arg("--dir").arg(self.run.segue.dir()).args(args).stdin(Stdio::null());
        Said::by(&mut command)
    }

    /// Runs a command that must end with `exit` and say `words`.
    pub(super) fn says(&self, args: &[&str], exit: i32, words: &str) -> Result<String> {
        let said = self.say(args);
        let seen = format!("exit {}: {}", said.exit, last(&said.text));
        ensure!(said.exit == exit && said.text.contains(words), "{seen}\n{}", said.text);
        let line = said.text.lines().rev().find(|line| line.contains(words)).unwrap_or_default();
        Ok(format!("exit {exit}: {}", line.trim()))
    }

    /// Shows that an undisturbed cutover succeeds, and goes back: from here on none has to
    /// wait for its fronts or for answers with the former TTL.
    pub(super) fn ready(&self) {
        assert_eq!(self.say(&["cutover", &self.run.hash, "--prepare-only"]).exit, 0);
        let there = (0..4).any(|_| self.say(&["cutover", &self.run.hash]).exit == 0);
        assert!(there, "an undisturbed cutover succeeds");
        self.back().unwrap();
    }

    /// Asks for the cutover.
    pub(super) fn cutover(&self, exit: i32, words: &str) -> Result<String> {
        self.says(&["cutover", &self.run.hash], exit, words)
    }

    /// Compares both sides again.
    pub(super) fn compare(&self, exit: i32) -> Result<String> {
        self.says(&["sync", &self.run.hash], exit, "compared again")
    }

    /// Takes the unit back to the source.
    pub(super) fn back(&self) -> Result<()> {
        self.says(&["rollback", "--because", "the moment is over"], 0, "").map(drop)
    }

    /// Runs statements at a side as its administrator.
    pub(super) fn sql(&self, side: Side, statements: &[&str]) -> Result<()> {
        self.runtime.block_on(async {
            let mut conn = admin(self.description(), side).await;
            for statement in statements {
                conn.query_drop(*statement).await.with_context(|| (*statement).to_owned())?;
            }
            conn.disconnect().await?;
            Ok(())
        })
    }

    /// Reads one number at a side.
    pub(super) fn number(&self, side: Side, query: &str) -> Result<u64> {
        let found: Option<u64> = self.runtime.block_on(async {
            let mut conn = admin(self.description(), side).await;
            let found = conn.query_first(query).await?;
            conn.disconnect().await?;
            anyhow::Ok(found)
        })?;
        found.with_context(|| format!("no answer: {query}"))
    }

    /// Presents a certificate that lasts for `days`.
    pub(super) fn present(&mut self, days: u32) -> Result<()> {
        self.tls.as_mut().context("no TLS server")?.present(days)
    }

    /// Signals one of the world's processes.
    pub(super) fn signal(&self, name: &str, signal: rustix::process::Signal) -> Result<()> {
        let pids = Description::load(&self.run.world.path())?.pids;
        let pid = *pids.get(name).with_context(|| format!("no process `{name}`"))?;
        let pid = rustix::process::Pid::from_raw(pid).context("a process id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Starts a cutover whose controller falls asleep at a named point, and waits for that.
    pub(super) fn asleep_at(&self, point: &str) -> Result<Sleeping> {
        self.says(&["stop"], 0, "")?;
        let mut child = self
            .run
            .segue
            .command(&["cutover", &self.run.hash])
            .env("SEGUE_STOP_AT", point)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let ended = || Ok(child.try_wait()?.is_some());
        if let Some(controller) = wait_asleep(&self.run.segue, PATIENCE, ended)? {
            return Ok(Sleeping { child, controller });
        }
        let said = Said::of(&child.wait_with_output()?).text;
        // A controller with that order must not sleep in the next moment.
        self.says(&["stop"], 0, "")?;
        bail!("no cutover came to `{point}`: {}", last(&said))
    }

    /// The oracle: nothing acknowledged is lost, nothing foreign changed.
    fn judge(&mut self) -> Result<()> {
        if let Some(visitors) = self.run.visitors.take() {
            visitors.leave()?;
        }
        let zone = self.run.world.dump_zone()?;
        let after = self.description().ledger_dir.join("zone.after");
        std::fs::write(after, zone.join("\n") + "\n")?;
        let out = self.description().dir.join("oracle.json");
        let judged = Command::new(bin().join("segue-oracle"))
            .arg("--world")
            .arg(self.run.world.path())
            .arg("--out")
            .arg(&out)
            .args(["--write-side", "source"])
            .output()?;
        let verdict: Value =
            read(&out).with_context(|| String::from_utf8_lossy(&judged.stderr).into_owned())?;
        println!(
            "oracle: {} requests, {} acknowledged writes, lost {}, doubled {}, foreign {}",
            verdict["requests"],
            verdict["acknowledged_writes"],
            verdict["lost_writes"],
            verdict["doubled_writes"],
            verdict["foreign_bytes_changed"]
        );
        for key in ["lost_writes", "doubled_writes", "foreign_bytes_changed"] {
            ensure!(verdict[key] == 0, "{key}: {}", verdict[key]);
        }
        ensure!(verdict["acknowledged_writes"].as_u64() > Some(50), "{verdict}");
        Ok(())
    }
}

fn read(path: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn last(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()
}

/// A cutover whose controller sleeps.
pub(super) struct Sleeping {
    child: Child,
    pub(super) controller: Controller,
}

impl Sleeping {
    /// Returns the process that shows the cutover at the terminal.
    pub(super) fn view(&self) -> Option<rustix::process::Pid> {
        i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
    }

    /// Wakes the controller and returns what the cutover said at its end.
    pub(super) fn wake(self) -> Result<Said> {
        self.controller.wake()?;
        let mut child = self.child;
        let began = Instant::now();
        while child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                bail!("the cutover does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Said::of(&child.wait_with_output()?))
    }

    /// The same, with the exit code and words that must come.
    pub(super) fn ends(self, exit: i32, words: &str) -> Result<String> {
        let said = self.wake()?;
        let seen = format!("exit {}: {}", said.exit, last(&said.text));
        ensure!(said.exit == exit && said.text.contains(words), "{seen}\n{}", said.text);
        let line = said.text.lines().rev().find(|line| line.contains(words)).unwrap_or_default();
        Ok(format!("exit {exit}: {}", line.trim()))
    }
}
