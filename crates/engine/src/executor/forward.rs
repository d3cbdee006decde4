//! Gates, intent, run and what follows a fault.

use super::Course;
use super::waits::doubled;
use crate::crashpoint;
use crate::decide::{AfterFault, AfterObserved, Here, Wish, after_fault, after_observed};
use crate::gates::{Gate, GateContext};
use futures_util::future::join_all;
use segue_model::event::Event;
use segue_model::gate::{Answer, Verdict};
use segue_model::state::{AttemptState, StepStatus};
use segue_model::table::{Pause, Retry};
use segue_model::{EffectLeft, Fault};
use segue_port::{Call, Observed, Outcome};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const POLL_FIRST: Duration = Duration::from_millis(20);
/// No part of a second: a gate that looks whenever a sampler samples sees the same age for ever.
const POLL_MOST: Duration = Duration::from_millis(370);
const POLL_TOGETHER: Duration = Duration::from_millis(40);
const GATE_LIMIT: Duration = Duration::from_secs(5);
/// A step that is retried without end tells the journal so often.
const TELL_EVERY_MS: u64 = 10_000;

impl Course<'_> {
    /// Asks the gates of the step until all pass, or turns round.
    pub(super) async fn gate(&mut self, place: usize) -> Outcome<()> {
        let began_ms = self.now_ms();
        let wait_ms = self.table.gate_wait.as_millis() as u64;
        let mut polls = 0;
        loop {
            let Some(answers) = self.unless_turned(self.ask(place)).await? else { return Ok(()) };
            let answers = answers?;
            let open = self.open()?;
            for answer in &answers {
                self.tell_answer(place, &open, answer).await?;
            }
            let waits = answers
                .iter()
                .filter(|a| a.verdict != Verdict::Pass)
                .all(|answer| self.waits_in_pause(place, answer));
            let Some(worst) = answers.into_iter().find(|a| a.verdict != Verdict::Pass) else {
                self.here = Here::GatesPassed(place);
                return Ok(());
            };
            let step = &self.step(place).name;
            let says = format!("gate `{}` of step `{step}`: {}", worst.gate, worst.because);
            let overdue = self.now_ms().saturating_sub(began_ms) >= wait_ms;
            if open.crossed() {
                if overdue {
                    return self.stuck(place, says, "").await;
                }
            } else if worst.verdict == Verdict::Fail || self.in_pause(&open) && !waits {
                return self.withdraw_because(says).await;
            } else if overdue && !self.in_pause(&open) {
                return self.withdraw_because(format!("waited {wait_ms} ms: {says}")).await;
            }
            polls += 1;
            // What waits for others shall begin with them.
            let most = if self.in_pause(&open) || waits { POLL_TOGETHER } else { POLL_MOST };
            let pause = doubled(POLL_FIRST, polls).min(most);
            if self.unless_turned(self.executor.clock.sleep(pause)).await?.is_none() {
                return Ok(());
            }
        }
    }

    /// Says whether an answer is worth waiting for while visitors wait.
    fn waits_in_pause(&self, place: usize, answer: &Answer) -> bool {
        let gates = &self.step(place).gates;
        answer.verdict == Verdict::Wait
            && gates.iter().any(|gate| gate.waits_in_pause() && gate.name() == answer.gate)
    }

    /// Returns the answers of the step's gates, the worst first, and of the budget.
    async fn ask(&self, place: usize) -> Outcome<Vec<Answer>> {
        let open = self.open()?;
        let mut answers: Vec<Answer> = self.budget_answer(&open, place).into_iter().collect();
        let gates = &self.step(place).gates;
        if !gates.is_empty() {
            let context = GateContext {
                board: self.executor.board.clone(),
                clock: self.clock(),
                facts: Arc::new(open.facts()),
                state: self.executor.journal.state(),
            };
            let asked = gates.iter().map(|gate| self.ask_one(gate, &context));
            answers.extend(join_all(asked).await);
        }
        answers.sort_by_key(|answer| answer.verdict != Verdict::Fail);
        Ok(answers)
    }

    async fn ask_one(&self, gate: &Arc<dyn Gate>, context: &GateContext) -> Answer {
        tokio::select! {
            biased;
            answer = gate.ask(context) => answer,
            () = self.executor.clock.sleep(GATE_LIMIT) => Answer {
                gate: gate.name(),
                verdict: Verdict::Unknown,
                because: format!("no answer within {} ms", GATE_LIMIT.as_millis()),
            },
        }
    }

    /// Inside the pause every step asks the budget; a `Pass` is worth a record at the seal.
    fn budget_answer(&self, open: &AttemptState, place: usize) -> Option<Answer> {
        let pause = self.pause_use(open, place)?;
        let verdict = if pause.fits() { Verdict::Pass } else { Verdict::Fail };
        Some(Answer { gate: "pause budget".into(), verdict, because: pause.numbers() })
    }

    /// Journals an answer whose verdict changed.
    async fn tell_answer(&self, place: usize, open: &AttemptState, answer: &Answer) -> Outcome<()> {
        let step = &self.step(place).name;
        let known = open.gates.get(step).and_then(|gates| gates.get(&answer.gate));
        let unchanged = known.is_some_and(|known| known.verdict == answer.verdict);
        let plain = answer.verdict == Verdict::Pass
            && answer.gate == "pause budget"
            && self.step(place).pause != Pause::Seal;
        if unchanged || plain {
            return Ok(());
        }
        let event = Event::GateAnswered { step: step.clone(), answer: answer.clone() };
        self.append(event).await.map(drop)
    }

    /// Reads the inverse and writes the intent.
    pub(super) async fn intend(&mut self, place: usize) -> Outcome<()> {
        let mut tries = 0;
        let began_ms = self.now_ms();
        let prepared = loop {
            let limit = self.clear_up_limit(place).min(self.run_limit(place)?);
            let call = self.call(place, Value::Null, limit)?;
            let effect = Arc::clone(&self.step(place).effect);
            let work = self.limited("prepare", place, limit, effect.prepare(&call));
            let Some(result) = self.unless_turned(work).await? else { return Ok(()) };
            // Preparing changes nothing, however it ended.
            let fault = match result {
                Ok(prepared) => break prepared,
                Err(fault) => fault.leaving(EffectLeft::None),
            };
            tries += 1;
            let open = self.open()?;
            match after_fault(&self.shape, &open, place, &fault, tries) {
                AfterFault::Withdraw => return self.withdraw_because(fault.to_string()).await,
                AfterFault::Recover if self.out_of_patience(tries, began_ms) => {
                    return self.stuck(place, fault.to_string(), &fault.hint).await;
                }
                AfterFault::Recover | AfterFault::RunAgain => {
                    if tries == 1 {
                        self.append(Event::Noted { text: fault.to_string() }).await?;
                    }
                    tracing::warn!(%fault, tries, "step not prepared");
                    self.back_off(place, tries).await?;
                }
            }
        };
        let step = self.step(place).name.clone();
        let epoch = self.executor.epoch;
        crashpoint::hit("intent.before", step.as_str());
        self.append(Event::StepIntended { step: step.clone(), prepared, epoch }).await?;
        crashpoint::hit("intent.durable", step.as_str());
        self.here = Here::Intended(place);
        Ok(())
    }

    fn out_of_patience(&self, tries: u32, began_ms: u64) -> bool {
        tries >= crate::decide::MOST_RUNS
            && self.now_ms().saturating_sub(began_ms) >= crate::decide::PATIENCE_MS
    }

    /// Runs the step whose intent this process just wrote.
    pub(super) async fn run(&mut self, place: usize) -> Outcome<()> {
        let began_ms = self.now_ms();
        let mut runs = 0;
        loop {
            runs += 1;
            let Some(result) = self.run_once(place).await? else { return Ok(()) };
            let fault = match result {
                Ok(output) => return self.done(place, output).await,
                Err(fault) => fault,
            };
            let open = self.open()?;
            match after_fault(&self.shape, &open, place, &fault, runs) {
                AfterFault::RunAgain => {
                    self.tell_fault(place, &open, &fault).await?;
                    self.back_off(place, runs).await?;
                    if self.turned()? {
                        return Ok(());
                    }
                }
                AfterFault::Recover => {
                    return self.recover(place, runs, Some((fault, began_ms))).await;
                }
                AfterFault::Withdraw => {
                    let because = fault.to_string();
                    self.failed(place, fault).await?;
                    return self.withdraw_because(because).await;
                }
            }
        }
    }

    /// Runs the step; `None` if a wish to turn back broke it off.
    async fn run_once(&mut self, place: usize) -> Outcome<Option<Outcome<Value>>> {
        // Whatever follows, something may have been sent from here on.
        self.here = Here::Began;
        let limit = self.run_limit(place)?;
        let call = self.call(place, self.prepared(place)?, limit)?;
        let effect = Arc::clone(&self.step(place).effect);
        crashpoint::hit("effect.before", self.step(place).name.as_str());
        let work = self.limited("run", place, limit, effect.run(&call));
        let result = self.unless_turned(work).await?;
        crashpoint::hit("effect.after", self.step(place).name.as_str());
        Ok(result)
    }

    /// Quenches, observes, and goes by what the world says, until the step is done or the
    /// table decides otherwise. `trouble` is the fault it began with, and when.
    pub(super) async fn recover(
        &mut self,
        place: usize,
        mut runs: u32,
        trouble: Option<(Fault, u64)>,
    ) -> Outcome<()> {
        let began_ms = trouble.as_ref().map_or(self.now_ms(), |(_, began_ms)| *began_ms);
        let mut fault = trouble.map(|(fault, _)| fault);
        let mut asked = 0;
        loop {
            if self.turned()? {
                return Ok(());
            }
            let open = self.open()?;
            if let Some(fault) = &fault {
                self.tell_fault(place, &open, fault).await?;
            }
            let (observed, quenched) = self.look(place).await?;
            let trouble_ms = self.now_ms().saturating_sub(began_ms);
            let open = self.open()?;
            match after_observed(&self.shape, &open, place, &observed, quenched, runs, trouble_ms) {
                AfterObserved::Done(output) => return self.done(place, output).await,
                AfterObserved::RunAgain => {
                    if runs > 0 {
                        self.back_off(place, runs).await?;
                    }
                    if self.turned()? {
                        return Ok(());
                    }
                    runs += 1;
                    let Some(result) = self.run_once(place).await? else { return Ok(()) };
                    match result {
                        Ok(output) => return self.done(place, output).await,
                        Err(again) => fault = Some(again),
                    }
                }
                AfterObserved::AskAgain => {
                    asked += 1;
                    self.back_off(place, asked).await?;
                }
                AfterObserved::UndoFirst => return self.undo(place).await,
                AfterObserved::Withdraw => {
                    let because = self.trouble(place, fault.as_ref(), &observed);
                    return self.withdraw_because(because).await;
                }
                AfterObserved::Stuck => {
                    let because = self.trouble(place, fault.as_ref(), &observed);
                    let hint = fault.map(|fault| fault.hint).unwrap_or_default();
                    return self.stuck(place, because, &hint).await;
                }
            }
        }
    }

    /// Quenches, then observes; a fault of either counts as Unknown.
    async fn look(&self, place: usize) -> Outcome<(Observed, bool)> {
        let limit = self.clear_up_limit(place);
        let call: Call = self.call(place, self.prepared(place)?, limit)?;
        let effect = &self.step(place).effect;
        if let Err(fault) = self.limited("quench", place, limit, effect.quench(&call)).await {
            return Ok((Observed::Unknown(fault.to_string()), false));
        }
        let observed = self.limited("observe", place, limit, effect.observe(&call)).await;
        let observed = observed.unwrap_or_else(|fault| Observed::Unknown(fault.to_string()));
        Ok((observed, true))
    }

    fn trouble(&self, place: usize, fault: Option<&Fault>, observed: &Observed) -> String {
        let step = &self.step(place).name;
        let seen = match observed {
            Observed::Applied(_) => "it is in force".to_owned(),
            Observed::NotApplied => "it is not in force".to_owned(),
            Observed::Unknown(why) => format!("whether it is in force cannot be told: {why}"),
        };
        match fault {
            Some(fault) => format!("step `{step}`: {fault}; {seen}"),
            None => format!("step `{step}`: {seen}"),
        }
    }

    async fn done(&mut self, place: usize, output: Value) -> Outcome<()> {
        let step = self.step(place).name.clone();
        crashpoint::hit("outcome.before", step.as_str());
        self.append(Event::StepDone { step: step.clone(), output }).await?;
        crashpoint::hit("outcome.durable", step.as_str());
        Ok(())
    }

    async fn failed(&mut self, place: usize, fault: Fault) -> Outcome<()> {
        let step = self.step(place).name.clone();
        crashpoint::hit("outcome.before", step.as_str());
        self.append(Event::StepFailed { step: step.clone(), fault }).await?;
        crashpoint::hit("outcome.durable", step.as_str());
        Ok(())
    }

    /// Journals a fault of a step that goes on being tried: the first, then now and then.
    async fn tell_fault(
        &mut self,
        place: usize,
        open: &AttemptState,
        fault: &Fault,
    ) -> Outcome<()> {
        let told = open
            .steps
            .get(&self.step(place).name)
            .filter(|state| matches!(state.status, StepStatus::Failed { .. }));
        let since_ms = told.map(|state| self.now_ms().saturating_sub(state.latest.boot_ms));
        if since_ms.is_some_and(|since_ms| since_ms < TELL_EVERY_MS) {
            return Ok(());
        }
        let endless = matches!(self.step(place).retry, Retry::Until { .. });
        tracing::warn!(%fault, endless, "step is tried again");
        self.failed(place, fault.clone()).await
    }

    /// Says whether a wish to turn or step back can still be followed.
    fn turned(&self) -> Outcome<bool> {
        let wish = self.wish.borrow().clone();
        let open = self.open()?;
        let wished = matches!(wish, Wish::TurnBack { .. })
            || crate::decide::steps_back(&self.shape, &open, &wish).is_some();
        Ok(wished && !open.crossed())
    }
}
