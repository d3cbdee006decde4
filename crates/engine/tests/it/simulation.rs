//! A seeded simulation of the pure core: random tables, faults, late effects, crashes,
//! wishes. Safety is checked after every event; then faults stop and the run must end.

use segue_engine::decide::{
    AfterFault, AfterObserved, Here, Next, PATIENCE_MS, after_fault, after_observed,
};
use segue_engine::{Pause, Retry, Wish, decide};
use segue_model::event::{Actor, Event, Phase, Record, UnitEntry, WriteSide};
use segue_model::state::{AttemptState, RunState, Stage, StepStatus};
use segue_model::table::{StepShape, TableShape};
use segue_model::{EffectLeft, Epoch, Fault, FaultKind, RunId, Side, StepName, UnitName};
use segue_port::Observed;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// True in `per_mille` of a thousand cases.
    fn chance(&mut self, per_mille: u64) -> bool {
        self.roll(1000) < per_mille
    }
}

/// Rates per mille; each seed switches some off, or rare combinations would drown.
#[derive(Debug, Clone, Copy)]
struct Rates {
    crash: u64,
    fault: u64,
    late: u64,
    unknown: u64,
    turn_back: u64,
    gate: u64,
    undo_fault: u64,
}

struct Sim {
    seed: u64,
    dice: Dice,
    rates: Rates,
    records: Vec<Record>,
    state: RunState,
    shape: TableShape,
    here: Here,
    wish: Wish,
    /// Steps in force.
    world: BTreeSet<usize>,
    /// Changes that were sent and have not landed: (step, in force).
    late: Vec<(usize, bool)>,
    runs: u32,
    trouble_ms: u64,
}

/// The controller died; what it sent may still land.
struct Crash;

fn shape(dice: &mut Dice) -> TableShape {
    let cutover = dice.chance(700);
    let step = |name: &str, no_return, pause, retry| StepShape {
        name: StepName::from(name),
        title: name.to_owned(),
        no_return,
        pause,
        retry,
    };
    let endless = Retry::Until { every: Duration::from_millis(1) };
    let steps = if cutover {
        vec![
            step("hold", false, Pause::Begins, Retry::Never),
            step("fence", false, Pause::None, Retry::Never),
            step("seal", false, Pause::Seal, Retry::Never),
            step("promote", true, Pause::None, Retry::Never),
            step("route", false, Pause::Ends, endless),
        ]
    } else {
        ["claim", "seed", "follow"].map(|n| step(n, false, Pause::None, Retry::Never)).into()
    };
    let phase = if cutover { Phase::Cutover } else { Phase::Sync };
    TableShape { phase, steps, budget: None }
}

/// Returns the unit that the event is about.
fn about(event: &Event) -> Option<UnitName> {
    let of_run = matches!(event, Event::RunStarted { .. } | Event::EpochTaken { .. });
    (!of_run).then(|| UnitName::from("unit"))
}

