//! The executor's rules, one by one, over scripted effects.

use crate::fake::{Act, Bench, CUTOVER, turn_back};
use segue_engine::gates::FnGate;
use segue_engine::{Ended, Step};
use segue_model::event::{Actor, Event, Phase, WriteSide};
use segue_model::gate::Verdict;
use segue_model::state::Stage;
use segue_model::{EffectLeft, FaultKind, Side};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const UNDOABLE: [&str; 4] = ["arm", "hold", "fence", "seal"];

fn withdrawn(ended: &Ended) -> &str {
    match ended {
        Ended::Withdrawn { because } => because,
        other => panic!("not withdrawn: {other:?}"),
    }
}

fn stuck(ended: &Ended) -> (&str, &[String]) {
    match ended {
        Ended::Stuck { because, way_out } => (because, way_out),
        other => panic!("not stuck: {other:?}"),
    }
}

fn reversed(steps: &[&str]) -> Vec<String> {
    steps.iter().rev().map(ToString::to_string).collect()
}

#[tokio::test]
async fn runs_every_step_once_in_order_with_the_facts_before_it() {
    let bench = Bench::prepared().await;
    assert_eq!(bench.execute(bench.cutover()).await, Ended::Completed);
    assert_eq!(bench.log(), CUTOVER.map(|step| format!("run {step}")));
    let state = bench.state();
    assert_eq!(state.stage, Stage::Watching);
    assert_eq!(state.write_side, WriteSide::At(Side::Target));
    assert!(state.watching_since.is_some());
    let mut facts = bench.script.lock().unwrap().facts["route"].clone();
    facts.sort();
    assert_eq!(facts, ["arm", "fence", "hold", "promote", "seal"]);
}

#[tokio::test]
async fn a_second_night_follows_a_failback() {
    let bench = Bench::prepared().await;
    for (phase, stage) in [
        (Phase::Cutover, Stage::Watching),
        (Phase::Failback, Stage::Prepared),
        (Phase::Cutover, Stage::Watching),
    ] {
        assert_eq!(bench.execute(bench.table(phase, &CUTOVER)).await, Ended::Completed);
        assert_eq!(bench.state().stage, stage);
    }
    bench.journal.append(Event::Confirmed { by: Actor::Controller }).await.unwrap();
    let by = Actor::Trigger("late".into());
    let begun = bench.journal.begin(Phase::Failback, by, "too late".into()).await.unwrap();
    assert_eq!(begun, None, "no trigger fails back what was confirmed");
    assert_eq!(bench.execute(bench.table(Phase::Failback, &CUTOVER)).await, Ended::Completed);
    assert_eq!(bench.state().write_side, WriteSide::At(Side::Source));
}

#[tokio::test]
async fn a_fault_at_each_step_before_no_return_undoes_everything() {
    for (place, step) in UNDOABLE.iter().enumerate() {
        for (left, changed) in
            [(EffectLeft::None, false), (EffectLeft::Maybe, true), (EffectLeft::Done, true)]
        {
            let bench = Bench::prepared().await;
            bench.acts(step, [Act::Fails { kind: FaultKind::Busy, left, changed }]);
            let ended = bench.execute(bench.cutover()).await;
            assert!(withdrawn(&ended).contains(step), "{ended:?}");
            let undone = reversed(&UNDOABLE[..=place]);
            assert_eq!(bench.logged("undo"), undone, "{step} {left:?}");
            assert_eq!(bench.logged("quench"), undone, "each is quenched before its undo");
            assert_eq!(bench.on(), Vec::<String>::new());
            assert_eq!(bench.state().stage, Stage::Prepared);
            assert_eq!(bench.state().write_side, WriteSide::At(Side::Source));
        }
    }
}

