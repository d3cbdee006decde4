//! Several effects as one step: what the families do at the same row of a table.
//!
//! Parts act at the same time and are recorded together: the step's `prepared` and
//! `output` are objects with one entry a part. Each part sees the facts of earlier
//! steps as if it were alone, so that a family knows nothing of the others.

use async_trait::async_trait;
use futures_util::future::join_all;
use segue_model::{EffectLeft, Fault};
use segue_port::{Call, Effect, Facts, Observed, Outcome};
use serde_json::{Map, Value};
use std::sync::Arc;

/// One effect of a step under a name that stays the same through the whole table.
pub struct Part {
    /// For example `database` or `files:site`.
    pub name: String,
    /// What it does at this step.
    pub effect: Arc<dyn Effect>,
}

/// Effects that act at the same time under one intent.
pub struct Together {
    parts: Vec<Part>,
}

impl Together {
    /// Builds a step of `parts`; a step without parts changes nothing and is done at once.
    pub fn new(parts: Vec<Part>) -> Arc<Self> {
        Arc::new(Self { parts })
    }

    fn call_for(&self, part: &Part, call: &Call) -> Call {
        let facts: Facts = call
            .facts
            .iter()
            .filter_map(|(step, output)| {
                output.get(&part.name).map(|own| (step.clone(), own.clone()))
            })
            .collect();
        Call {
            prepared: call.prepared.get(&part.name).cloned().unwrap_or(Value::Null),
            facts: Arc::new(facts),
            ..call.clone()
        }
    }

    /// Runs `act` for every part at the same time and pairs results with part names.
    async fn each<'a, T, F, Fut>(&'a self, call: &Call, act: F) -> Vec<(String, Outcome<T>)>
    where
        F: Fn(Arc<dyn Effect>, Call) -> Fut + 'a,
        Fut: Future<Output = Outcome<T>> + 'a,
    {
        let all = self.parts.iter().map(|part| {
            let own = self.call_for(part, call);
            let work = act(Arc::clone(&part.effect), own);
            async move { (part.name.clone(), work.await) }
        });
        join_all(all).await
    }
}

/// Joins the results of all parts. A failure of one part while another took effect
/// leaves the step as a whole half done, which is said as `Maybe`.
fn gather(results: Vec<(String, Outcome<Value>)>) -> Outcome<Value> {
    let mut done = Map::new();
    let mut failed: Vec<Fault> = Vec::new();
    for (name, result) in results {
        match result {
            Ok(output) => {
                done.insert(name, output);
            }
            Err(fault) => failed.push(fault),
        }
    }
    let mut failed = failed.into_iter();
    let Some(mut first) = failed.next() else {
        return Ok(Value::Object(done));
    };
    for other in failed {
        first.cause = format!("{}; also {other}", first.cause);
        if other.effect != EffectLeft::None {
            first.effect = EffectLeft::Maybe;
        }
    }
    if !done.is_empty() {
        first.effect = EffectLeft::Maybe;
    }
    Err(first)
}

#[async_trait]
impl Effect for Together {
    fn what(&self) -> String {
        let lines: Vec<String> = self.parts.iter().map(|part| part.effect.what()).collect();
        lines.join("; ")
    }

    fn by_hand(&self) -> String {
        let lines: Vec<String> = self.parts.iter().map(|part| part.effect.by_hand()).collect();
        lines.join("\n")
    }

    async fn prepare(&self, call: &Call) -> Outcome<Value> {
        gather(self.each(call, |effect, own| async move { effect.prepare(&own).await }).await)
            .map_err(|fault| fault.leaving(EffectLeft::None))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        gather(self.each(call, |effect, own| async move { effect.run(&own).await }).await)
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let seen = self.each(call, |effect, own| async move { effect.observe(&own).await }).await;
        let count = seen.len();
        let mut applied = Map::new();
        let mut missing = Vec::new();
        for (name, result) in seen {
            match result? {
                Observed::Applied(output) => {
                    applied.insert(name, output);
                }
                Observed::NotApplied => missing.push(name),
                Observed::Unknown(why) => return Ok(Observed::Unknown(format!("{name}: {why}"))),
            }
        }
        // A step of which only some parts are in force is run again: every `run` is
        // safe to repeat, and running completes the missing parts.
        Ok(if missing.is_empty() || count == 0 {
            Observed::Applied(Value::Object(applied))
        } else {
            Observed::NotApplied
        })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        let results = self
            .each(call, |effect, own| async move { effect.undo(&own).await.map(|()| Value::Null) })
            .await;
        gather(results).map(|_| ())
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        let results =
            self.each(call, |effect, own| async move {
                effect.quench(&own).await.map(|()| Value::Null)
            })
            .await;
        gather(results).map(|_| ())
    }
}
