//! Many units between the same two servers, each on its own way.

use crate::servers::Turn;
use crate::units::{Traffic, begin, equal, fill, name, traces};
use futures_util::future::join_all;
use segue_model::Side::{Source, Target};
use segue_model::event::Phase;
use std::time::{Duration, Instant};

const WAY: [&str; 7] = ["arm", "fence", "drain", "verify", "seal", "promote", "compare"];

#[tokio::test]
async fn twelve_units_go_their_own_ways_between_the_same_servers() {
    const UNITS: usize = 12;
    let turn = Turn::take().await;
    fill(&turn, UNITS).await;
    let traffic = Traffic::start(&turn, UNITS, Duration::from_millis(100));
    let mut runs = Vec::new();
    for number in 0..UNITS {
        runs.push(begin(&turn, number, 1).await);
    }
    let begun = Instant::now();
    for some in runs.chunks_mut(4) {
        join_all(some.iter_mut().map(|run| run.sync())).await;
    }
    eprintln!("{UNITS} units follow after {:?}", begun.elapsed());

    // One goes, comes back and goes again; another one behind it goes too.
    for (number, phases) in
        [(0, &[Phase::Cutover, Phase::Failback, Phase::Cutover][..]), (5, &[Phase::Cutover][..])]
    {
        for phase in phases {
            runs[number].table(*phase);
            let begun = Instant::now();
            runs[number].step("arm").await;
            let paused = Instant::now();
            runs[number].steps(&WAY[1..6]).await;
            eprintln!(
                "{}: {phase:?} paused {:?}, in all {:?}",
                name(number),
                paused.elapsed(),
                begun.elapsed()
            );
            let compared = runs[number].step("compare").await;
            assert_eq!(compared["differences"], 0, "{compared}");
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
    // A comparison of one that follows, while the others are written to.
    assert_eq!(runs[3].replica.compare_live().await.unwrap().differences, vec![]);
    // One leaves; nobody else notices.
    runs[7].table(Phase::Settle);
    runs[7].step("end").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let clients = traffic.end(&turn, true).await;
    equal(&turn, (0..UNITS).filter(|number| *number != 7)).await;
    for (number, client) in clients.iter().enumerate() {
        let side = if [0, 5].contains(&number) { Target } else { Source };
        client.check(&turn, side).await;
    }
    for side in [Source, Target] {
        let left = traces(&turn, side).await;
        assert!(!left.iter().any(|trace| trace.contains(&name(7))), "{left:?}");
        assert!(left.iter().any(|trace| trace.contains(&name(9))), "{left:?}");
    }
    for (number, run) in runs.iter_mut().enumerate().filter(|(number, _)| *number != 7) {
        run.table(Phase::Settle);
        run.try_step("end").await.unwrap_or_else(|fault| panic!("{}: {fault}", name(number)));
    }
    for side in [Source, Target] {
        assert_eq!(traces(&turn, side).await, Vec::<String>::new(), "at the {side}");
    }
}

#[tokio::test]
async fn idle_units_cost_the_servers_little() {
    const UNITS: usize = 50;
    let turn = Turn::take().await;
    fill(&turn, UNITS).await;
    let begun = Instant::now();
    let mut runs = join_all((0..UNITS).map(|number| begin(&turn, number, 1))).await;
    eprintln!("{UNITS} epochs after {:?}", begun.elapsed());
    for some in runs.chunks_mut(5) {
        join_all(some.iter_mut().map(|run| run.sync())).await;
    }
    eprintln!("{UNITS} units follow after {:?}", begun.elapsed());
    let boot = Instant::now();
    let mut polls = Vec::new();
    for run in &runs {
        for sampler in run.replica.samplers() {
            polls.push(tokio::spawn(async move {
                let mut good = 0;
                while boot.elapsed() < Duration::from_secs(4) {
                    let now = 1_000_000 + u64::try_from(boot.elapsed().as_millis()).unwrap();
                    good += usize::from(sampler.sample(now).await.is_ok());
                    tokio::time::sleep(sampler.every()).await;
                }
                good
            }));
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut before = Vec::new();
    for side in [Source, Target] {
        before.push(load(&turn, side).await);
    }
    let from = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (side, before) in [Source, Target].into_iter().zip(before) {
        let now = load(&turn, side).await;
        let seconds = from.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
        let (queries, writes) =
            (rate(now.queries, before.queries), rate(now.writes, before.writes));
        let cpu = rate(now.cpu_ms, before.cpu_ms) / 10.0;
        eprintln!(
            "{side}: {} sessions, {queries:.0} queries/s, {writes:.0} writes/s, {cpu:.1} % of a core",
            now.sessions
        );
        assert!(now.sessions < 25, "{} sessions at the {side}", now.sessions);
        assert!(queries < 500.0, "{queries} queries/s at the {side}");
        assert!(writes < 30.0, "{writes} writes/s at the {side}");
    }
    for poll in polls {
        // The slowest counts every ten seconds.
        assert!(poll.await.unwrap() > 0, "a sampler measured nothing");
    }
}

struct Load {
    sessions: u64,
    queries: u64,
    writes: u64,
    cpu_ms: u64,
}

async fn load(turn: &Turn, side: segue_model::Side) -> Load {
    let mut root = turn.root(side).await;
    let rows: Vec<(String, u64)> = root
        .rows(
            "SELECT VARIABLE_NAME, CAST(VARIABLE_VALUE AS UNSIGNED) FROM information_schema.GLOBAL_STATUS \
             WHERE VARIABLE_NAME IN ('QUERIES', 'COM_UPDATE', 'THREADS_CONNECTED')",
        )
        .await
        .unwrap();
    root.close().await;
    let of = |name: &str| rows.iter().find(|(known, _)| known == name).unwrap().1;
    Load {
        sessions: of("THREADS_CONNECTED"),
        queries: of("QUERIES"),
        writes: of("COM_UPDATE"),
        cpu_ms: turn.pair.servers.get(side).cpu_ms(),
    }
}