impl Sim {
    fn unit(&self) -> &segue_model::state::UnitState {
        self.state.unit(&UnitName::from("unit")).unwrap()
    }

    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut rate = |most: u64| if dice.chance(400) { 0 } else { dice.roll(most) };
        let rates = Rates {
            crash: rate(120),
            fault: rate(400),
            late: rate(700),
            unknown: rate(400),
            turn_back: rate(60),
            gate: rate(200),
            undo_fault: rate(500),
        };
        let shape = shape(&mut dice);
        let mut sim = Self {
            seed,
            dice,
            rates,
            records: Vec::new(),
            state: RunState::default(),
            shape,
            here: Here::Began,
            wish: Wish::Forward,
            world: BTreeSet::new(),
            late: Vec::new(),
            runs: 0,
            trouble_ms: 0,
        };
        sim.begin();
        sim
    }

    /// Writes what comes before the table; no crash happens there.
    fn begin(&mut self) {
        let by = Actor::Controller;
        let mut events = vec![
            Event::RunStarted {
                run: RunId::from("run"),
                name: String::new(),
                plan_hash: "hash".into(),
                units: vec![UnitEntry {
                    unit: UnitName::from("unit"),
                    plan_hash: "own".into(),
                    wave: 1,
                }],
                by: by.clone(),
            },
            Event::EpochTaken { epoch: Epoch(1), pid: 1 },
        ];
        let phases: &[Phase] = match self.shape.phase {
            Phase::Cutover => &[Phase::Sync, Phase::Prepare, Phase::Cutover],
            _ => &[Phase::Sync],
        };
        for (number, phase) in (1..).zip(phases) {
            let attempt = segue_model::event::Attempt { phase: *phase, number };
            events.push(Event::AttemptStarted { attempt, by: by.clone(), because: String::new() });
            let mut table = self.shape.clone();
            if *phase != self.shape.phase {
                table =
                    TableShape { phase: *phase, steps: table.steps[..1].to_vec(), budget: None };
                let step = table.steps[0].name.clone();
                let (prepared, output) = (Value::Null, Value::Null);
                events.push(Event::TableFixed { table });
                let epoch = Epoch(1);
                events.push(Event::StepIntended { step: step.clone(), prepared, epoch });
                events.push(Event::StepDone { step, output });
                events.push(Event::AttemptCompleted);
            } else {
                events.push(Event::TableFixed { table });
            }
        }
        for event in events {
            self.write(event);
        }
    }

    fn write(&mut self, event: Event) {
        let seq = self.state.last_seq + 1;
        let record = Record { seq, at_ms: seq, boot_ms: seq, unit: about(&event), event };
        let next = self.state.apply(&record);
        self.state = next.unwrap_or_else(|illegal| panic!("seed {}: {illegal}", self.seed));
        self.records.push(record);
        self.check();
    }

    /// Appends an event; the controller may die before or after it is durable.
    fn append(&mut self, event: Event) -> Result<(), Crash> {
        self.may_crash()?;
        self.write(event);
        self.may_crash()
    }

    fn may_crash(&mut self) -> Result<(), Crash> {
        if self.dice.chance(self.rates.crash) { Err(Crash) } else { Ok(()) }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.shape.position(&StepName::from(name))
    }

    /// Safety after every event and every change.
    fn check(&self) {
        let seed = self.seed;
        let on = |name| self.named(name).is_some_and(|place| self.world.contains(&place));
        assert!(!on("promote") || on("fence"), "seed {seed}: two writers");
        let Some(open) = &self.unit().open else { return };
        for place in &self.world {
            let status = open.status(&self.shape.steps[*place].name);
            assert!(
                !matches!(status, None | Some(StepStatus::Undone)),
                "seed {seed}: step {place} is in force, the journal says {status:?}"
            );
        }
    }

    /// Sends a change; it lands now, late, or (if it may fail) not at all.
    fn send(&mut self, place: usize, on: bool, fails: bool) {
        if self.dice.chance(self.rates.late) && fails {
            self.late.push((place, on));
        } else if !fails || self.dice.chance(500) {
            self.land(place, on);
        }
    }

    fn land(&mut self, place: usize, on: bool) {
        let kept = on || self.shape.no_return().is_none_or(|no_return| place < no_return);
        assert!(kept, "seed {}: writes taken since step {place} are lost", self.seed);
        match on {
            true => self.world.insert(place),
            false => self.world.remove(&place),
        };
        self.check();
    }

    /// Lets something that is late land.
    fn time_passes(&mut self) {
        if !self.late.is_empty() && self.dice.chance(500) {
            let at = self.dice.roll(self.late.len() as u64) as usize;
            let (place, on) = self.late.remove(at);
            self.land(place, on);
        }
    }

    fn quench(&mut self, place: usize) -> bool {
        if self.dice.chance(self.rates.unknown / 2) {
            return false;
        }
        self.late.retain(|(of, _)| *of != place);
        true
    }

    fn fault(&mut self) -> Fault {
        let kinds = [FaultKind::Busy, FaultKind::Denied, FaultKind::Timeout];
        let kind = kinds[self.dice.roll(3) as usize];
        let left = if self.dice.chance(500) { EffectLeft::None } else { EffectLeft::Maybe };
        Fault::new("SG0600", kind, "simulate", "a fault").leaving(left)
    }

    fn open(&self) -> AttemptState {
        self.unit().open.clone().unwrap()
    }

    /// One turn of a controller; true at the end of the attempt.
    fn turn(&mut self) -> Result<bool, Crash> {
        self.time_passes();
        if self.dice.chance(self.rates.turn_back) {
            let by = Actor::Person("admin".into());
            self.wish = Wish::TurnBack { by, because: "asked".into() };
        }
        let Some(open) = self.unit().open.clone() else { return Ok(true) };
        match decide(&self.shape, &open, self.here, &self.wish) {
            Next::Gate(_) if self.dice.chance(self.rates.gate) && !open.crossed() => {
                self.withdraw("a gate")?;
            }
            Next::Gate(place) => self.here = Here::GatesPassed(place),
            Next::Intend(place) => {
                let step = self.shape.steps[place].name.clone();
                let epoch = self.state.epoch;
                self.append(Event::StepIntended { step, prepared: Value::Null, epoch })?;
                (self.here, self.runs, self.trouble_ms) = (Here::Intended(place), 0, 0);
            }
            Next::Run(place) => self.run(place)?,
            Next::Recover(place) => self.recover(place)?,
            Next::Undo(place) => self.undo(place)?,
            Next::Complete => self.append(Event::AttemptCompleted)?,
            Next::Withdraw { by, because } => {
                self.append(Event::WithdrawalStarted { by, because })?
            }
            Next::Withdrawn => self.append(Event::AttemptWithdrawn)?,
            Next::Stuck(_) => self.append(Event::AttemptResumed { by: Actor::Controller })?,
        }
        Ok(self.unit().open.is_none())
    }

    fn withdraw(&mut self, because: &str) -> Result<(), Crash> {
        let by = Actor::Controller;
        self.append(Event::WithdrawalStarted { by, because: because.into() })
    }

    fn run(&mut self, place: usize) -> Result<(), Crash> {
        self.here = Here::Began;
        self.runs += 1;
        let step = self.shape.steps[place].name.clone();
        // A crash right after sending leaves the change to land late.
        if self.dice.chance(self.rates.crash) {
            self.late.push((place, true));
            return Err(Crash);
        }
        let lapsed = self.named("seal") == Some(place)
            && self.named("fence").is_some_and(|fence| !self.world.contains(&fence));
        if lapsed {
            let fault = Fault::new("SG0600", FaultKind::LeaseLost, "seal", "the fence lapsed");
            self.append(Event::StepFailed { step, fault })?;
            return self.withdraw("the fence lapsed");
        }
        if !self.dice.chance(self.rates.fault) {
            self.send(place, true, false);
            return self.append(Event::StepDone { step, output: Value::Null });
        }
        let fault = self.fault();
        if fault.effect != EffectLeft::None {
            self.send(place, true, true);
        }
        match after_fault(&self.shape, &self.open(), place, &fault, self.runs) {
            AfterFault::RunAgain => {
                self.append(Event::StepFailed { step, fault })?;
                self.here = Here::Began;
                self.run(place)
            }
            AfterFault::Recover => self.append(Event::StepFailed { step, fault }),
            AfterFault::Withdraw => {
                self.append(Event::StepFailed { step, fault })?;
                self.withdraw("a fault")
            }
        }
    }

    fn recover(&mut self, place: usize) -> Result<(), Crash> {
        self.trouble_ms += self.dice.roll(PATIENCE_MS / 4);
        let quenched = self.quench(place);
        let observed = if !quenched || self.dice.chance(self.rates.unknown) {
            Observed::Unknown("simulated".into())
        } else if self.world.contains(&place) {
            Observed::Applied(Value::Null)
        } else {
            Observed::NotApplied
        };
        let open = self.open();
        let (runs, trouble_ms) = (self.runs, self.trouble_ms);
        let step = self.shape.steps[place].name.clone();
        match after_observed(&self.shape, &open, place, &observed, quenched, runs, trouble_ms) {
            AfterObserved::Done(output) => self.append(Event::StepDone { step, output }),
            AfterObserved::RunAgain => self.run(place),
            AfterObserved::AskAgain => Ok(()),
            AfterObserved::UndoFirst => self.undo(place),
            AfterObserved::Withdraw => self.withdraw("trouble"),
            AfterObserved::Stuck => {
                assert!(open.crossed(), "seed {}: stuck before no return", self.seed);
                (self.runs, self.trouble_ms) = (0, 0);
                self.append(Event::AttemptStuck { because: "trouble".into(), way_out: vec![] })
            }
        }
    }

    fn undo(&mut self, place: usize) -> Result<(), Crash> {
        let step = self.shape.steps[place].name.clone();
        let open = self.open();
        let announced =
            matches!(open.status(&step), Some(StepStatus::Undoing | StepStatus::UndoFailed { .. }));
        if !announced {
            let epoch = self.state.epoch;
            self.append(Event::UndoIntended { step: step.clone(), epoch })?;
        }
        if !self.quench(place) || self.dice.chance(self.rates.undo_fault) {
            self.send(place, false, true);
            let fault = self.fault();
            return self.append(Event::UndoFailed { step, fault });
        }
        self.send(place, false, false);
        self.append(Event::UndoDone { step })
    }

    /// A new controller; hold and fence may have ended with their lease, unless sealed.
    fn restart(&mut self) {
        let sealed = self.named("seal").is_none_or(|seal| self.world.contains(&seal));
        if !sealed && self.dice.chance(500) {
            for leased in ["hold", "fence"].map(|name| self.named(name)).into_iter().flatten() {
                self.world.remove(&leased);
            }
        }
        let epoch = Epoch(self.state.epoch.0 + 1);
        self.write(Event::EpochTaken { epoch, pid: 1 });
        (self.here, self.runs, self.trouble_ms) = (Here::Resumed, 0, 0);
    }

    /// Turns until the end; after 300 turns nothing fails any more.
    fn go(mut self) -> (Stage, usize, u32) {
        let mut crashes = 0;
        for turn in 0..1000 {
            if turn == 300 {
                self.rates = Rates {
                    crash: 0,
                    fault: 0,
                    late: 0,
                    unknown: 0,
                    turn_back: 0,
                    gate: 0,
                    undo_fault: 0,
                };
            }
            match self.turn() {
                Ok(true) => return self.finish(crashes),
                Ok(false) => {}
                Err(Crash) => {
                    crashes += 1;
                    self.restart();
                }
            }
        }
        panic!("seed {}: no end; {:?}", self.seed, self.records.last());
    }

    fn finish(mut self, crashes: u32) -> (Stage, usize, u32) {
        let seed = self.seed;
        let late = std::mem::take(&mut self.late);
        let before = self.world.clone();
        for (place, on) in late {
            self.land(place, on);
        }
        assert_eq!(self.world, before, "seed {seed}: something landed after the end");
        let done = matches!(
            (self.shape.phase, self.unit().stage),
            (Phase::Cutover, Stage::Watching) | (Phase::Sync, Stage::Synced)
        );
        let expected = if done { self.shape.steps.len() } else { 0 };
        assert_eq!(self.world.len(), expected, "seed {seed}: half done");
        let side = if self.unit().stage == Stage::Watching { Side::Target } else { Side::Source };
        assert_eq!(self.unit().write_side, WriteSide::At(side), "seed {seed}");
        assert_eq!(RunState::fold(&self.records).unwrap(), self.state, "seed {seed}");
        (self.unit().stage, self.records.len(), crashes)
    }
}

#[test]
fn every_seed_is_safe_and_ends() {
    let seeds = 1..=20_000;
    let (mut moved, mut back, mut crashes) = (0, 0, 0);
    for seed in seeds {
        let (stage, _, died) = Sim::new(seed).go();
        crashes += died;
        match stage {
            Stage::Watching | Stage::Synced => moved += 1,
            _ => back += 1,
        }
    }
    // The simulation is worth something only if all of it happens.
    assert!(moved > 2000 && back > 2000 && crashes > 2000, "{moved} {back} {crashes}");
}
