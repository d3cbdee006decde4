//! Units that switch together: waiting inside the pause, and going on although resumed.

use crate::fake::{Bench, CUTOVER};
use async_trait::async_trait;
use segue_engine::{Ended, Gate, GateContext, Table, Wish};
use segue_model::gate::{Answer, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Waits so many times, then passes.
struct Others {
    left: AtomicU32,
    patient: bool,
}

#[async_trait]
impl Gate for Others {
    fn name(&self) -> String {
        "others".into()
    }

    fn waits_in_pause(&self) -> bool {
        self.patient
    }

    async fn ask(&self, _context: &GateContext) -> Answer {
        let waits = self.left.load(Ordering::SeqCst);
        self.left.store(waits.saturating_sub(1), Ordering::SeqCst);
        let verdict = if waits > 0 { Verdict::Wait } else { Verdict::Pass };
        Answer { gate: self.name(), verdict, because: format!("{waits} to go") }
    }
}

fn behind_others(mut table: Table, step: &str, turns: u32, patient: bool) -> Table {
    let place = CUTOVER.iter().position(|name| *name == step).unwrap();
    table.steps[place].gates.push(Arc::new(Others { left: AtomicU32::new(turns), patient }));
    table
}

fn withdrawn(ended: &Ended) -> &str {
    match ended {
        Ended::Withdrawn { because } => because,
        other => panic!("not withdrawn: {other:?}"),
    }
}

#[tokio::test]
async fn a_gate_that_is_worth_it_is_waited_for_inside_the_pause_within_the_budget() {
    let bench = Bench::prepared().await;
    let ended = bench.execute(behind_others(bench.cutover(), "seal", 3, true)).await;
    assert_eq!(ended, Ended::Completed);
    let bench = Bench::prepared().await;
    let ended = bench.execute(behind_others(bench.cutover(), "seal", 3, false)).await;
    assert!(withdrawn(&ended).contains("others"), "{ended:?}");
    let bench = Bench::prepared().await;
    let ended = bench.execute(behind_others(bench.cutover(), "seal", u32::MAX, true)).await;
    assert!(withdrawn(&ended).contains("pause budget"), "{ended:?}");
}

/// Executes until everything up to the seal is done and others are waited for, then lets go.
async fn sealed_and_crashed(bench: &Bench) {
    let mut table = behind_others(bench.cutover(), "promote", u32::MAX, true);
    table.budget = None;
    tokio::select! {
        biased;
        ended = bench.execute(table) => panic!("ended: {ended:?}"),
        () = async {
            while bench.state().open.as_ref().is_none_or(|open| !open.gates.contains_key(&"promote".into())) {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    bench.restart().await;
}

#[tokio::test]
async fn what_was_found_sealed_goes_on_only_if_others_were_promoted() {
    let bench = Bench::prepared().await;
    sealed_and_crashed(&bench).await;
    withdrawn(&bench.resume(bench.cutover()).await);
    let bench = Bench::prepared().await;
    sealed_and_crashed(&bench).await;
    bench.wish.send_replace(Wish::Through);
    // No budget turns it round any more.
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(bench.resume(bench.cutover()).await, Ended::Completed);
}

#[tokio::test]
async fn what_was_not_sealed_goes_back_whatever_others_did() {
    let bench = Bench::prepared().await;
    bench.crash_in(bench.cutover(), "fence", true).await;
    bench.wish.send_replace(Wish::Through);
    withdrawn(&bench.resume(bench.cutover()).await);
}
