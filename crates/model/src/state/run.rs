//! What the journal says of the run as a whole: its units, waves, people.

use super::{Illegal, Moment, UnitState};
use crate::event::{Actor, Event, Record};
use crate::ids::{Epoch, RunId, UnitName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

type Legal = Result<(), String>;

/// How a wave stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WaveState {
    /// When it began.
    pub started: Option<Moment>,
    /// When it began or a person last let it go on: units that went back later stop it.
    pub since: Option<Moment>,
    /// Why no further unit of it starts.
    pub stopped: Option<String>,
    /// When its last unit had moved.
    pub completed: Option<Moment>,
}

/// Who acknowledged something, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Moment,
    /// What they said of it.
    pub note: String,
    /// The numbers of the gate that stands before it, if that held at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// A rule that a person lets be broken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waived {
    /// The rule.
    pub rule: String,
    /// The unit it is waived for; none for all.
    pub unit: Option<UnitName>,
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Moment,
    /// Why.
    pub because: String,
}

/// Everything the journal says, folded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Number of the newest record; 0 before the first.
    pub last_seq: u64,
    /// The run, once started.
    pub run: Option<RunId>,
    /// The plan's name.
    pub name: String,
    /// Hash of its plan.
    pub plan_hash: Option<String>,
    /// Who started it.
    pub started_by: Option<Actor>,
    /// The lease's number; 0 before the first.
    pub epoch: Epoch,
    /// Its units by name. Shared, so that a look at one costs nothing.
    pub units: BTreeMap<UnitName, Arc<UnitState>>,
    /// The waves that began or stopped, by their place in the plan.
    pub waves: BTreeMap<u32, WaveState>,
    /// Who agreed to the plan, by role.
    pub approvals: BTreeMap<String, Acknowledged>,
    /// The items of the timeline that somebody acknowledged.
    pub acknowledged: BTreeMap<String, Acknowledged>,
    /// Rules that may be broken.
    pub waived: Vec<Waived>,
}

/// Says whether an event about a unit is kept by the run and not by the unit.
fn of_run(event: &Event) -> bool {
    matches!(event, Event::Waived { .. })
}

