use crate::common::{World, Writer, call, run, until, write};
use segue_model::event::Phase;
use segue_model::{FaultKind, Side};
use segue_port::Observed;
use std::fs;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carries_what_is_written_on_either_side_after_each_switch() {
    let world = World::new();
    write(world.source("old/file"), "seed");
    let writer = Writer::start(world.source(""));
    world.follow().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    writer.stop();
    world.cut_over(Phase::Cutover).await.unwrap();
    assert_eq!(world.replica.write_side(), Some(Side::Target));
    world.equal().await;

    let writer = Writer::start(world.target(""));
    write(world.target("new/at/target"), "t");
    fs::remove_file(world.target("old/file")).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    writer.stop();
    world.equal().await;
    assert!(!world.source("old/file").exists());

    world.cut_over(Phase::Failback).await.unwrap();
    assert_eq!(world.replica.write_side(), Some(Side::Source));
    write(world.source("again"), "s");
    world.equal().await;
    world.cut_over(Phase::Cutover).await.unwrap();
    write(world.target("third"), "t");
    world.equal().await;
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detects_a_write_around_the_fronts_after_the_drain() {
    let world = World::new();
    write(world.source("a"), "1");
    world.follow().await;
    let effects = world.replica.effects();
    run(&effects.arm.unwrap(), &call(Phase::Cutover, "arm")).await.unwrap();
    let drain = effects.drain.unwrap();
    run(&drain, &call(Phase::Cutover, "drain")).await.unwrap();
    write(world.source("upload by ftp"), "around");
    let seal = effects.seal.unwrap();
    let fault = seal.run(&call(Phase::Cutover, "seal")).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0414", FaultKind::Conflict));
    assert!(fault.cause.contains("upload by ftp"), "{}", fault.cause);
    assert_eq!(seal.observe(&call(Phase::Cutover, "seal")).await.unwrap(), Observed::NotApplied);
    assert!(!world.target("upload by ftp").exists(), "nothing is carried after the drain");
    drain.undo(&call(Phase::Cutover, "drain")).await.unwrap();
    world.equal().await;
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finds_content_that_changed_behind_the_last_batch() {
    let world = World::new();
    write(world.source("a"), "right");
    world.follow().await;
    let effects = world.replica.effects();
    write(world.source("b"), "right");
    let drain = effects.drain.unwrap();
    run(&drain, &call(Phase::Cutover, "drain")).await.unwrap();
    let time = fs::metadata(world.target("b")).unwrap().modified().unwrap();
    fs::write(world.target("b"), "wrong").unwrap();
    fs::File::options().write(true).open(world.target("b")).unwrap().set_modified(time).unwrap();
    let fault = effects.verify.unwrap().run(&call(Phase::Cutover, "verify")).await.unwrap_err();
    assert_eq!(fault.code, "SG0413");
    assert!(fault.cause.contains("`b`: another content"), "{}", fault.cause);
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_at_the_source_only_what_was_seen_at_the_target() {
    let world = World::new();
    write(world.source("d/known"), "1");
    write(world.source("e/known"), "1");
    world.follow().await;
    world.cut_over(Phase::Cutover).await.unwrap();
    world.equal().await;
    // Somebody still writes at the source, around everything.
    write(world.source("d/unknown"), "written at the source");
    fs::remove_dir_all(world.target("d")).unwrap();
    fs::remove_dir_all(world.target("e")).unwrap();
    until("the known ones are gone", || {
        !world.source("d/known").exists() && !world.source("e").exists()
    })
    .await;
    assert!(world.source("d/unknown").exists());
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_a_promotion_back_only_if_nothing_was_written_since() {
    let world = World::new();
    write(world.source("a"), "1");
    world.follow().await;
    world.cut_over(Phase::Cutover).await.unwrap();
    let promote = world.replica.effects().promote.unwrap();
    let call = call(Phase::Cutover, "promote");
    promote.undo(&call).await.unwrap();
    promote.undo(&call).await.unwrap();
    assert_eq!(world.replica.write_side(), Some(Side::Source));
    write(world.source("b"), "2");
    world.equal().await;
    world.lag_is_known(Side::Source).await;
    world.cut_over(Phase::Cutover).await.unwrap();
    write(world.target("c"), "3");
    let fault = promote.undo(&call).await.unwrap_err();
    assert_eq!(fault.code, "SG0418");
    world.equal().await;
    assert!(world.source("c").exists());
    world.replica.stop().await;
}
