//! Claims about terminals: losing one changes nothing, and any other may turn a run round.
//!
//! They need the program `segue` beside the other binaries (`cargo build` makes it).

use crate::run::Run;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn a_lost_terminal_changes_nothing_and_another_one_rolls_back() {
    let run = Run::synced();
    run.segue.must(&["sync", &run.hash], 0).unwrap();
    let mut view = run.segue.in_background(&["cutover", &run.hash]).unwrap();
    run.segue.wait_for_intent("hold", PATIENCE).unwrap();
    let pid = Pid::from_raw(i32::try_from(view.id()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    assert!(!view.wait().unwrap().success(), "the view ended by its terminal");
    let there =
        |status: &serde_json::Value| status["stage"] == "watching" && status["open"].is_null();
    run.segue.wait_for("the cutover ends without its view", PATIENCE, there).unwrap();
    for kind in ["database", "files"] {
        assert_eq!(run.compared(kind), 3, "{kind}: by either sync, and after the cutover");
    }
    run.segue.must(&["rollback", "--because", "a test"], 0).unwrap();
    let status = run.segue.status().unwrap();
    assert_eq!(status["write_side"]["at"], "source");
    assert_eq!(status["stage"], "prepared");
}

#[test]
fn a_second_terminal_turns_a_waiting_cutover_round() {
    let run = Run::synced();
    // TTLs of 20 s: the gate `safe-after` makes the cutover wait.
    let mut first = run.segue.in_background(&["cutover", &run.hash]).unwrap();
    run.segue.wait_for_intent("lower_ttls", PATIENCE).unwrap();
    let open = |status: &serde_json::Value| status["open"]["phase"] == "cutover";
    run.segue.wait_for("the cutover waits at its gates", PATIENCE, open).unwrap();
    run.segue.must(&["rollback"], 0).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(5), "the first terminal is told: went back");
    assert_eq!(run.segue.status().unwrap()["stage"], "prepared");
}

#[test]
fn refuses_another_plan_than_the_one_that_runs_and_settling_what_nobody_confirmed() {
    let run = Run::synced();
    assert_eq!(run.segue.show(&["cutover", "00000000"]).unwrap(), 1);
    assert_eq!(run.segue.show(&["settle", &run.hash]).unwrap(), 1);
    assert_eq!(run.segue.show(&["confirm"]).unwrap(), 1);
    assert_eq!(run.segue.status().unwrap()["stage"], "synced");
}
