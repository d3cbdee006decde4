//! Many units between the same two servers, and something fails.

use crate::servers::Turn;
use crate::shop::{Run, until};
use crate::units::{Traffic, begin, equal, fill, name};
use segue_model::Side::{Source, Target};
use segue_port::Observed;
use std::time::{Duration, Instant};

/// Polls the samplers until every unit's forward lag is measured again.
async fn measured(runs: &[Run], now: &mut u64) {
    let begun = Instant::now();
    loop {
        *now += 100;
        let mut good = true;
        for run in runs {
            let samplers = run.replica.samplers();
            good &=
                samplers[0].sample(*now).await.is_ok() && samplers[2].sample(*now).await.is_ok();
        }
        if good {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "the streams do not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_server_that_failed_carries_every_unit_again() {
    const UNITS: usize = 6;
    let turn = Turn::take().await;
    fill(&turn, UNITS).await;
    let traffic = Traffic::start(&turn, UNITS, Duration::from_millis(40));
    let mut runs = Vec::new();
    for number in 0..UNITS {
        let mut run = begin(&turn, number, 1).await;
        // The last one is on its way into the stream when the target fails.
        if number + 1 < UNITS {
            run.sync().await;
        } else {
            run.steps(&["claim", "seed"]).await;
        }
        runs.push(run);
    }
    let mut last = runs.pop().unwrap();
    let mut now = 1_000_000;
    measured(&runs, &mut now).await;
    // It is kept in the middle of its way by a row that somebody else holds.
    let mut root = turn.root(Target).await;
    let held = name(UNITS - 1);
    root.run(format!("BEGIN; UPDATE {held}.counter SET n = n")).await.unwrap();
    let joining = tokio::spawn(async move {
        let joined = last.try_step("follow").await;
        (last, joined)
    });
    let stage = "SELECT COUNT(*) FROM segue.stream WHERE stage = 'catching'";
    until(&turn, Target, stage, 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    turn.pair.servers.target.kill();
    let (mut last, joined) = joining.await.unwrap();
    assert!(joined.is_err(), "it joined while a row was held");
    assert!(runs[0].replica.samplers()[0].sample(now + 100).await.is_err(), "lag is known");
    tokio::time::sleep(Duration::from_millis(100)).await;
    turn.pair.servers.target.restart().await;
    measured(&runs, &mut now).await;
    last.steps(&["follow", "reverse"]).await;
    runs.push(last);
    // The source too.
    turn.pair.servers.source.kill();
    turn.pair.servers.source.restart().await;
    measured(&runs, &mut now).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let clients = traffic.end(&turn, false).await;
    equal(&turn, 0..UNITS).await;
    for client in &clients {
        client.check(&turn, Target).await;
    }
}

#[tokio::test]
async fn a_controller_that_dies_while_a_unit_joins_leaves_nothing_wrong() {
    const UNITS: usize = 3;
    let turn = Turn::take().await;
    fill(&turn, UNITS).await;
    let traffic = Traffic::start(&turn, UNITS, Duration::from_millis(15));
    let mut runs = Vec::new();
    for number in 0..2 {
        let mut run = begin(&turn, number, 1).await;
        run.sync().await;
        runs.push(run);
    }
    let mut late = begin(&turn, 2, 1).await;
    late.steps(&["claim", "seed"]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut followed = false;
    for millis in [4, 8, 14, 20, 28, 38, 50, 65, 80, 100] {
        let follow = tokio::time::timeout(Duration::from_millis(millis), late.try_step("follow"));
        followed = follow.await.is_ok_and(|done| done.is_ok());
        // Whoever comes next has a higher epoch.
        late = begin(&turn, 2, millis).await;
        if followed {
            break;
        }
    }
    eprintln!("followed before the last attempt: {followed}");
    late.steps(&["follow", "reverse"]).await;
    assert!(matches!(late.observed("follow").await, Observed::Applied(_)));
    runs.push(late);
    measured(&runs, &mut 1_000_000).await;
    let clients = traffic.end(&turn, true).await;
    equal(&turn, 0..UNITS).await;
    for client in &clients {
        client.check(&turn, Target).await;
    }
}

#[tokio::test]
async fn a_unit_that_cannot_be_applied_is_left_out_and_the_others_go_on() {
    const UNITS: usize = 3;
    let turn = Turn::take().await;
    fill(&turn, UNITS).await;
    let traffic = Traffic::start(&turn, UNITS, Duration::from_millis(30));
    let mut runs = Vec::new();
    for number in 0..UNITS {
        let mut run = begin(&turn, number, 1).await;
        run.sync().await;
        runs.push(run);
    }
    let mut now = 1_000_000;
    measured(&runs, &mut now).await;
    // Somebody spoils the copy of one unit.
    let mut root = turn.root(Target).await;
    root.run(format!("SET sql_log_bin = 0; DELETE FROM {}.counter", name(1))).await.unwrap();
    let begun = Instant::now();
    loop {
        now += 100;
        let spoilt = runs[1].replica.samplers()[0].sample(now).await;
        let other = runs[0].replica.samplers()[0].sample(now).await;
        match (spoilt, other) {
            (Err(fault), Ok(_)) if fault.code == "SG0225" => break,
            _ => {}
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody is left out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(runs[1].try_step("follow").await.unwrap_err().code, "SG0225");
    let clients = traffic.end(&turn, true).await;
    equal(&turn, [0, 2]).await;
    // Once its copy is made anew it follows again.
    runs[1].undo("follow").await;
    runs[1].undo("seed").await;
    runs[1].steps(&["seed", "follow"]).await;
    equal(&turn, 0..UNITS).await;
    for client in &clients {
        client.check(&turn, Source).await;
        client.check(&turn, Target).await;
    }
}
