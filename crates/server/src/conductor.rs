//! The conductor: takes commands and hands them to the units they are about.

mod all;
mod delta;
mod end;
mod orders;
mod people;
mod rehearse;
mod timeline;
mod waves;

use crate::active::Shared;
use crate::api::{Command, Line, Pick, Request};
use crate::rehearsal::Asked;
use crate::unit::{Answer, Unit, refuse};
use crate::{plans, rest, status, watch};
use segue_engine::Journal;
use segue_engine::board::SampleStore;
use segue_migration::fleet::Meeting;
use segue_model::event::Actor;
use segue_model::fleet::Fleet;
use segue_model::state::{RunState, Stage, UnitState};
use segue_model::{Epoch, Fault, FaultKind, RunId, UnitName};
use segue_port::Clock;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Mutex, Notify, broadcast};

/// Lines kept for a view that is slow to read.
const LINES_KEPT: usize = 4_096;

/// A run: its plan and its units.
pub(crate) struct Run {
    pub(crate) fleet: Fleet,
    pub(crate) units: BTreeMap<UnitName, Arc<Unit>>,
}

/// Drives the run of one directory. All of its methods may be called at any time.
pub(crate) struct Conductor {
    pub(crate) dir: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: Journal,
    epoch: Epoch,
    shared: Arc<Shared>,
    lines: broadcast::Sender<Line>,
    run: RwLock<Option<Arc<Run>>>,
    /// Held by whoever begins the run or starts units of a wave.
    turn: Mutex<()>,
    /// Held by a rehearsal.
    rehearsing: Mutex<()>,
    late: timeline::LateKept,
    stop: Notify,
}

impl Conductor {
    /// Builds a conductor that does nothing yet.
    ///
    /// # Errors
    /// If `samples.db` cannot be used.
    pub(crate) fn new(
        dir: &Path,
        clock: Arc<dyn Clock>,
        journal: Journal,
        epoch: Epoch,
        readings: Option<PathBuf>,
    ) -> Result<Arc<Self>, Fault> {
        let (lines, _) = broadcast::channel(LINES_KEPT);
        let samples = SampleStore::open(dir)?;
        let meeting = RwLock::new(Meeting::found(&journal));
        let conductor = Arc::new(Self {
            dir: dir.to_owned(),
            clock,
            journal,
            epoch,
            shared: Arc::new(Shared { dir: dir.to_owned(), samples, meeting, readings }),
            lines,
            run: RwLock::new(None),
            turn: Mutex::new(()),
            rehearsing: Mutex::new(()),
            late: timeline::LateKept::default(),
            stop: Notify::new(),
        });
        conductor.relay_records();
        Ok(conductor)
    }

