//! The journal's disk is full, at every append.

use super::scene::{Case, Scene, each, tell};
use std::time::Instant;

/// The controller waits for space and goes on: a full disk is no reason to leave an attempt
/// open, and nothing is done that the journal does not know.
#[test]
fn a_full_disk_at_every_append_is_waited_for() {
    let began = Instant::now();
    for case in [Case::cutover(), Case::failback()] {
        let (points, _) = case.count();
        let appends = points.iter().filter(|point| point.starts_with("journal.before")).count();
        assert!(appends > 10);
        let all: Vec<usize> = (1..=appends).collect();
        each("full disk", &all, |append| {
            let scene = Scene::new(&case, *append as u64);
            let ended = scene.control(&[("SEGUE_FULL_AT", format!("{append}+3"))]);
            assert!(ended.success(), "{ended:?}");
            assert_eq!(scene.judge().stage, case.after());
        });
        tell("full disk at an append", all.len(), all.len(), 0, began);
    }
}

/// Killed while it waits for space.
#[test]
fn a_kill_while_the_disk_is_full_is_resumed() {
    let case = Case::cutover();
    let (points, _) = case.count();
    let asked = points.iter().position(|point| point == "journal.before step_done").unwrap();
    let append = points[..asked].iter().filter(|p| p.starts_with("journal.before")).count() + 1;
    let scene = Scene::new(&case, 11);
    // The next append after the refused one is the same again.
    let orders =
        [("SEGUE_FULL_AT", format!("{append}+2")), ("SEGUE_CRASH_AT", (asked + 2).to_string())];
    assert!(scene.control(&orders).killed());
    assert!(scene.control(&[]).success());
    scene.judge();
}
