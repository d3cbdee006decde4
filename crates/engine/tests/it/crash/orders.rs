//! Somebody turns back, or takes over, at every point.

use super::control;
use super::scene::{Case, How, Scene, each, tell};
use segue_engine::Journal;
use std::time::Instant;

fn both() -> [Case; 2] {
    [Case::cutover(), Case::failback()]
}

/// The promotion's intent decides: before it the attempt turns round, from it on it ends at
/// its goal.
#[test]
fn turning_back_at_every_point_ends_on_one_side() {
    let began = Instant::now();
    for case in both() {
        let (points, _) = case.count();
        let promoting =
            points.iter().position(|point| point.starts_with("intent.before promote")).unwrap() + 1;
        let crossed =
            points.iter().position(|point| point.starts_with("intent.durable promote")).unwrap();
        let began_at =
            points.iter().position(|point| point == "journal.before attempt_started").unwrap();
        let hits: Vec<usize> = (1..=points.len()).collect();
        each("turn back", &hits, |hit| {
            let scene = Scene::new(&case, *hit as u64);
            let ended = scene.control(&[(control::TURN_BACK_AT, hit.to_string())]);
            assert!(ended.success(), "{ended:?}");
            let stage = scene.judge().stage;
            let point = &points[hit - 1];
            // While the promotion's intent is being written either is right.
            if *hit > crossed {
                assert_eq!(stage, case.after(), "{point}");
            } else if (began_at + 1..promoting).contains(hit) {
                assert_eq!(stage, case.before(), "{point}");
            }
        });
        tell("turn back at a point", hits.len(), hits.len(), 0, began);
    }
}

/// Kills at every point of the way back that begins at a point of the way there.
fn turned_and_killed(case: &Case, every: usize) -> usize {
    let (points, _) = case.count();
    let promoting =
        points.iter().position(|point| point.starts_with("intent.before promote")).unwrap();
    // A wish lives in memory: killed before the attempt began, nobody remembers it.
    let began_at =
        points.iter().position(|point| point == "journal.durable attempt_started").unwrap() + 1;
    let turns: Vec<usize> = (began_at..=promoting).step_by(every).collect();
    let struck = std::sync::atomic::AtomicUsize::new(0);
    each("turn back, then kill", &turns, |turn| {
        for kill in (turn + 1..).step_by(every) {
            assert!(kill < 400, "a way back goes on for ever");
            let scene = Scene::new(case, (turn * 131 + kill) as u64);
            let orders =
                [(control::TURN_BACK_AT, turn.to_string()), ("SEGUE_CRASH_AT", kill.to_string())];
            if !scene.control(&orders).killed() {
                break;
            }
            assert!(scene.control(&[]).success(), "resumed after {kill}");
            assert_eq!(scene.judge().stage, case.before(), "killed at {kill}");
            struck.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    struck.into_inner()
}

#[test]
fn kill_after_turning_back_anywhere() {
    let began = Instant::now();
    let struck: usize = both().iter().map(|case| turned_and_killed(case, 13)).sum();
    assert!(struck > 20);
    tell("turn back, then kill, sampled", struck, struck, struck, began);
}

#[test]
#[ignore = "some minutes: `make crash`"]
fn kill_everywhere_after_turning_back_anywhere() {
    let began = Instant::now();
    let struck: usize = both().iter().map(|case| turned_and_killed(case, 3)).sum();
    tell("turn back, then kill", struck, struck, struck, began);
}

/// The first controller sleeps at a point, a second one finishes, the first one wakes up.
fn takeover(how: &'static str, every: usize) {
    let began = Instant::now();
    for case in both() {
        let (points, _) = case.count();
        // Inside a transaction the first one holds the journal itself, and the second one
        // waits; only a takeover that ends it comes by.
        let passes =
            |hit: &usize| how == "take over" || !points[hit - 1].starts_with("journal.written");
        let hits: Vec<usize> = (1..=points.len()).filter(passes).step_by(every).collect();
        each(how, &hits, |hit| {
            let scene = Scene::new(&case, *hit as u64);
            let mut first = scene.start(&[("SEGUE_STOP_AT", hit.to_string())]);
            assert_eq!(first.wait(), How::Stopped);
            let second = scene.control(&[(control::LEASE, how.to_owned())]);
            assert!(second.success(), "the second: {second:?}");
            scene.judge();
            let written = Journal::read_all(scene.dir()).unwrap().len();
            let changes = scene.world.now().changes;
            if how == "take over" {
                assert!(first.wait().killed(), "taking over ends the former controller");
            } else {
                first.wake();
                assert_ne!(first.wait(), How::Stopped);
            }
            scene.judge();
            assert_eq!(scene.world.now().changes, changes, "the first one acted");
            let now = Journal::read_all(scene.dir()).unwrap().len();
            assert_eq!(now, written, "the first one wrote");
        });
        tell(&format!("takeover ({how}) at a point"), hits.len(), hits.len(), 0, began);
    }
}

#[test]
fn a_sleeping_controller_is_ended_by_a_takeover() {
    takeover("take over", 5);
}

#[test]
fn a_controller_that_wakes_up_without_its_lease_does_nothing() {
    takeover("stolen", 2);
}

#[test]
#[ignore = "some minutes: `make crash`"]
fn takeover_at_every_point() {
    takeover("take over", 1);
    takeover("stolen", 1);
}
