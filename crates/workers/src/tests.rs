//! Workers are small shell scripts around a file that says whether they run.

use crate::{preflight, start_workers, stop_workers};
use segue_model::event::{Attempt, Phase};
use segue_model::plan::{WorkerCommands, WorkerPlan};
use segue_model::{Epoch, Sides, StepName};
use segue_port::{Authority, Call, Effect, Facts, NoProgress, Observed};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn flag(&self, name: &str, side: &str) -> std::path::PathBuf {
        self.0.path().join(format!("{name}.{side}"))
    }

    fn plan(&self, name: &str) -> WorkerPlan {
        let commands = |side: &str| {
            let flag = self.flag(name, side);
            let sh = |script: &str| ["sh".into(), "-c".into(), script.into()].to_vec();
            let log = self.0.path().join("log");
            let (flag, log) = (flag.display(), log.display());
            WorkerCommands {
                stop: sh(&format!("echo stop {name} {side} >> {log}; rm -f {flag}")),
                start: sh(&format!("echo start {name} {side} >> {log}; touch {flag}")),
                running: sh(&format!("test -e {flag}")),
            }
        };
        let sides = Sides { source: commands("source"), target: commands("target") };
        WorkerPlan { name: name.into(), sides }
    }

    fn run_at(&self, name: &str, side: &str) {
        std::fs::write(self.flag(name, side), "").unwrap();
    }

    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.path().join("log")).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// Returns a run that no other test program has, so that its marks are its own.
fn own_run() -> String {
    format!("test-{}", std::process::id())
}

fn call(phase: Phase, step: &str) -> Call {
    Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: own_run().as_str().into(),
            unit: "shop".into(),
            step: step.into(),
            attempt: Attempt { phase, number: 1 },
            epoch: Epoch(1),
        },
        prepared: Value::Null,
        facts: Arc::new(Facts::new()),
        time_allowed: Duration::from_secs(10),
    }
}

async fn prepared(effect: &Arc<dyn Effect>, phase: Phase) -> Call {
    let call = call(phase, "stop_workers");
    let prepared = effect.prepare(&call).await.unwrap();
    Call { prepared, ..call }
}

fn after(call: &Call, output: Value) -> Call {
    let facts = Facts::from([(StepName::from("stop_workers"), output)]);
    Call { facts: Arc::new(facts), ..call.clone() }
}

#[tokio::test]
async fn moves_only_the_workers_that_ran() {
    let world = World::new();
    world.run_at("cron", "source");
    let plans = vec![world.plan("cron"), world.plan("idle")];
    let stop = stop_workers(plans.clone());
    let start = start_workers(plans, "stop_workers".into());
    let call = prepared(&stop, Phase::Cutover).await;
    assert_eq!(stop.observe(&call).await.unwrap(), Observed::NotApplied);
    let output = stop.run(&call).await.unwrap();
    assert_eq!(output, json!({ "stopped": ["cron"] }));
    assert_eq!(stop.observe(&call).await.unwrap(), Observed::Applied(output.clone()));
    let call = after(&call, output);
    let started = start.run(&call).await.unwrap();
    assert_eq!(started, json!({ "started": ["cron"] }));
    assert_eq!(start.observe(&call).await.unwrap(), Observed::Applied(started));
    // Repeating changes nothing.
    stop.run(&call).await.unwrap();
    start.run(&call).await.unwrap();
    assert_eq!(world.log(), ["start cron target", "stop cron source"]);
}

#[tokio::test]
async fn undo_starts_exactly_those_again_and_twice_is_once() {
    let world = World::new();
    world.run_at("cron", "source");
    world.run_at("mailer", "source");
    let plans = vec![world.plan("cron"), world.plan("idle"), world.plan("mailer")];
    let (stop, start) = (stop_workers(plans.clone()), start_workers(plans, "stop_workers".into()));
    let call = prepared(&stop, Phase::Cutover).await;
    let output = stop.run(&call).await.unwrap();
    let call = after(&call, output);
    start.run(&call).await.unwrap();
    for _ in 0..2 {
        start.undo(&call).await.unwrap();
    }
    for _ in 0..2 {
        stop.undo(&call).await.unwrap();
    }
    assert!(world.flag("cron", "source").exists() && world.flag("mailer", "source").exists());
    assert!(!world.flag("idle", "source").exists() && !world.flag("cron", "target").exists());
    assert_eq!(world.log().iter().filter(|l| l.starts_with("start cron source")).count(), 1);
}

