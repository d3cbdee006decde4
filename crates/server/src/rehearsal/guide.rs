//! The order of a rehearsal in its room: there, back, there again, then the asked faults.

use super::fault;
use super::inside::{World, broken};
use super::spec::{RoomResult, Said};
use crate::api::{Command, Line, Pick};
use crate::client;
use segue_engine::Journal;
use segue_model::event::{Event, Record};
use segue_model::plan::{FrontPlan, Plan};
use segue_model::{Fault, Side};
use segue_port::Outcome;
use segue_standins::ledger::{self, Acknowledged, Kept};
use segue_standins::load::Load;
use segue_standins::named;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Steps in the room; the faults come besides.
pub(super) const STEPS: u64 = 8;
/// How long visitors use a side before the next step.
const IN_USE: Duration = Duration::from_secs(3);
/// How long a way back may take that a trigger began.
const BACK: Duration = Duration::from_secs(60);
/// So many rows are written before each way, where no visitor comes.
const DIRECT: u64 = 100;
/// Time between two looks at what the name leads to.
const LOOKED_UP: Duration = Duration::from_millis(300);

/// Takes words for whoever watches.
pub(super) type Tell<'a> = &'a mut (dyn FnMut(Said) + Send);

pub(super) fn step(tell: Tell<'_>, number: u64, what: &str) {
    let before = super::outside::OUTSIDE_STEPS;
    tell(Said::Step { what: what.to_owned(), number: before + number, of: before + STEPS });
}

/// Names of a plan's triggers, with what each starts and how its anomaly is planted.
pub fn list_faults(plan: &Plan) -> Vec<(String, String, String)> {
    let all = plan.policy.triggers.iter();
    all.map(|trigger| {
        let action = fault::word(trigger.action);
        (trigger.name.clone(), action.to_owned(), fault::planting(trigger, plan).to_string())
    })
    .collect()
}

/// A rehearsal under way.
pub(super) struct Guide<'a> {
    pub(super) world: &'a mut World,
    pub(super) tell: Tell<'a>,
    pub(super) load: Option<Arc<Load>>,
    /// Writes that came without a visitor, for a unit that has no site.
    direct: Vec<Acknowledged>,
    /// Follows the name for visitors who look it up.
    looking_up: Option<JoinHandle<()>>,
    pub(super) result: RoomResult,
}

/// Rehearses the unit of a room.
///
/// # Errors
/// If something of the rehearsal itself breaks.
pub(super) async fn rehearse(world: &mut World, tell: Tell<'_>) -> Outcome<RoomResult> {
    let result = RoomResult::default();
    let direct = Vec::new();
    let mut guide = Guide { world, tell, load: None, direct, looking_up: None, result };
    let through = guide.there_and_back().await?;
    if through {
        fault::all(&mut guide).await?;
        guide.result.passed = guide.last_look().await?;
    }
    guide.figures()?;
    guide.result.passed &= guide.result.problems.is_empty();
    if let Some(looking_up) = guide.looking_up.take() {
        looking_up.abort();
    }
    Ok(guide.result)
}