#[tokio::test]
async fn a_step_that_hangs_or_panics_is_undone() {
    for act in [Act::Hangs { changed: true }, Act::Panics] {
        let bench = Bench::prepared().await;
        bench.acts("fence", [act]);
        withdrawn(&bench.execute(bench.cutover()).await);
        assert_eq!(bench.logged("undo"), reversed(&["arm", "hold", "fence"]));
        assert_eq!(bench.on(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_wish_to_turn_back_breaks_off_the_running_step() {
    for (place, step) in UNDOABLE.iter().enumerate() {
        let bench = Bench::prepared().await;
        bench.acts(step, [Act::TurnsBack]);
        assert_eq!(withdrawn(&bench.execute(bench.cutover()).await), "asked to");
        assert_eq!(bench.logged("undo"), reversed(&UNDOABLE[..=place]));
    }
}

#[tokio::test]
async fn a_wish_to_turn_back_after_no_return_is_answered_by_finishing() {
    let bench = Bench::prepared().await;
    bench.acts("promote", [Act::TurnsBack]);
    assert_eq!(bench.execute(bench.cutover()).await, Ended::Completed);
    assert_eq!(bench.logged("undo"), Vec::<String>::new());
    let noted = |event: &Event| matches!(event, Event::Noted { text } if text.contains("asked to"));
    assert_eq!(bench.records().iter().filter(|event| noted(event)).count(), 1);
}

#[tokio::test]
async fn the_seal_does_not_begin_when_time_and_reserve_exceed_the_budget() {
    for (fence_ms, completes) in [(700, true), (701, false)] {
        let bench = Bench::prepared().await;
        bench.acts("fence", [Act::Takes(fence_ms)]);
        let ended = bench.execute(bench.cutover()).await;
        if completes {
            assert_eq!(ended, Ended::Completed, "{fence_ms} ms");
        } else {
            assert!(withdrawn(&ended).contains("701 ms used"), "{ended:?}");
            assert!(!bench.log().contains(&"run seal".to_owned()));
        }
    }
}

#[tokio::test]
async fn the_point_of_no_return_is_not_passed_over_budget() {
    let bench = Bench::prepared().await;
    bench.acts("seal", [Act::Takes(1001)]);
    withdrawn(&bench.execute(bench.cutover()).await);
    assert_eq!(bench.logged("run").last().unwrap(), "seal");
    let bench = Bench::prepared().await;
    bench.acts("promote", [Act::Takes(5000)]);
    assert_eq!(bench.execute(bench.cutover()).await, Ended::Completed, "from there on forward");
}

#[tokio::test]
async fn a_run_in_the_pause_is_cut_by_what_the_budget_leaves() {
    let bench = Bench::prepared().await;
    bench.acts("fence", [Act::Hangs { changed: false }]);
    let ended = bench.execute(bench.cutover()).await;
    assert!(withdrawn(&ended).contains("not done within 700 ms"), "{ended:?}");
}

fn gated(step: &mut Step, verdicts: &'static [Verdict]) -> Arc<AtomicU32> {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    step.gates.push(FnGate::new("lag", move |_| {
        let turn = counter.fetch_add(1, Ordering::SeqCst) as usize;
        (verdicts[turn.min(verdicts.len() - 1)].clone(), format!("turn {turn}"))
    }));
    asked
}

#[tokio::test]
async fn a_gate_outside_the_pause_is_waited_for_and_only_changes_are_journalled() {
    use Verdict::{Pass, Unknown, Wait};
    let bench = Bench::prepared().await;
    let mut table = bench.cutover();
    let asked = gated(&mut table.steps[0], &[Unknown, Unknown, Wait, Wait, Wait, Unknown, Pass]);
    assert_eq!(bench.execute(table).await, Ended::Completed);
    assert_eq!(asked.load(Ordering::SeqCst), 7);
    let answers: Vec<Verdict> = bench
        .records()
        .into_iter()
        .filter_map(|event| match event {
            Event::GateAnswered { answer, .. } if answer.gate == "lag" => Some(answer.verdict),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [Unknown, Wait, Unknown, Pass]);
}

#[tokio::test]
async fn a_gate_outside_the_pause_is_not_waited_for_without_end() {
    let bench = Bench::prepared().await;
    let mut table = bench.cutover();
    gated(&mut table.steps[0], &[Verdict::Wait]);
    let ended = bench.execute(table).await;
    assert!(withdrawn(&ended).contains("waited 10000 ms"), "{ended:?}");
    let bench = Bench::prepared().await;
    let mut table = bench.cutover();
    let asked = gated(&mut table.steps[0], &[Verdict::Fail]);
    withdrawn(&bench.execute(table).await);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "waiting does not help");
}

#[tokio::test]
async fn a_gate_in_the_pause_that_does_not_pass_at_once_withdraws() {
    for verdict in [&[Verdict::Wait], &[Verdict::Unknown], &[Verdict::Fail]] {
        let bench = Bench::prepared().await;
        let mut table = bench.cutover();
        let asked = gated(&mut table.steps[3], verdict);
        assert!(withdrawn(&bench.execute(table).await).contains("gate `lag` of step `seal`"));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(bench.logged("undo"), reversed(&["arm", "hold", "fence"]));
    }
}

fn fails(left: EffectLeft, changed: bool) -> Act {
    Act::Fails { kind: FaultKind::Unreachable, left, changed }
}

#[tokio::test]
async fn promote_whose_answer_was_lost_is_observed_not_repeated() {
    let bench = Bench::prepared().await;
    bench.acts("promote", [fails(EffectLeft::Maybe, true)]);
    assert_eq!(bench.execute(bench.cutover()).await, Ended::Completed);
    assert_eq!(bench.log()[4..], ["run promote", "quench promote", "observe promote", "run route"]);
}

#[tokio::test]
async fn promote_that_did_not_happen_runs_again() {
    let bench = Bench::prepared().await;
    bench.acts("promote", [fails(EffectLeft::None, false), Act::Hangs { changed: false }]);
    assert_eq!(bench.execute(bench.cutover()).await, Ended::Completed);
    assert_eq!(bench.logged("run")[4..], ["promote", "promote", "promote", "route"]);
    assert_eq!(bench.logged("quench"), ["promote", "promote"]);
    assert_eq!(bench.failures_of("promote"), 2, "the second came ten seconds later");
}

#[tokio::test]
async fn promote_that_cannot_be_told_is_stuck_and_goes_on_when_a_person_says_so() {
    let bench = Bench::prepared().await;
    bench.acts("promote", [fails(EffectLeft::Maybe, true)]);
    bench.script.lock().unwrap().unknown.insert("promote".into());
    let ended = bench.execute(bench.cutover()).await;
    let (because, way_out) = stuck(&ended);
    assert!(because.contains("cannot be told"), "{because}");
    assert!(way_out.iter().any(|line| line.contains("change promote back by hand")));
    assert_eq!(bench.state().write_side, WriteSide::Held);
    assert_eq!(bench.logged("undo"), Vec::<String>::new());
    assert_eq!(bench.resume(bench.cutover()).await, ended, "it stays stuck by itself");

    bench.script.lock().unwrap().unknown.clear();
    let by = Actor::Person("admin".into());
    bench.journal.append(Event::AttemptResumed { by }).await.unwrap();
    assert_eq!(bench.resume(bench.cutover()).await, Ended::Completed);
    assert_eq!(bench.logged("run").iter().filter(|step| *step == "promote").count(), 1);
}

#[tokio::test]
async fn route_is_retried_without_end_and_tells_so_now_and_then() {
    let bench = Bench::prepared().await;
    let acts: [Act; 30] = std::array::from_fn(|n| {
        fails(if n % 2 == 0 { EffectLeft::None } else { EffectLeft::Maybe }, false)
    });
    bench.acts("route", acts);
    assert_eq!(bench.execute(bench.cutover()).await, Ended::Completed);
    assert_eq!(bench.logged("run").iter().filter(|step| *step == "route").count(), 31);
    let told = bench.failures_of("route");
    assert!((5..=16).contains(&told), "{told}");
}

#[tokio::test]
async fn route_that_cannot_be_observed_still_reaches_the_fronts_that_answer() {
    let bench = Bench::prepared().await;
    bench.script.lock().unwrap().unknown.insert("route".into());
    bench.acts("route", [fails(EffectLeft::Maybe, false), fails(EffectLeft::Maybe, false)]);
    assert_eq!(bench.execute(bench.cutover()).await, Ended::Completed);
    assert_eq!(bench.logged("run").iter().filter(|step| *step == "route").count(), 3);
}

#[tokio::test]
async fn an_undo_that_fails_is_tried_again() {
    let bench = Bench::prepared().await;
    bench.acts("seal", [fails(EffectLeft::Maybe, true)]);
    bench.script.lock().unwrap().undos.insert("fence".into(), 3);
    bench.script.lock().unwrap().quenches.insert("hold".into(), 3);
    withdrawn(&bench.execute(bench.cutover()).await);
    assert_eq!(bench.on(), Vec::<String>::new());
}

#[tokio::test]
async fn an_undo_that_keeps_failing_is_stuck_with_what_to_do_by_hand() {
    let bench = Bench::prepared().await;
    bench.acts("seal", [fails(EffectLeft::Maybe, true)]);
    bench.script.lock().unwrap().undos.insert("fence".into(), 8);
    let ended = bench.execute(bench.cutover()).await;
    let by_hand: Vec<&str> = stuck(&ended)
        .1
        .iter()
        .filter_map(|line| line.split_once(": ").map(|(step, _)| step))
        .collect();
    assert_eq!(by_hand, ["fence", "hold", "arm"], "what is not undone, in order");
    bench.journal.append(Event::AttemptResumed { by: Actor::Controller }).await.unwrap();
    withdrawn(&bench.resume(bench.cutover()).await);
    assert_eq!(bench.on(), Vec::<String>::new());
}

#[tokio::test]
async fn a_table_without_no_return_retries_what_may_pass() {
    let bench = Bench::new().await;
    let busy = fails(EffectLeft::None, false);
    bench.acts("seed", [busy.clone(), busy.clone(), busy.clone(), busy.clone()]);
    assert_eq!(bench.execute(bench.table(Phase::Sync, &["claim", "seed"])).await, Ended::Completed);
    assert_eq!(bench.logged("run").len(), 6);

    for act in [
        Act::Fails { kind: FaultKind::Denied, left: EffectLeft::None, changed: false },
        fails(EffectLeft::Maybe, true),
    ] {
        let bench = Bench::new().await;
        bench.acts("seed", [act]);
        withdrawn(&bench.execute(bench.table(Phase::Sync, &["claim", "seed"])).await);
        assert_eq!(bench.logged("undo"), ["seed", "claim"]);
        assert_eq!(bench.state().stage, Stage::Fresh);
    }
}

#[tokio::test]
async fn a_crash_before_no_return_is_resumed_by_going_back() {
    for (place, step) in UNDOABLE.iter().enumerate() {
        let bench = Bench::prepared().await;
        bench.crash_in(bench.cutover(), step, true).await;
        withdrawn(&bench.resume(bench.cutover()).await);
        assert_eq!(bench.logged("undo"), reversed(&UNDOABLE[..=place]));
        assert_eq!(bench.on(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_crash_after_no_return_is_resumed_by_going_forward() {
    for (step, changed) in [("promote", true), ("promote", false), ("route", true)] {
        let bench = Bench::prepared().await;
        bench.crash_in(bench.cutover(), step, changed).await;
        bench.wish.send_replace(turn_back());
        assert_eq!(bench.resume(bench.cutover()).await, Ended::Completed);
        let runs = bench.logged("run").iter().filter(|ran| *ran == step).count();
        assert_eq!(runs, if changed { 1 } else { 2 }, "{step}");
        let after: Vec<String> =
            bench.log().into_iter().skip_while(|line| *line != format!("run {step}")).collect();
        assert_eq!(after[1..3], [format!("quench {step}"), format!("observe {step}")]);
    }
}

#[tokio::test]
async fn a_crash_in_a_table_without_no_return_goes_forward() {
    for (changed, unknown) in [(true, false), (false, false), (true, true)] {
        let bench = Bench::new().await;
        let table = || bench.table(Phase::Sync, &["claim", "seed"]);
        bench.crash_in(table(), "seed", changed).await;
        if unknown {
            bench.script.lock().unwrap().unknown.insert("seed".into());
        }
        assert_eq!(bench.resume(table()).await, Ended::Completed);
        let undone = bench.logged("undo");
        assert_eq!(undone.len(), usize::from(unknown), "what cannot be told is undone, then run");
        assert_eq!(bench.on(), ["claim", "seed"]);
    }
}

#[tokio::test]
async fn an_attempt_is_not_finished_with_another_table() {
    let bench = Bench::prepared().await;
    bench.crash_in(bench.cutover(), "fence", true).await;
    let other = bench.table(Phase::Cutover, &["arm", "hold", "seal", "promote", "route"]);
    assert_eq!(bench.try_resume(other).await.unwrap_err().code, "SG0620");
    withdrawn(&bench.resume(bench.cutover()).await);
    assert_eq!(bench.try_resume(bench.cutover()).await.unwrap_err().code, "SG0620");
}

/// A table of a split whose second step's gate does this at its first question, then waits one
/// turn and passes.
fn split(bench: &Bench, first: impl Fn() + Send + Sync + 'static) -> segue_engine::Table {
    let mut table = bench.table(Phase::Split, &["split_5", "split_25", "split_50"]);
    let asked = AtomicU32::new(0);
    table.steps[2].gates.push(FnGate::new("no_worse", move |_| {
        match asked.fetch_add(1, Ordering::SeqCst) {
            0 => {
                first();
                (Verdict::Wait, "watched".into())
            }
            1 => (Verdict::Wait, "watched".into()),
            _ => (Verdict::Pass, "no worse".into()),
        }
    }));
    table
}

#[tokio::test]
async fn a_split_gives_a_share_back_and_goes_on_behind_its_gates() {
    let bench = Bench::prepared().await;
    let (journal, wish) = (bench.journal.clone(), bench.wish.clone());
    let table = split(&bench, move || {
        let state = journal.state();
        let step = segue_model::StepName::from("split_25");
        let done = state.open.as_ref().unwrap().steps[&step].done_at().unwrap();
        wish.send_replace(segue_engine::Wish::StepBack { step, done });
    });
    assert_eq!(bench.execute(table).await, Ended::Completed);
    let wanted = [
        "run split_5",
        "run split_25",
        "quench split_25",
        "undo split_25",
        "run split_25",
        "run split_50",
    ];
    assert_eq!(bench.log(), wanted);
    assert_eq!(bench.state().stage, Stage::Prepared);
}

#[tokio::test]
async fn a_wish_to_step_back_that_is_out_of_date_moves_nothing() {
    let bench = Bench::prepared().await;
    let wish = bench.wish.clone();
    let table = split(&bench, move || {
        let step = "split_25".into();
        wish.send_replace(segue_engine::Wish::StepBack { step, done: 1 });
    });
    assert_eq!(bench.execute(table).await, Ended::Completed);
    assert_eq!(bench.log(), ["run split_5", "run split_25", "run split_50"]);
    // Nor does a table of another kind step back.
    let (journal, wish) = (bench.journal.clone(), bench.wish.clone());
    let mut table = bench.cutover();
    table.steps[1].gates.push(FnGate::new("late", move |_| {
        let state = journal.state();
        let step = segue_model::StepName::from("arm");
        let done = state.open.as_ref().unwrap().steps[&step].done_at().unwrap();
        wish.send_replace(segue_engine::Wish::StepBack { step, done });
        (Verdict::Pass, "passed".into())
    }));
    assert_eq!(bench.execute(table).await, Ended::Completed);
    assert_eq!(bench.logged("undo"), Vec::<String>::new());
}

#[tokio::test]
async fn a_split_that_turns_back_gives_everything_back() {
    let bench = Bench::prepared().await;
    let wish = bench.wish.clone();
    let table = split(&bench, move || {
        wish.send_replace(turn_back());
    });
    assert!(matches!(bench.execute(table).await, Ended::Withdrawn { .. }));
    assert_eq!(bench.logged("undo"), reversed(&["split_5", "split_25"]));
    assert_eq!((bench.state().stage, bench.state().share), (Stage::Prepared, 0));
}
