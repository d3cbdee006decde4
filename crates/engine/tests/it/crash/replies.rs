//! Answers that are lost, late, doubled, wrong or never come, at every call to the world.

use super::control;
use super::scene::{Case, Scene, each, tell};
use crate::toy::ReplyFault;
use segue_model::state::Stage;
use std::time::Instant;

/// Cases that between them make every kind of call: run; quench and undo; quench and observe.
fn cases() -> Vec<(Case, &'static str)> {
    let mut resumed = Case::cutover();
    resumed.name = "resumed";
    vec![
        (Case::cutover(), ""),
        (Case::failback(), ""),
        (Case::cutover().turned_back_after("seal"), ""),
        (Case::failback().turned_back_after("fence_back"), ""),
        // Killed while promoting: the next one quenches, observes and goes on.
        (resumed, "asked/run promote"),
    ]
}

fn play(case: &Case, killed: &str, fault: Option<(usize, ReplyFault)>) -> (Scene, Stage) {
    let mut scene = Scene::new(case, fault.map_or(1, |(at, _)| at as u64));
    if let Some((at, fault)) = fault {
        scene = scene.with_fault(at, fault);
    }
    if !killed.is_empty() {
        let how = scene.control(&[("SEGUE_CRASH_AT", killed.to_owned())]);
        // With a fault before it, the point may never come.
        assert!(how.killed() || how.success(), "{how:?}");
    }
    assert!(scene.control(&[]).success());
    let stage = scene.judge().stage;
    (scene, stage)
}

#[test]
fn every_answer_can_go_wrong_in_every_way() {
    let began = Instant::now();
    let mut all = Vec::new();
    for (case, killed) in cases() {
        let (scene, _) = play(&case, killed, None);
        let calls = scene.world.now().calls;
        assert!(calls >= 5, "{}: {calls} calls", case.name);
        all.extend((1..=calls).flat_map(|at| {
            let case = case.clone();
            ReplyFault::ALL.map(move |fault| (case.clone(), killed, at, fault))
        }));
    }
    each("reply faults", &all, |(case, killed, at, fault)| {
        let (_, stage) = play(case, killed, Some((*at, *fault)));
        assert!([Stage::Prepared, Stage::Watching].contains(&stage));
    });
    tell("reply faults", all.len(), all.len(), 0, began);
}

/// The judgement can fail: where quench ends nothing, a late change is found.
#[test]
fn a_world_whose_quench_lies_is_found_out() {
    let case = Case::cutover();
    let scene = Scene::new(&case, 5).with_fault(2, ReplyFault::LandsLater);
    scene.world.now().quench_lies = true;
    scene.control(&[]);
    scene.rest();
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scene.judge()));
    assert!(judged.is_err(), "a fence that came late was not noticed");
}

/// A wish to turn back that meets a call without an answer.
#[test]
fn turning_back_while_an_answer_hangs_goes_back() {
    let case = Case::cutover();
    let (points, _) = case.count();
    let asked = points.iter().position(|point| point == "asked run fence").unwrap() + 1;
    let scene = Scene::new(&case, 9).with_fault(2, ReplyFault::Hang);
    let ended = scene.control(&[(control::TURN_BACK_AT, asked.to_string())]);
    assert!(ended.success());
    assert_eq!(scene.judge().stage, Stage::Prepared);
}