#[tokio::test]
async fn goes_the_other_way_in_a_failback() {
    let world = World::new();
    world.run_at("cron", "target");
    let plans = vec![world.plan("cron")];
    let (stop, start) = (stop_workers(plans.clone()), start_workers(plans, "stop_workers".into()));
    let call = prepared(&stop, Phase::Failback).await;
    let output = stop.run(&call).await.unwrap();
    start.run(&after(&call, output)).await.unwrap();
    assert_eq!(world.log(), ["start cron source", "stop cron target"]);
}

#[tokio::test]
async fn says_unknown_when_a_worker_does_not_answer() {
    let world = World::new();
    world.run_at("cron", "source");
    let mut plan = world.plan("cron");
    let call = prepared(&stop_workers(vec![plan.clone()]), Phase::Cutover).await;
    plan.sides.source.running = ["sh", "-c", "exit 7"].map(Into::into).to_vec();
    let stop = stop_workers(vec![plan.clone()]);
    assert!(matches!(stop.observe(&call).await.unwrap(), Observed::Unknown(_)));
    assert_eq!(stop.run(&call).await.unwrap_err().code, "SG0502");
    plan.sides.source =
        WorkerCommands { stop: ["true".into()].to_vec(), ..world.plan("cron").sides.source };
    let fault = stop_workers(vec![plan]).run(&call).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.cause.as_str()), ("SG0503", "it still runs"));
}

#[tokio::test]
async fn start_refuses_to_guess_what_was_stopped() {
    let world = World::new();
    let start = start_workers(vec![world.plan("cron")], "stop_workers".into());
    let call = call(Phase::Cutover, "start_workers");
    assert_eq!(start.run(&call).await.unwrap_err().code, "SG0504");
    start.undo(&call).await.unwrap();
    assert_eq!(world.log(), [""; 0]);
}

#[tokio::test]
async fn a_daemon_survives_the_quench_of_the_step_that_started_it() {
    let world = World::new();
    let pids = world.0.path().join("pids");
    let mut plan = world.plan("queue");
    let script = format!(
        "setsid sleep 60 & echo $! > {}; touch {}",
        pids.display(),
        world.flag("queue", "target").display()
    );
    plan.sides.target.start = ["sh".into(), "-c".into(), script].to_vec();
    let start = start_workers(vec![plan], "stop_workers".into());
    let call = after(&call(Phase::Cutover, "start_workers"), json!({ "stopped": ["queue"] }));
    start.run(&call).await.unwrap();
    start.quench(&call).await.unwrap();
    let pid = std::fs::read_to_string(&pids).unwrap().trim().to_owned();
    assert!(Path::new(&format!("/proc/{pid}/exe")).exists(), "the daemon runs on");
    let mark = format!("{}/shop/start_workers/", own_run());
    let ended = segue_doors::process::end_marked(&mark, |_| true, Duration::from_secs(5));
    assert_eq!(ended.await.unwrap(), 1);
}

#[tokio::test]
async fn preflight_names_what_cannot_work() {
    let world = World::new();
    assert_eq!(preflight(&[world.plan("cron")]).await, []);
    let mut plan = world.plan("cron");
    plan.sides.source.stop = ["/no/such/program".into()].to_vec();
    plan.sides.target.running = ["sh", "-c", "exit 3"].map(Into::into).to_vec();
    let codes =
        |found: Vec<segue_model::Finding>| found.into_iter().map(|f| f.code).collect::<Vec<_>>();
    assert_eq!(codes(preflight(&[plan]).await), ["SG0511", "SG0512"]);
    world.run_at("cron", "target");
    assert_eq!(codes(preflight(&[world.plan("cron")]).await), ["SG0513"]);
}