impl Guide<'_> {
    /// Returns whether all of it went through.
    async fn there_and_back(&mut self) -> Outcome<bool> {
        let taken_over = self.world.spec.plan.unit.fronts.iter();
        let early = taken_over.clone().any(|f| f.side == Side::Source && f.takes_over());
        if early {
            self.let_in();
        }
        self.step(2, "sync");
        let hash = self.world.hash.clone();
        let pick = Pick::default;
        if !self.done(Command::Sync { hash: hash.clone(), pick: pick() }, "sync").await? {
            return Ok(false);
        }
        self.step(3, "fronts and TTLs");
        let began = Instant::now();
        let prepare = Command::Cutover { hash: hash.clone(), prepare_only: true, pick: pick() };
        if !self.done(prepare, "the preparation").await? {
            return Ok(false);
        }
        if !early {
            self.let_in();
        }
        self.write_directly(Side::Source).await?;
        self.step(4, "cutover");
        if !self.cut_over("the cutover").await? {
            return Ok(false);
        }
        self.result.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tokio::time::sleep(IN_USE).await;
        self.step(5, "compare both sides, look for every write");
        if !self.compare().await? || !self.kept(Side::Target, "target").await? {
            return Ok(false);
        }
        self.write_directly(Side::Target).await?;
        self.step(6, "back to the source");
        if !self.go_back().await? || !self.kept(Side::Source, "source").await? {
            return Ok(false);
        }
        tokio::time::sleep(IN_USE).await;
        self.step(7, "cutover again");
        let there = self.cut_over("the second cutover").await?;
        for record in self.records()? {
            if let Event::TriggerFired { trigger, because } = record.event {
                self.problem(format!("trigger `{trigger}` fired by itself: {because}"));
            }
        }
        Ok(there)
    }

    fn step(&mut self, number: u64, what: &str) {
        step(self.tell, number, what);
    }

    /// Tells of something that is part of the step before the last.
    pub(super) fn say(&mut self, what: &str) {
        self.step(STEPS - 1, what);
    }

    async fn last_look(&mut self) -> Outcome<bool> {
        self.step(STEPS, "the last look");
        let clean = self.compare().await? && self.kept(Side::Target, "end").await?;
        let status = self.status().await?;
        if status["write_side"]["at"] != "target" || !status["open"].is_null() {
            self.problem(format!("the unit is not at the target at the end: {}", status["stage"]));
            return Ok(false);
        }
        Ok(clean)
    }

    /// Lets visitors in, who look the name up now and then.
    fn let_in(&mut self) {
        let Some(visitors) = self.world.spec.visitors.clone() else { return };
        let host = visitors.host.clone();
        let load = Arc::new(Load::start(visitors));
        self.load = Some(Arc::clone(&load));
        let unit = &self.world.spec.plan.unit;
        let servers: Vec<_> = unit.zones.iter().flat_map(|zone| zone.servers.clone()).collect();
        let fronts: Vec<_> =
            unit.fronts.iter().flat_map(FrontPlan::web).map(|port| port.listen).collect();
        self.looking_up = Some(tokio::spawn(async move {
            loop {
                for server in &servers {
                    tokio::time::sleep(LOOKED_UP).await;
                    let found = named::addresses_of(*server, &host).await;
                    let front = fronts.iter().find(|front| found.contains(&front.ip()));
                    if let Some(front) = front {
                        load.lead(*front);
                    }
                }
                tokio::time::sleep(LOOKED_UP).await;
            }
        }));
    }

    pub(super) async fn cut_over(&mut self, name: &str) -> Outcome<bool> {
        let hash = self.world.hash.clone();
        let cutover = Command::Cutover { hash, prepare_only: false, pick: Pick::default() };
        self.done(cutover, name).await
    }

    /// Fails the unit back, as a person would.
    pub(super) async fn go_back(&mut self) -> Outcome<bool> {
        let because = "the rehearsal goes back".to_owned();
        let back = Command::Rollback { because, pick: Pick::default() };
        if !self.done(back, "the way back").await? {
            return Ok(false);
        }
        // A trigger may have begun it already: then nobody waited for its end.
        let began = Instant::now();
        loop {
            let status = self.status().await?;
            if status["open"].is_null() && status["write_side"]["at"] == "source" {
                return Ok(true);
            }
            if began.elapsed() > BACK {
                self.problem(format!("the way back has no end: {}", status["open"]));
                return Ok(false);
            }
            tokio::time::sleep(LOOKED_UP).await;
        }
    }

    /// Compares both sides in full.
    pub(super) async fn compare(&mut self) -> Outcome<bool> {
        let hash = self.world.hash.clone();
        self.done(Command::Sync { hash, pick: Pick::default() }, "the comparison").await
    }

    /// Gives the room's controller a command; anything but exit code 0 is a problem.
    async fn done(&mut self, command: Command, name: &str) -> Outcome<bool> {
        let (exit, text) = self.command(command).await?;
        if exit != 0 {
            let line = text.lines().next().unwrap_or_default();
            self.problem(format!("{name} ended with {exit}: {line}"));
        }
        Ok(exit == 0)
    }

    /// Gives the room's controller a command and returns its exit code and sentence.
    pub(super) async fn command(&mut self, command: Command) -> Outcome<(u8, String)> {
        let mut answers = client::send(&World::dir(), "rehearsal", command).await?;
        while let Some(line) = answers.next().await? {
            match line {
                Line::End { exit, text, .. } => return Ok((exit, text)),
                Line::Record { record } => (self.tell)(Said::Record { record }),
                Line::Progress { .. } | Line::Status { .. } => {}
            }
        }
        Err(broken("ask the room's controller", "it closed the connection; see its log"))
    }

    /// Returns how the unit stands in the room.
    pub(super) async fn status(&self) -> Outcome<Value> {
        let mut answers = client::send(&World::dir(), "rehearsal", Command::Status).await?;
        while let Some(line) = answers.next().await? {
            if let Line::End { result, .. } = line {
                return Ok(result);
            }
        }
        Err(broken("ask the room's controller", "it closed the connection; see its log"))
    }

    pub(super) fn records(&self) -> Outcome<Vec<Record>> {
        Journal::read_all(&World::dir())
    }

    pub(super) fn problem(&mut self, text: String) {
        tracing::warn!(text, "the rehearsal has a problem");
        self.result.problems.push(text);
    }

    /// Looks for every acknowledged write at the side that is written to. Visitors wait outside
    /// meanwhile, so that none is on its way.
    pub(super) async fn kept(&mut self, side: Side, when: &str) -> Outcome<bool> {
        let kept = match self.load.clone() {
            Some(load) => {
                load.stay_away(true);
                load.idle().await;
                let kept = self.look_for(&load.acknowledged(), side).await;
                load.stay_away(false);
                kept?
            }
            None => self.look_for(&self.direct, side).await?,
        };
        if !kept.whole() {
            self.problem(format!(
                "at the {side} {} writes are lost, {} doubled, {} files lost, of {}",
                kept.lost, kept.doubled, kept.files_lost, kept.acknowledged
            ));
        }
        let whole = kept.whole();
        self.result.kept.push((when.to_owned(), kept));
        Ok(whole)
    }

    /// Writes some rows as a client without a front does; only where no visitor comes.
    async fn write_directly(&mut self, side: Side) -> Outcome<()> {
        let (Some((database, server, of)), None) = (self.world.spec.database(side), &self.load)
        else {
            return Ok(());
        };
        let password = segue_doors::secrets::read(&of.password)?;
        let mut session = server.session(&password).await?;
        let first = self.direct.len() as u64 + 1;
        for id in first..first + DIRECT {
            ledger::write(&mut session, &database.schema, side, id).await?;
            self.direct.push(Acknowledged { id, file: false });
        }
        session.close().await;
        Ok(())
    }

    async fn look_for(&self, acknowledged: &[Acknowledged], side: Side) -> Outcome<Kept> {
        let unit = &self.world.spec.plan.unit;
        let tree = unit.trees.first().map(|tree| tree.roots.get(side).as_path());
        let Some((database, server, of)) = self.world.spec.database(side) else {
            return ledger::check(acknowledged, None, tree).await;
        };
        let password = segue_doors::secrets::read(&of.password)?;
        let mut session = server.session(&password).await?;
        let kept = ledger::check(acknowledged, Some((&mut session, &database.schema)), tree).await;
        session.close().await;
        kept
    }

    /// Takes the figures out of the room's journal, which is that of any run.
    fn figures(&mut self) -> Outcome<()> {
        let records = self.records()?;
        if let Some(report) = segue_report::build(&records, Vec::new()) {
            self.result.pause_ms = report.summary.write_pause_ms;
            self.result.differences = report.comparisons.iter().map(|c| c.differences).sum();
            let attempts = report.attempts.iter();
            self.result.attempts = attempts
                .map(|attempt| {
                    json!({
                        "phase": attempt.phase,
                        "ended": attempt.ended,
                        "took_ms": attempt.took_ms,
                        "pause_ms": attempt.pause_ms,
                    })
                })
                .collect();
        }
        if let Some(load) = &self.load {
            let seen = load.seen();
            if seen.failed > 0 {
                let first = seen.examples.first().cloned().unwrap_or_default();
                self.problem(format!(
                    "{} of {} requests failed, the first: {first}",
                    seen.failed, seen.requests
                ));
            }
            if seen.requests == 0 {
                self.problem("no visitor came".to_owned());
            }
            self.result.seen = Some(seen);
        }
        Ok::<(), Fault>(())
    }
}
