//! A process that is killed while it changes a zone at two providers: what it left is completed
//! or taken back, and the TTLs from before are never forgotten.

use crate::named::ZONE;
use crate::primaries::{Lab, Make};
use crate::world::{ENOUGH, call, contents, shop, zone as zone_of};
use segue_dns::Zone;
use segue_model::event::Phase;
use segue_model::plan::ZonePlan;
use segue_port::{Effect, Observed};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is killed: some times, or with `SEGUE_DNS_WHOLE` as often as `make dns` wants.
fn kills() -> u64 {
    if std::env::var_os("SEGUE_DNS_WHOLE").is_none() { 24 } else { 100 }
}
/// Where the child finds its task.
const TASK: &str = "SEGUE_TEST_KILL";

#[derive(Serialize, Deserialize)]
struct Task {
    phase: Phase,
    zones: Vec<(ZonePlan, Value)>,
}

/// What is done to both providers.
fn effect(zone: &Arc<Zone>, phase: Phase) -> Arc<dyn Effect> {
    if phase == Phase::Prepare { zone.lower_ttls() } else { zone.publish() }
}

/// The child: one provider after the other, as fast as it can.
#[tokio::test]
#[ignore = "run by the test beside it"]
async fn child() {
    let Ok(file) = std::env::var(TASK) else { return };
    let task: Task = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    println!("begun");
    for (plan, prepared) in task.zones {
        let zone = zone_of(plan);
        effect(&zone, task.phase).run(&call(task.phase, prepared)).await.unwrap();
    }
}

/// Counts what the kills left.
#[derive(Debug, Default)]
struct Left {
    nothing: usize,
    half: usize,
    all: usize,
}

#[tokio::test]
async fn a_change_at_two_providers_is_completed_or_taken_back() {
    let labs = [Lab::start(Make::Bind, ZONE).await, Lab::start(Make::Knot, ZONE).await];
    let zones: Vec<Arc<Zone>> = labs.iter().map(|lab| lab.zone(shop())).collect();
    let mut before = Vec::new();
    for zone in &zones {
        before.push(contents(zone).await);
    }
    let (mut left, mut whole) = (Left::default(), None::<Duration>);
    let kills = kills();
    for number in 0..kills {
        let phase = if number % 2 == 0 { Phase::Prepare } else { Phase::Cutover };
        let mut calls = Vec::new();
        for zone in &zones {
            let prepared = effect(zone, phase).prepare(&call(phase, Value::Null)).await.unwrap();
            calls.push(call(phase, prepared));
        }
        let plans = labs.iter().map(|lab| lab.plan(shop()));
        let task = Task {
            phase,
            zones: plans.zip(calls.iter().map(|call| call.prepared.clone())).collect(),
        };
        let file = labs[0].dir.path().join("task");
        std::fs::write(&file, serde_json::to_vec(&task).unwrap()).unwrap();
        // The first is let through, to know how long it takes.
        match whole {
            None => whole = Some(child_ends(&file, None)),
            Some(whole) => drop(child_ends(&file, Some(whole * number as u32 / kills as u32))),
        }

        let mut applied = 0;
        for (zone, call) in zones.iter().zip(&calls) {
            effect(zone, phase).quench(call).await.unwrap();
            match effect(zone, phase).observe(call).await.unwrap() {
                Observed::Applied(_) => applied += 1,
                Observed::NotApplied => {}
                Observed::Unknown(why) => panic!("kill {number}: {why}"),
            }
        }
        match applied {
            0 => left.nothing += 1,
            1 => left.half += 1,
            _ => left.all += 1,
        }
        // Every other time it is completed first.
        if number % 4 < 2 {
            for (zone, call) in zones.iter().zip(&calls) {
                effect(zone, phase).run(call).await.unwrap();
            }
            assert_ne!(contents(&zones[0]).await, before[0], "kill {number}");
            assert_ne!(contents(&zones[1]).await, before[1], "kill {number}");
        }
        for (zone, call) in zones.iter().zip(&calls) {
            effect(zone, phase).undo(call).await.unwrap();
        }
        for (zone, before) in zones.iter().zip(&before) {
            assert_eq!(contents(zone).await, *before, "kill {number}: TTLs and data are back");
        }
    }
    println!("{kills} kills: {left:?}");
    assert!(left.half > 0, "no kill came between both providers: {left:?}");
}

/// Starts the child and waits for its end, or kills it so long after it began; returns how long
/// it went on after that.
fn child_ends(task: &std::path::Path, wait: Option<Duration>) -> Duration {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(TASK, task)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let (mut text, mut buffer) = (Vec::new(), [0; 256]);
    let began = Instant::now();
    while !String::from_utf8_lossy(&text).contains("begun") {
        let read = std::io::Read::read(&mut out, &mut buffer).unwrap();
        assert!(read > 0 && began.elapsed() < ENOUGH, "the child does not begin");
        text.extend_from_slice(&buffer[..read]);
    }
    let began = Instant::now();
    if let Some(wait) = wait {
        std::thread::sleep(wait);
        child.kill().unwrap();
    }
    child.wait().unwrap();
    began.elapsed()
}
