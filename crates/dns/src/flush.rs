//! The operator's own resolvers are told to forget what was published.
//!
//! **Invariant.** A flush is a help, never a condition: one that fails is told and nothing more,
//! and a flush that is done twice does what one does.

use async_trait::async_trait;
use futures_util::future::join_all;
use segue_doors::process::{Invocation, end_marked};
use segue_model::plan::{ResolversPlan, ZonePlan};
use segue_port::{Call, Effect, Observed, Outcome};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest time of one command.
const ONE_MAX: Duration = Duration::from_secs(5);
/// Most runs of one command.
const RUNS_MAX: usize = 256;
/// How long a command of a former attempt may take to end.
const QUENCH: Duration = Duration::from_secs(5);

/// What became of one command of the plan.
#[derive(Debug, Clone, Serialize)]
pub struct Flushed {
    /// Its program, by its place in the plan: `1: unbound-control`.
    pub command: String,
    /// How often it was run: once for each name, or name and type, that it asks for.
    pub runs: usize,
    /// How often it failed.
    pub failed: usize,
    /// How many more runs there would have been; there was no time for them, or they are too many.
    pub left_out: usize,
    /// What the first failure said.
    pub why: Option<String>,
}

/// Returns the effect that flushes what was published at the operator's own resolvers (phases
/// cutover and failback, after `publish`); none if the plan has no command for it.
///
/// It never fails. Output: `flushed`, a list with one entry for each command.
pub fn flush_resolvers(resolvers: &[ResolversPlan], zones: &[ZonePlan]) -> Option<Arc<dyn Effect>> {
    let commands: Vec<Vec<String>> = resolvers.iter().flat_map(|plan| plan.flush.clone()).collect();
    let sets = changed(zones);
    (!commands.is_empty() && !sets.is_empty())
        .then(|| Arc::new(Flush { commands, sets }) as Arc<dyn Effect>)
}

/// Runs the commands now for record sets given as name and type, within `time`.
pub async fn flush_now(
    commands: &[Vec<String>],
    sets: &[(String, String)],
    time: Duration,
) -> Vec<Flushed> {
    run(commands, sets, None, Instant::now() + time).await
}

/// Returns name and type of every owned set whose data differs between the sides.
fn changed(zones: &[ZonePlan]) -> Vec<(String, String)> {
    let owned = zones.iter().flat_map(|zone| &zone.records);
    let differs = owned.filter(|set| set.data.source != set.data.target);
    let sets: BTreeSet<_> = differs.map(|set| (set.name.clone(), set.rtype.clone())).collect();
    sets.into_iter().collect()
}

struct Flush {
    commands: Vec<Vec<String>>,
    sets: Vec<(String, String)>,
}

/// Puts names and types in their places; what is the same twice is run once.
fn filled(words: &[String], sets: &[(String, String)]) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::new();
    let fill = |(name, rtype): &(String, String)| -> Vec<String> {
        words.iter().map(|word| word.replace("{name}", name).replace("{type}", rtype)).collect()
    };
    sets.iter().map(fill).filter(|filled| seen.insert(filled.clone())).collect()
}

async fn run(
    commands: &[Vec<String>],
    sets: &[(String, String)],
    mark: Option<String>,
    until: Instant,
) -> Vec<Flushed> {
    let each = (1..).zip(commands).map(|(place, words)| one(place, words, sets, &mark, until));
    join_all(each).await
}

/// Runs one command of the plan, name after name: it is the same resolver each time.
async fn one(
    place: usize,
    words: &[String],
    sets: &[(String, String)],
    mark: &Option<String>,
    until: Instant,
) -> Flushed {
    let program = words.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let command = format!("{place}: {}", program.to_string_lossy());
    let all = filled(words, sets);
    let mut told = Flushed { command, runs: 0, failed: 0, left_out: 0, why: None };
    for vector in all.iter().take(RUNS_MAX) {
        let left = until.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(100) {
            break;
        }
        told.runs += 1;
        let invocation = Invocation::from_vector(vector, left.min(ONE_MAX));
        let invocation = invocation.map(|invocation| match mark {
            Some(mark) => invocation.mark(mark),
            None => invocation,
        });
        let why = match invocation {
            Err(fault) => Some(fault.to_string()),
            Ok(invocation) => match invocation.run().await {
                Ok(done) if done.status.success() => None,
                Ok(done) => Some(done.last_words()),
                Err(fault) => Some(fault.to_string()),
            },
        };
        if let Some(why) = why {
            told.failed += 1;
            told.why.get_or_insert(why);
        }
    }
    told.left_out = all.len() - told.runs;
    if told.failed > 0 || told.left_out > 0 {
        tracing::warn!(
            command = told.command,
            failed = told.failed,
            left_out = told.left_out,
            why = told.why,
            "a resolver was not told to forget everything that was published"
        );
    }
    told
}

#[async_trait]
impl Effect for Flush {
    fn what(&self) -> String {
        let (commands, sets) = (self.commands.len(), self.sets.len());
        format!("make resolvers forget {sets} published record sets, by {commands} commands")
    }

    fn by_hand(&self) -> String {
        "nothing is to be taken back: a resolver that forgot asks again".into()
    }

    async fn prepare(&self, _: &Call) -> Outcome<Value> {
        Ok(Value::Null)
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        // Before the caller gives up: what was not flushed in time is told.
        let time = call.time_allowed.mul_f32(0.8);
        let mark = Some(call.authority.mark());
        let flushed = run(&self.commands, &self.sets, mark, Instant::now() + time).await;
        Ok(json!({ "flushed": flushed }))
    }

    /// What a resolver forgot cannot be seen, and to flush again costs nothing.
    async fn observe(&self, _: &Call) -> Outcome<Observed> {
        Ok(Observed::NotApplied)
    }

    async fn undo(&self, _: &Call) -> Outcome<()> {
        Ok(())
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        let who = &call.authority;
        let prefix = format!("{}/{}/{}/", who.run, who.unit, who.step);
        end_marked(&prefix, |marked| marked.command, QUENCH).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_command_is_run_once_for_each_thing_it_asks_for() {
        let set = |name: &str, rtype: &str| (name.to_owned(), rtype.to_owned());
        let sets = [set("a.test", "A"), set("a.test", "TXT"), set("b.test", "A")];
        let names = filled(&words(&["/flush", "{name}"]), &sets);
        assert_eq!(names, [words(&["/flush", "a.test"]), words(&["/flush", "b.test"])]);
        let both = filled(&words(&["/flush", "{type}:{name}"]), &sets);
        assert_eq!(both.len(), 3);
        assert_eq!(both[1], words(&["/flush", "TXT:a.test"]));
        assert_eq!(filled(&words(&["/flush"]), &sets).len(), 1);
    }
}