    fn relay_records(self: &Arc<Self>) {
        let mut records = self.journal.subscribe();
        let lines = self.lines.clone();
        tokio::spawn(async move {
            loop {
                match records.recv().await {
                    Ok(record) => {
                        // Nobody watching is no failure.
                        let _ = lines.send(Line::Record { record: Box::new(record) });
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
    }

    /// Goes on with the run that the journal holds, if it holds one.
    ///
    /// # Errors
    /// If the plan cannot be read back or a resource refuses this controller's lease.
    pub(crate) async fn take_up(self: &Arc<Self>) -> Result<(), Fault> {
        watch::start(self);
        let known = self.journal.with(|state| state.run.clone().zip(state.plan_hash.clone()));
        let Some((run, hash)) = known else { return Ok(()) };
        let (_, fleet) = plans::load(&self.dir, &hash)?;
        let run = self.set_run(fleet, &run);
        let many = run.units.len() > rest::AWAKE;
        for unit in run.units.values() {
            unit.take_up(many).await?;
        }
        Ok(())
    }

    /// Makes the units of a plan known; touches nothing.
    fn set_run(&self, fleet: Fleet, run: &RunId) -> Arc<Run> {
        let unit = |plan: &Arc<segue_model::plan::Plan>| {
            let unit = Unit::new(
                Arc::clone(plan),
                self.journal.of(plan.unit.name.clone()),
                run.clone(),
                self.epoch,
                Arc::clone(&self.clock),
                Arc::clone(&self.shared),
                self.lines.clone(),
            );
            (plan.unit.name.clone(), unit)
        };
        let units = fleet.units.iter().map(unit).collect();
        let run = Arc::new(Run { fleet, units });
        *self.run.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&run));
        run
    }

    /// Returns the run, if one has begun.
    pub(crate) fn run(&self) -> Option<Arc<Run>> {
        self.run.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn need_run(&self) -> Result<Arc<Run>, Fault> {
        self.run().ok_or_else(|| {
            refuse("find the run", "no run has begun").hint("`segue sync HASH` begins one")
        })
    }

    /// Returns the units whose state fits.
    pub(crate) fn units_that(&self, fit: impl Fn(&UnitState) -> bool) -> Vec<Arc<Unit>> {
        let Some(run) = self.run() else { return Vec::new() };
        let fitting = |state: &RunState| -> Vec<Arc<Unit>> {
            let units = state.units.iter().filter(|(_, unit)| fit(unit));
            units.filter_map(|(name, _)| run.units.get(name).cloned()).collect()
        };
        self.journal.with(fitting)
    }

    /// Returns every unit with its state, in order of the names.
    pub(crate) fn units(&self) -> Vec<(Arc<Unit>, Arc<UnitState>)> {
        let Some(run) = self.run() else { return Vec::new() };
        // Both are maps over the same names.
        let pairs = |state: &RunState| {
            let known = run.units.iter().zip(&state.units);
            let same = known.filter(|((name, _), (of, _))| name == of);
            same.map(|((_, unit), (_, state))| (Arc::clone(unit), Arc::clone(state))).collect()
        };
        self.journal.with(pairs)
    }

    /// Returns the other units of a unit's wave that are watched.
    pub(crate) fn wave_mates(&self, unit: &UnitName) -> Vec<Arc<Unit>> {
        let Some(run) = self.run() else { return Vec::new() };
        let wave = run.fleet.wave_of(unit);
        let mut mates = self.units_that(|state| state.stage == Stage::Watching);
        mates.retain(|mate| mate.name() != unit && run.fleet.wave_of(mate.name()) == wave);
        mates
    }

    /// Returns the units that a command means: those it names, those of a wave, or all.
    fn pick(&self, pick: &Pick) -> Result<Vec<Arc<Unit>>, Fault> {
        let run = self.need_run()?;
        if !pick.units.is_empty() {
            let find = |name: &String| {
                run.units.get(&UnitName::from(name.as_str())).cloned().ok_or_else(|| {
                    let cause = format!("the run has no unit `{name}`");
                    refuse("find the unit", &cause).hint("`segue status` shows every unit")
                })
            };
            return pick.units.iter().map(find).collect();
        }
        let Some(wave) = pick.wave else { return Ok(run.units.values().cloned().collect()) };
        let place = wave.checked_sub(1).and_then(|place| run.fleet.waves.get(place as usize));
        let Some(of_wave) = place else {
            let cause = format!("the plan has {} waves", run.fleet.waves.len());
            return Err(refuse(&format!("find wave {wave}"), &cause));
        };
        Ok(of_wave.units.iter().filter_map(|name| run.units.get(name).cloned()).collect())
    }

    /// Returns the lines that every view sees.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Line> {
        self.lines.subscribe()
    }

    /// Returns the state for people and machines.
    pub(crate) async fn status(&self) -> Value {
        let state = self.journal.state();
        let run = self.run();
        let mut told = status::status(&state, run.as_deref(), self.clock.as_ref()).await;
        if let Some(run) = run {
            told["overdue"] = self.overdue(&run, &state).await.into();
        }
        told
    }

    /// Carries out one command and returns the line that ends it.
    pub(crate) async fn command(self: Arc<Self>, request: Request) -> Line {
        let by = Actor::Person(request.by);
        match &request.command {
            Command::ExportDelta { pick } => return self.export_delta(pick).await,
            Command::Timeline => return self.timeline().await,
            _ => {}
        }
        let answer = match request.command {
            Command::Sync { hash, pick } => self.sync(&hash, &pick, by).await,
            Command::Cutover { hash, prepare_only, pick } => {
                self.cutover(&hash, prepare_only, &pick, by).await
            }
            Command::Split { hash, back, pick } => self.split(&hash, back, &pick, by).await,
            Command::Drill { hash, pick } => self.drill(&hash, &pick, by).await,
            Command::Rehearse { hash, pick, faults, keep } => {
                let asked = Asked { faults, keep };
                self.rehearse(&hash, &pick, &asked, by).await
            }
            Command::Rollback { because, pick } => self.rollback(because, &pick, by).await,
            Command::Confirm { pick } => self.confirm(&pick, by).await,
            Command::Settle { hash, pick } => self.settle(&hash, &pick, by).await,
            Command::Resume { pick } => self.resume(&pick, by).await,
            Command::Say { saying } => self.say(saying, by).await,
            Command::Status => {
                self.measure().await;
                let status = self.status().await;
                return Line::End {
                    exit: status::exit_of_run(&self.journal.state()),
                    text: status::text(&status),
                    result: status,
                };
            }
            Command::Stop => Ok((0, self.ready_to_stop().await)),
            Command::Hello | Command::Watch | Command::Timeline | Command::ExportDelta { .. } => {
                Ok((0, String::new()))
            }
        };
        let result = self.status().await;
        match answer {
            Ok((exit, text)) => Line::End { exit, text, result },
            Err(fault) => failed(&fault, result),
        }
    }

    /// Puts the present totals of fronts and probes of every unit at work into the journal.
    pub(crate) async fn measure(&self) {
        let Some(run) = self.run() else { return };
        for unit in run.units.values() {
            unit.measure().await;
        }
    }

    fn same_plan(&self, hash: &str) -> Result<(), Fault> {
        let Some(own) = self.journal.with(|state| state.plan_hash.clone()) else {
            return Err(
                refuse("find the run", "no run has begun").hint("`segue sync HASH` begins one")
            );
        };
        if hash.len() >= 8 && own.starts_with(hash) {
            return Ok(());
        }
        Err(Fault::new(
            "SG0814",
            FaultKind::Conflict,
            "compare the plan's hash",
            format!("this run executes plan {own}, not {hash}"),
        )
        .hint("what was approved is what runs; another plan needs a run directory of its own"))
    }
}

/// Returns the line that ends a command with a fault.
fn failed(fault: &Fault, result: Value) -> Line {
    let hint =
        if fault.hint.is_empty() { String::new() } else { format!("\nhint: {}", fault.hint) };
    Line::End { exit: 1, text: format!("error {fault}{hint}"), result }
}

/// Joins what several units answered: the worst exit code, and a sentence for each that was
/// not done; of one unit its own words.
fn together(answers: Vec<(UnitName, Answer)>) -> Answer {
    if answers.len() == 1 {
        return answers.into_iter().next().map_or_else(|| Ok((0, String::new())), |(_, a)| a);
    }
    let all = answers.len();
    let mut worst = 0;
    let mut lines = Vec::new();
    for (name, answer) in answers {
        match answer {
            Ok((0, _)) => {}
            Ok((exit, text)) => {
                worst = worst.max(exit);
                lines.push(format!("{name}: {text}"));
            }
            Err(fault) => {
                worst = worst.max(1);
                lines.push(format!("{name}: error {fault}"));
            }
        }
    }
    let done = format!("{} of {all} units done", all - lines.len());
    lines.insert(0, done);
    Ok((worst, lines.join("\n")))
}
