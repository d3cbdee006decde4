//! A worker's three commands, run and judged.

use segue_doors::process::Invocation;
use segue_model::plan::{WorkerCommands, WorkerPlan};
use segue_model::{EffectLeft, Fault, FaultKind, Side};
use segue_port::{Authority, Outcome};
use std::time::Duration;

/// Time for the question whether a worker runs.
const ASK: Duration = Duration::from_secs(10);
/// How often it is asked after a stop or start before that counts as without effect.
const ASKS: u32 = 20;
/// Time between two of these questions.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// One worker at one side, acted on under an authority.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) name: String,
    side: Side,
    commands: WorkerCommands,
    mark: Option<String>,
}

/// The state a command shall bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Running,
    Stopped,
}

impl Worker {
    pub(crate) fn new(plan: &WorkerPlan, side: Side, authority: Option<&Authority>) -> Self {
        Self {
            name: plan.name.clone(),
            side,
            commands: plan.sides.get(side).clone(),
            mark: authority.map(Authority::mark),
        }
    }

    fn op(&self, verb: &str) -> String {
        format!("{verb} worker `{}` at the {}", self.name, self.side)
    }

    fn invocation(&self, vector: &[String], limit: Duration) -> Outcome<Invocation> {
        let invocation = Invocation::from_vector(vector, limit)?;
        Ok(match &self.mark {
            Some(mark) => invocation.mark(mark),
            None => invocation,
        })
    }

    /// Asks whether it runs.
    ///
    /// # Errors
    /// `SG0502` if the command answers neither 0 nor 1.
    pub(crate) async fn runs(&self) -> Outcome<bool> {
        let done = self.invocation(&self.commands.running, ASK)?.run().await;
        let cause = match done {
            Ok(done) => match done.code() {
                Some(0) => return Ok(true),
                Some(1) => return Ok(false),
                _ => done.last_words(),
            },
            Err(fault) => fault.to_string(),
        };
        Err(Fault::new("SG0502", FaultKind::Invalid, self.op("ask for"), cause)
            .hint("its `running` command must exit 0 if it runs and 1 if not"))
    }

    /// Brings the worker into a state, unless it is in it already, and makes sure of it.
    ///
    /// # Errors
    /// `SG0501` if the command failed, `SG0503` if it had no effect, as [`Self::runs`].
    pub(crate) async fn bring(&self, wanted: Wanted, limit: Duration) -> Outcome<()> {
        let want = wanted == Wanted::Running;
        if self.runs().await? == want {
            return Ok(());
        }
        let (vector, verb) = match wanted {
            Wanted::Running => (&self.commands.start, "start"),
            Wanted::Stopped => (&self.commands.stop, "stop"),
        };
        let failed = |kind, cause: String| {
            Fault::new("SG0501", kind, self.op(verb), cause)
                .leaving(EffectLeft::Maybe)
                .hint(format!("run its `{verb}` command by hand and see what it says"))
        };
        match self.invocation(vector, limit)?.run().await {
            Ok(done) if done.status.success() => {}
            Ok(done) => return Err(failed(FaultKind::Invalid, done.last_words())),
            Err(fault) => return Err(failed(fault.kind, fault.cause)),
        }
        for ask in 0..ASKS {
            if ask > 0 {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            if self.runs().await? == want {
                return Ok(());
            }
        }
        let still = if want { "it does not run" } else { "it still runs" };
        Err(Fault::new("SG0503", FaultKind::Invalid, self.op(verb), still)
            .leaving(EffectLeft::Maybe)
            .hint(format!("its `{verb}` command must return only when that is so")))
    }
}
