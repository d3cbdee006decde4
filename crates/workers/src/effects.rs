//! Stopping at the side that is left, starting at the side that is entered.

use crate::commands::{Wanted, Worker};
use async_trait::async_trait;
use segue_doors::process::end_marked;
use segue_model::plan::WorkerPlan;
use segue_model::{EffectLeft, Fault, FaultKind, Side, StepName};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a killed command may take to go.
const QUENCH: Duration = Duration::from_secs(5);

/// Returns the effect that stops the workers at `Way::from`, recording in `prepare` which of
/// them run. Its output is `{"stopped": [names]}`; its undo starts exactly those again.
pub fn stop_workers(plans: Vec<WorkerPlan>) -> Arc<dyn Effect> {
    Arc::new(StopWorkers { plans })
}

/// Returns the effect that starts at `Way::to` what the step `stop_step` stopped. Its output
/// is `{"started": [names]}`; its undo stops them again.
pub fn start_workers(plans: Vec<WorkerPlan>, stop_step: StepName) -> Arc<dyn Effect> {
    Arc::new(StartWorkers { plans, stop_step })
}

struct StopWorkers {
    plans: Vec<WorkerPlan>,
}

struct StartWorkers {
    plans: Vec<WorkerPlan>,
    stop_step: StepName,
}

/// Picks the named workers at a side.
fn named(plans: &[WorkerPlan], names: &[String], side: Side, call: &Call) -> Vec<Worker> {
    let chosen = plans.iter().filter(|p| names.contains(&p.name));
    chosen.map(|p| Worker::new(p, side, Some(&call.authority))).collect()
}

/// Brings all into one state at the same time; the first fault counts, all are awaited.
async fn bring_all(workers: Vec<Worker>, wanted: Wanted, limit: Duration) -> Outcome<()> {
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn(async move { worker.bring(wanted, limit).await });
    }
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.unwrap_or_else(|e| {
            Err(Fault::new("SG0599", FaultKind::Bug, "run a worker's command", e)
                .leaving(EffectLeft::Maybe))
        });
        result = result.and(ended);
    }
    result
}

/// Returns whether each runs, by name.
async fn running(workers: Vec<Worker>) -> Outcome<BTreeMap<String, bool>> {
    let mut answers = BTreeMap::new();
    for worker in workers {
        let runs = worker.runs().await?;
        answers.insert(worker.name, runs);
    }
    Ok(answers)
}

fn names(value: &Value, key: &str) -> Option<Vec<String>> {
    let list = value.get(key)?.as_array()?;
    list.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Ends commands of a former attempt at this step; daemons that one has started stay.
async fn quench(call: &Call) -> Outcome<()> {
    let who = &call.authority;
    let prefix = format!("{}/{}/{}/", who.run, who.unit, who.step);
    end_marked(&prefix, |marked| marked.command, QUENCH).await.map(|_| ())
}

fn commands(plans: &[WorkerPlan], pick: fn(&WorkerPlan, Side) -> String) -> String {
    let lines = plans.iter().flat_map(|p| {
        [Side::Source, Side::Target].map(|s| format!("{} at the {s}: {}", p.name, pick(p, s)))
    });
    lines.collect::<Vec<_>>().join("; ")
}

#[async_trait]
impl Effect for StopWorkers {
    fn what(&self) -> String {
        let names: Vec<&str> = self.plans.iter().map(|p| p.name.as_str()).collect();
        format!("stop the workers that run: {}", names.join(", "))
    }

    fn by_hand(&self) -> String {
        let text = commands(&self.plans, |p, side| p.sides.get(side).start.join(" "));
        format!("start those that ran before; {text}")
    }

    async fn prepare(&self, call: &Call) -> Outcome<Value> {
        let side = call.authority.way().from();
        let workers = self.plans.iter().map(|p| Worker::new(p, side, Some(&call.authority)));
        let answers = running(workers.collect()).await?;
        let running: Vec<String> =
            answers.into_iter().filter(|(_, r)| *r).map(|(n, _)| n).collect();
        Ok(json!({ "running": running }))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let ran = recorded(call)?;
        let workers = named(&self.plans, &ran, call.authority.way().from(), call);
        bring_all(workers, Wanted::Stopped, call.time_allowed).await?;
        Ok(json!({ "stopped": ran }))
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let ran = recorded(call)?;
        let workers = named(&self.plans, &ran, call.authority.way().from(), call);
        Ok(match running(workers).await {
            Ok(answers) if answers.values().any(|&runs| runs) => Observed::NotApplied,
            Ok(_) => Observed::Applied(json!({ "stopped": ran })),
            Err(fault) => Observed::Unknown(fault.to_string()),
        })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        let workers = named(&self.plans, &recorded(call)?, call.authority.way().from(), call);
        bring_all(workers, Wanted::Running, call.time_allowed).await
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        quench(call).await
    }
}

/// Returns the workers that `prepare` found running.
fn recorded(call: &Call) -> Outcome<Vec<String>> {
    names(&call.prepared, "running").ok_or_else(|| {
        Fault::new(
            "SG0504",
            FaultKind::Bug,
            "stop workers",
            "it was not recorded which of them were running",
        )
        .hint("start and stop the workers by hand as the plan says")
    })
}

impl StartWorkers {
    /// Returns the workers that the stop step stopped.
    fn stopped(&self, call: &Call) -> Outcome<Vec<String>> {
        let fact = call.facts.get(&self.stop_step);
        fact.and_then(|value| names(value, "stopped")).ok_or_else(|| {
            let cause = format!("step `{}` left no list of stopped workers", self.stop_step);
            Fault::new("SG0504", FaultKind::Bug, "start workers", cause)
                .hint("start the workers by hand as the plan says")
        })
    }
}

#[async_trait]
impl Effect for StartWorkers {
    fn what(&self) -> String {
        let names: Vec<&str> = self.plans.iter().map(|p| p.name.as_str()).collect();
        format!("start the workers that were stopped, of: {}", names.join(", "))
    }

    fn by_hand(&self) -> String {
        format!("stop them; {}", commands(&self.plans, |p, side| p.sides.get(side).stop.join(" ")))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let stopped = self.stopped(call)?;
        let workers = named(&self.plans, &stopped, call.authority.way().to(), call);
        bring_all(workers, Wanted::Running, call.time_allowed).await?;
        Ok(json!({ "started": stopped }))
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let stopped = self.stopped(call)?;
        let workers = named(&self.plans, &stopped, call.authority.way().to(), call);
        Ok(match running(workers).await {
            Ok(answers) if answers.values().all(|&runs| runs) => {
                Observed::Applied(json!({ "started": stopped }))
            }
            Ok(_) => Observed::NotApplied,
            Err(fault) => Observed::Unknown(fault.to_string()),
        })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        // Nothing was started if nothing was stopped, so a missing list is no fault here.
        let stopped = self.stopped(call).unwrap_or_default();
        let workers = named(&self.plans, &stopped, call.authority.way().to(), call);
        bring_all(workers, Wanted::Stopped, call.time_allowed).await
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        quench(call).await
    }
}