fn need(holds: bool, why: &str) -> Legal {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

impl RunState {
    /// Folds records, oldest first, into a state.
    ///
    /// # Errors
    /// Returns the first record that is not legal.
    pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Self, Illegal> {
        let mut state = Self::default();
        for record in records {
            state.take(record)?;
        }
        Ok(state)
    }

    /// Returns the state after `record`.
    ///
    /// # Errors
    /// Returns the rule that the record breaks.
    pub fn apply(&self, record: &Record) -> Result<Self, Illegal> {
        let mut next = self.clone();
        next.take(record)?;
        Ok(next)
    }

    /// Takes `record` into the state, or leaves the state as it is.
    ///
    /// # Errors
    /// Returns the rule that the record breaks.
    pub fn take(&mut self, record: &Record) -> Result<(), Illegal> {
        let illegal = |why| Illegal { seq: record.seq, event: record.event.name(), why };
        if record.seq != self.last_seq + 1 {
            return Err(illegal(format!("it does not follow record {}", self.last_seq)));
        }
        self.legal(record.unit.as_ref(), &record.event).map_err(illegal)?;
        self.last_seq = record.seq;
        let of_unit = record.unit.as_ref().filter(|_| !of_run(&record.event));
        match of_unit.and_then(|unit| self.units.get_mut(unit)) {
            Some(unit) => Arc::make_mut(unit).change(record),
            None => self.change(record),
        }
        Ok(())
    }

    /// Takes `record` by sharing what it made of `ahead`, which took it already.
    pub fn follow(&mut self, record: &Record, ahead: &Self) {
        self.last_seq = record.seq;
        let of_unit = record.unit.as_ref().filter(|_| !of_run(&record.event));
        match of_unit.and_then(|unit| self.units.get_mut(unit).zip(ahead.units.get(unit))) {
            Some((unit, newer)) => *unit = Arc::clone(newer),
            None => self.change(record),
        }
    }

    /// Returns the unit's state.
    pub fn unit(&self, unit: &UnitName) -> Option<&Arc<UnitState>> {
        self.units.get(unit)
    }

    /// Returns the unit's state in a run that has one unit only.
    pub fn only_unit(&self) -> Option<(&UnitName, &Arc<UnitState>)> {
        self.units.first_key_value().filter(|_| self.units.len() == 1)
    }

    /// Says whether a person waived `rule` for `unit`.
    pub fn is_waived(&self, rule: &str, unit: &UnitName) -> bool {
        let fits = |waived: &&Waived| {
            waived.rule == rule && waived.unit.as_ref().is_none_or(|of| of == unit)
        };
        self.waived.iter().any(|waived| fits(&waived))
    }

    /// Says whether `event` may be the next record about `unit`, or about the run.
    pub fn allows(&self, unit: Option<&UnitName>, event: &Event) -> bool {
        self.legal(unit, event).is_ok()
    }

    /// Returns the rule that `event` would break as the next record.
    pub(super) fn legal(&self, unit: Option<&UnitName>, event: &Event) -> Legal {
        use Event as E;
        match (event, unit) {
            (E::EpochTaken { epoch, .. }, None) => {
                need(epoch.0 == self.epoch.0 + 1, "an epoch is the former one plus one")
            }
            (E::Noted { .. }, None) => Ok(()),
            (E::RunStarted { .. }, None) => {
                need(self.run.is_none(), "a run was started in this journal before")
            }
            _ if self.run.is_none() => need(false, "no run was started"),
            (E::Waived { .. }, Some(unit)) => {
                need(self.units.contains_key(unit), "the run has no such unit")
            }
            (_, Some(unit)) => match self.units.get(unit) {
                Some(state) => state.legal(event, self.epoch),
                None => Err(format!("the run has no unit `{unit}`")),
            },
            (E::Approved { .. } | E::Acknowledged { .. } | E::Waived { .. }, None) => Ok(()),
            (E::WaveStarted { wave, .. }, None) => {
                need(self.wave(*wave).started.is_none(), "the wave has begun")
            }
            (E::WaveStopped { wave, .. }, None) => {
                let wave = self.wave(*wave);
                need(wave.started.is_some(), "the wave has not begun")?;
                need(wave.stopped.is_none(), "the wave is stopped")
            }
            (E::WaveResumed { wave, .. }, None) => {
                need(self.wave(*wave).stopped.is_some(), "the wave is not stopped")
            }
            (E::WaveCompleted { wave }, None) => {
                let wave = self.wave(*wave);
                need(wave.started.is_some(), "the wave has not begun")?;
                need(wave.completed.is_none(), "the wave is over")
            }
            (_, None) => need(false, "the record does not say which unit it is about"),
        }
    }

    fn wave(&self, wave: u32) -> WaveState {
        self.waves.get(&wave).cloned().unwrap_or_default()
    }

    fn change(&mut self, record: &Record) {
        let now = Moment::of(record);
        match &record.event {
            Event::RunStarted { run, name, plan_hash, units, by } => {
                self.run = Some(run.clone());
                self.name.clone_from(name);
                self.plan_hash = Some(plan_hash.clone());
                self.started_by = Some(by.clone());
                let unit = |hash: &String| {
                    Arc::new(UnitState { plan_hash: hash.clone(), ..UnitState::default() })
                };
                self.units = units.iter().map(|e| (e.unit.clone(), unit(&e.plan_hash))).collect();
            }
            Event::EpochTaken { epoch, .. } => self.epoch = *epoch,
            Event::Approved { by, role } => {
                let by = by.clone();
                let given = Acknowledged { by, at: now, note: String::new(), held: None };
                self.approvals.insert(role.clone(), given);
            }
            Event::Acknowledged { item, by, note, held } => {
                let (by, note, held) = (by.clone(), note.clone(), held.clone());
                let given = Acknowledged { by, at: now, note, held };
                self.acknowledged.insert(item.clone(), given);
            }
            Event::Waived { rule, by, because } => self.waived.push(Waived {
                rule: rule.clone(),
                unit: record.unit.clone(),
                by: by.clone(),
                at: now,
                because: because.clone(),
            }),
            Event::WaveStarted { wave, .. } => {
                let wave = self.waves.entry(*wave).or_default();
                (wave.started, wave.since) = (Some(now), Some(now));
            }
            Event::WaveStopped { wave, because } => {
                self.waves.entry(*wave).or_default().stopped = Some(because.clone());
            }
            Event::WaveResumed { wave, .. } => {
                let wave = self.waves.entry(*wave).or_default();
                (wave.stopped, wave.since) = (None, Some(now));
            }
            Event::WaveCompleted { wave } => {
                self.waves.entry(*wave).or_default().completed = Some(now);
            }
            // What is left carries no state.
            _ => {}
        }
    }
}
