//! SIGKILL at every point, on the way there, on the way back, and while it resumes.

use super::scene::{Case, Scene, each, tell};
use segue_model::EffectLeft;
use segue_model::state::Stage;
use std::collections::BTreeSet;
use std::time::Instant;

/// What is passed at every step, whatever its effect; `asked` lies between a request and
/// its answer.
const AROUND: [&str; 7] = [
    "intent.before",
    "intent.durable",
    "effect.before",
    "asked run",
    "effect.after",
    "outcome.before",
    "outcome.durable",
];

/// Fails unless every step of the table passed every point: the total comes from the tables.
fn covers(case: &Case, points: &[String]) -> usize {
    let passed: BTreeSet<&str> = points.iter().map(String::as_str).collect();
    let wanted: Vec<String> =
        case.steps().iter().flat_map(|step| AROUND.map(|at| format!("{at} {step}"))).collect();
    let missing: Vec<&String> =
        wanted.iter().filter(|point| !passed.contains(point.as_str())).collect();
    assert!(missing.is_empty(), "{}: never passed: {missing:?}", case.name);
    wanted.len()
}

/// Returns the number of the first hit of a point, from 1.
fn place(points: &[String], point: &str) -> usize {
    points.iter().position(|passed| passed == point).expect(point) + 1
}

/// Kills at each of `kills`; from the intent of the promotion on the goal must be reached.
fn kill_at(kind: &str, case: &Case, points: &[String], kills: &[usize]) {
    let began = Instant::now();
    let promote = if case.from == Some("target") { "promote_back" } else { "promote" };
    // The record is on disk two points before whoever asked for it passes its own.
    let promoting = place(points, &format!("intent.durable {promote}")) - 2;
    assert_eq!(points[promoting - 1], "journal.committed step_intended");
    let begun = place(points, "journal.durable attempt_started");
    let preparing = case.from.is_none();
    each(kind, kills, |kill| {
        let (stage, struck) = Scene::new(case, *kill as u64 * 131).killed_at(&[*kill]);
        assert_eq!(struck, 1);
        // Who comes later finishes what was promoted and carries out nothing else: not even
        // an attempt that had only been opened.
        if *kill >= promoting {
            assert_eq!(stage, case.after(), "{}", points[kill - 1]);
        } else if *kill >= begun && !preparing {
            assert_eq!(stage, case.before(), "{}", points[kill - 1]);
        }
    });
    tell(kind, kills.len(), kills.len(), kills.len(), began);
}

#[test]
fn kill_at_every_point_before_the_cutover() {
    let case = Case::whole();
    let (points, _) = case.count();
    assert_eq!(covers(&case, &points), 8 * AROUND.len());
    let last = place(&points, "intent.before hold");
    kill_at("kill while preparing", &case, &points, &(1..last).collect::<Vec<_>>());
}

#[test]
fn kill_at_every_point_of_cutover_and_failback() {
    for (case, kind) in [(Case::cutover(), "kill, cutover"), (Case::failback(), "kill, failback")] {
        let (points, _) = case.count();
        covers(&case, &points);
        kill_at(kind, &case, &points, &(1..=points.len()).collect::<Vec<_>>());
    }
}

#[test]
fn kill_at_every_point_of_a_way_back() {
    let began = Instant::now();
    let cases = [
        Case::cutover().turned_back_after("fence"),
        Case::failback().turned_back_after("fence_back"),
    ];
    for case in cases {
        let (points, _) = case.count();
        let undone: BTreeSet<&str> =
            points.iter().filter_map(|point| point.strip_prefix("undo.after ")).collect();
        assert!(undone.len() >= 2, "hold and fence are undone, not only {undone:?}");
        let from = points.iter().position(|point| point.starts_with("undo.intent.before")).unwrap();
        let kills: Vec<usize> = (from..=points.len()).collect();
        each("kill on a way back", &kills, |kill| {
            let (stage, _) = Scene::new(&case, *kill as u64).killed_at(&[*kill]);
            assert_eq!(stage, case.before(), "{}", points[kill - 1]);
        });
        tell("kill on a way back", kills.len(), kills.len(), kills.len(), began);
    }
}

#[test]
fn kill_around_a_lost_answer() {
    let began = Instant::now();
    let mut case = Case::cutover();
    case.refuses = Some(("seal", EffectLeft::Maybe));
    let (points, _) = case.count();
    let kills: Vec<usize> = (place(&points, "intent.durable seal")..=points.len()).collect();
    each("kill around a lost answer", &kills, |kill| {
        assert_eq!(Scene::new(&case, *kill as u64).killed_at(&[*kill]).0, Stage::Prepared);
    });
    tell("kill around a lost answer", kills.len(), kills.len(), kills.len(), began);
}

/// Kills at `first`, and while it resumes at each point in turn until it ends before it.
/// Returns how many kills struck while resuming.
fn all_seconds(case: &Case, first: usize, step: usize) -> usize {
    let mut struck_twice = 0;
    for second in (1..).step_by(step) {
        assert!(second < 400, "a resumed controller goes on for ever");
        let (_, struck) =
            Scene::new(case, (first * 131 + second) as u64).killed_at(&[first, second]);
        if struck < 2 {
            return struck_twice;
        }
        struck_twice += 1;
    }
    struck_twice
}

fn pairs(kind: &str, case: &Case, every: usize) {
    let began = Instant::now();
    let (points, _) = case.count();
    let firsts: Vec<usize> = (1..=points.len()).step_by(every).collect();
    let struck = std::sync::atomic::AtomicUsize::new(0);
    each(kind, &firsts, |first| {
        let twice = all_seconds(case, *first, every);
        assert!(twice > 0, "no kill struck while it resumed after {}", points[first - 1]);
        struck.fetch_add(twice, std::sync::atomic::Ordering::SeqCst);
    });
    let pairs = struck.into_inner();
    tell(kind, pairs, pairs, 2 * pairs, began);
}

#[test]
fn kill_while_resuming_is_resumed_again() {
    pairs("pairs of kills, sampled", &Case::cutover(), 17);
    pairs("pairs of kills, sampled", &Case::failback(), 23);
}

#[test]
#[ignore = "some minutes: `make crash`"]
fn every_pair_of_kills_in_a_cutover() {
    pairs("pairs of kills, cutover", &Case::cutover(), 1);
}

#[test]
#[ignore = "some minutes: `make crash`"]
fn every_pair_of_kills_in_a_failback() {
    pairs("pairs of kills, failback", &Case::failback(), 1);
}
