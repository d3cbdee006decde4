use crate::common::{World, call, run, settings, until, write};
use segue_files::TreeReplica;
use segue_model::Side;
use segue_model::event::Phase;
use std::fs;

/// What a new controller builds after the former one died without a word.
async fn restarted(world: &mut World) {
    world.replica.stop().await;
    world.replica = TreeReplica::new(settings(world.dir.path(), &[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_again_after_a_restart_and_finds_what_was_missed() {
    let mut world = World::new();
    write(world.source("a"), "1");
    write(world.source("gone"), "1");
    world.follow().await;
    restarted(&mut world).await;
    write(world.source("missed"), "while nobody watched");
    fs::remove_file(world.source("gone")).unwrap();
    world.replica.resume_following(Side::Source).await.unwrap();
    world.equal().await;
    world.lag_is_known(Side::Source).await;
    world.cut_over(Phase::Cutover).await.unwrap();
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_after_the_switch_deletes_only_known_paths_at_the_source() {
    let mut world = World::new();
    for path in ["known", "kept", "d/known", "d/kept"] {
        write(world.source(path), "1");
    }
    world.follow().await;
    world.cut_over(Phase::Cutover).await.unwrap();
    write(world.target("later"), "1");
    world.equal().await;
    restarted(&mut world).await;
    write(world.source("unknown"), "written at the source");
    write(world.source("d/unknown"), "written at the source");
    for path in ["known", "d/known", "later"] {
        fs::remove_file(world.target(path)).unwrap();
    }
    write(world.target("missed"), "while nobody watched");
    world.replica.resume_following(Side::Target).await.unwrap();
    until("the deletions arrive", || {
        ["known", "d/known", "later"].iter().all(|p| !world.source(p).exists())
            && world.source("missed").exists()
    })
    .await;
    for path in ["kept", "d/kept", "unknown", "d/unknown"] {
        assert!(world.source(path).exists(), "{path}");
    }
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_after_a_restart_takes_new_writes_for_no_differences() {
    let mut world = World::new();
    write(world.source("a"), "1");
    world.follow().await;
    world.cut_over(Phase::Cutover).await.unwrap();
    restarted(&mut world).await;
    write(world.target("missed"), "while nobody watched");
    let compare = world.replica.effects().compare.unwrap();
    let output = compare.run(&call(Phase::Cutover, "compare")).await.unwrap();
    assert_eq!(output["differences"], 0, "{output}");
    until("it is carried back", || world.source("missed").exists()).await;
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_drain_and_seal_ends_the_cutover() {
    let mut world = World::new();
    write(world.source("a"), "1");
    world.follow().await;
    run(&world.replica.effects().drain.unwrap(), &call(Phase::Cutover, "drain")).await.unwrap();
    restarted(&mut world).await;
    world.replica.resume_following(Side::Source).await.unwrap();
    let seal = world.replica.effects().seal.unwrap();
    let fault = seal.run(&call(Phase::Cutover, "seal")).await.unwrap_err();
    assert_eq!(fault.code, "SG0412");
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quench_ends_a_copy_of_a_former_controller() {
    let world = World::new();
    let run_id = settings(world.dir.path(), &[]).run;
    let left = |mark: String| {
        let sleep =
            segue_doors::process::Invocation::new("sleep", std::time::Duration::from_secs(60));
        tokio::spawn(sleep.arg("60").mark(mark).run())
    };
    let former = left(format!("{run_id}/shop/files:site/flow/1.1"));
    let foreign = left(format!("{run_id}/shop/files:other/flow/1.1"));
    // A mark is visible once the program runs, so this is repeated until it is.
    let drain = world.replica.effects().drain.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !former.is_finished() {
        assert!(std::time::Instant::now() < deadline, "the former copy still runs");
        drain.quench(&call(Phase::Cutover, "drain")).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(!foreign.is_finished(), "another tree's copy is left alone");
    foreign.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_nothing_behind_at_the_end() {
    let world = World::new();
    write(world.source("a"), "1");
    world.follow().await;
    world.cut_over(Phase::Cutover).await.unwrap();
    let end = world.replica.effects().end.unwrap();
    let call = call(Phase::Settle, "end");
    run(&end, &call).await.unwrap();
    run(&end, &call).await.unwrap();
    for side in ["source", "target"] {
        let beside = fs::read_dir(world.dir.path().join(side)).unwrap().count();
        assert_eq!(beside, 1, "only the tree itself is left at the {side}");
    }
    assert_eq!(fs::read_dir(world.dir.path().join("state")).unwrap().count(), 0);
}
