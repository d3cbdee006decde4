//! Generic tests of effects: what every family's effects must withstand.
//!
//! A family's test builds a [`Subject`] over its private daemons and calls each function.
//! They return the first promise that is broken, in words.

use async_trait::async_trait;
use segue_model::event::{Attempt, Phase};
use segue_model::{Epoch, RunId, StepName, UnitName};
use segue_port::{Authority, Call, Effect, Facts, NoProgress, Observed, Outcome};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Effects in the order of a table, and the world they change.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Builds the effects anew, as a restarted controller would: nothing in memory is shared
    /// with those built before. Only steps that have an undo.
    fn effects(&self) -> Vec<(StepName, Arc<dyn Effect>)>;

    /// Returns everything that an undo must restore and a repeated run must not change
    /// further, in a form that can be compared and shown.
    async fn fingerprint(&self) -> Outcome<String>;

    /// The table's phase.
    fn phase(&self) -> Phase {
        Phase::Cutover
    }

    /// The time allowed for each call.
    fn time_allowed(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// Result of a generic test: the broken promise in words.
pub type Verdict = Result<(), String>;

/// Effects of one (pretended) controller with what the journal would hold.
struct Controller<'a> {
    subject: &'a dyn Subject,
    effects: Vec<(StepName, Arc<dyn Effect>)>,
    epoch: Epoch,
    prepared: Vec<Value>,
    facts: Facts,
}

impl<'a> Controller<'a> {
    fn new(subject: &'a dyn Subject) -> Self {
        let effects = subject.effects();
        Self { subject, effects, epoch: Epoch(1), prepared: Vec::new(), facts: Facts::new() }
    }

    /// Pretends a crash: new effects and a new epoch, the same journal.
    fn restart(&mut self) {
        self.effects = self.subject.effects();
        self.epoch.0 += 1;
    }

    fn call(&self, place: usize) -> Call {
        let authority = Authority {
            run: RunId::from("conformance"),
            unit: UnitName::from("unit"),
            step: self.effects[place].0.clone(),
            attempt: Attempt { phase: self.subject.phase(), number: 1 },
            epoch: self.epoch,
        };
        Call {
            progress: Arc::new(NoProgress),
            authority,
            prepared: self.prepared.get(place).cloned().unwrap_or(Value::Null),
            facts: Arc::new(self.facts.clone()),
            time_allowed: self.subject.time_allowed(),
        }
    }

    fn said<T>(&self, place: usize, verb: &str, outcome: Outcome<T>) -> Result<T, String> {
        outcome.map_err(|fault| format!("{verb} `{}`: {fault}", self.effects[place].0))
    }

    /// Prepares the step; what it read passes through the journal's form.
    async fn prepare(&mut self, place: usize) -> Verdict {
        let read = self.effects[place].1.prepare(&self.call(place)).await;
        let text = self.said(place, "prepare", read)?.to_string();
        let journalled = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        self.prepared.truncate(place);
        self.prepared.push(journalled);
        Ok(())
    }

    async fn run(&mut self, place: usize) -> Verdict {
        let output = self.effects[place].1.run(&self.call(place)).await;
        let output = self.said(place, "run", output)?;
        self.facts.insert(self.effects[place].0.clone(), output);
        Ok(())
    }

    async fn quench(&self, place: usize) -> Verdict {
        let outcome = self.effects[place].1.quench(&self.call(place)).await;
        self.said(place, "quench", outcome)
    }

    async fn undo(&self, place: usize) -> Verdict {
        self.quench(place).await?;
        let outcome = self.effects[place].1.undo(&self.call(place)).await;
        self.said(place, "undo", outcome)
    }

    async fn observe(&self, place: usize) -> Result<Observed, String> {
        let outcome = self.effects[place].1.observe(&self.call(place)).await;
        self.said(place, "observe", outcome)
    }
}

async fn fingerprint(subject: &dyn Subject) -> Result<String, String> {
    subject.fingerprint().await.map_err(|fault| format!("fingerprint: {fault}"))
}

async fn same(subject: &dyn Subject, before: &str, when: &str) -> Verdict {
    let now = fingerprint(subject).await?;
    if now == before {
        return Ok(());
    }
    Err(format!("{when} the world differs\nbefore: {before}\nnow:    {now}"))
}

/// Every step run again after a restart changes nothing more; then all are undone.
///
/// # Errors
/// Returns the broken promise.
pub async fn repeats_every_run(subject: &dyn Subject) -> Verdict {
    let before = fingerprint(subject).await?;
    let mut controller = Controller::new(subject);
    let steps = controller.effects.len();
    for place in 0..steps {
        controller.prepare(place).await?;
        controller.run(place).await?;
        let once = fingerprint(subject).await?;
        controller.restart();
        controller.quench(place).await?;
        controller.run(place).await?;
        let name = &controller.effects[place].0;
        same(subject, &once, &format!("after `{name}` ran twice")).await?;
    }
    for place in (0..steps).rev() {
        controller.undo(place).await?;
    }
    same(subject, &before, "after everything ran twice and was undone").await
}

/// The table breaks off at each step in turn, before and after its run; after a restart
/// everything that has an intent is undone and the world is as before.
///
/// # Errors
/// Returns the broken promise.
pub async fn undoes_from_each_step(subject: &dyn Subject) -> Verdict {
    let before = fingerprint(subject).await?;
    let steps = subject.effects().len();
    for last in 0..steps {
        for ran in [false, true] {
            let mut controller = Controller::new(subject);
            for place in 0..last {
                controller.prepare(place).await?;
                controller.run(place).await?;
            }
            controller.prepare(last).await?;
            if ran {
                controller.run(last).await?;
            }
            controller.restart();
            for place in (0..=last).rev() {
                controller.undo(place).await?;
            }
            let name = &controller.effects[last].0;
            let how = if ran { "after" } else { "before" };
            same(subject, &before, &format!("broken off {how} `{name}` and undone,")).await?;
        }
    }
    Ok(())
}

/// Every undo repeated after a restart changes nothing more.
///
/// # Errors
/// Returns the broken promise.
pub async fn undoes_twice(subject: &dyn Subject) -> Verdict {
    let before = fingerprint(subject).await?;
    let mut controller = Controller::new(subject);
    let steps = controller.effects.len();
    for place in 0..steps {
        controller.prepare(place).await?;
        controller.run(place).await?;
    }
    for place in (0..steps).rev() {
        controller.undo(place).await?;
        let once = fingerprint(subject).await?;
        controller.restart();
        controller.undo(place).await?;
        let name = &controller.effects[place].0;
        same(subject, &once, &format!("after `{name}` was undone twice")).await?;
    }
    same(subject, &before, "after everything was undone twice").await
}

/// `observe` changes nothing, does not deny what ran, and does not claim what was undone.
/// Unknown is an honest answer.
///
/// # Errors
/// Returns the broken promise.
pub async fn observes_what_is_in_force(subject: &dyn Subject) -> Verdict {
    let mut controller = Controller::new(subject);
    let steps = controller.effects.len();
    for place in 0..steps {
        controller.prepare(place).await?;
        controller.run(place).await?;
        controller.restart();
        controller.quench(place).await?;
        let before = fingerprint(subject).await?;
        let observed = controller.observe(place).await?;
        let name = &controller.effects[place].0;
        same(subject, &before, &format!("after `{name}` was observed")).await?;
        if observed == Observed::NotApplied {
            return Err(format!("`{name}` ran, but is observed as not applied"));
        }
    }
    for place in (0..steps).rev() {
        controller.undo(place).await?;
        let observed = controller.observe(place).await?;
        if let Observed::Applied(_) = observed {
            let name = &controller.effects[place].0;
            return Err(format!("`{name}` was undone, but is observed as applied"));
        }
    }
    Ok(())
}
