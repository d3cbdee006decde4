//! Faults do what they say, and only that.

use crate::http::get;
use crate::{admin, small_world};
use mysql_async::prelude::Queryable;
use segue_testkit::world::Side;
use std::time::{Duration, Instant};

#[test]
fn slow_ms_and_fail_percent_reach_dynamic_requests_of_one_side() {
    let (world, _dir) = small_world();
    let site = world.description().site.source;
    let timed = |path: &str| {
        let begun = Instant::now();
        (get(site, path, None).status, begun.elapsed())
    };
    world.set_slow_ms(Side::Source, 400).unwrap();
    crate::wait_for("dynamic requests are slow", || {
        timed("/catalogue?page=1").1 >= Duration::from_millis(400)
    });
    assert!(timed("/healthz").1 < Duration::from_millis(300), "no data, no delay");
    world.set_slow_ms(Side::Source, 0).unwrap();
    crate::wait_for("dynamic requests are quick", || {
        timed("/catalogue?page=1").1 < Duration::from_millis(300)
    });

    world.set_fail_percent(Side::Source, 100).unwrap();
    crate::wait_for("dynamic requests fail", || timed("/catalogue?page=1").0 == 500);
    assert_eq!(timed("/healthz").0, 200);
    assert!((0..5).all(|_| timed("/catalogue?page=1").0 == 500));
    world.set_fail_percent(Side::Source, 0).unwrap();
    crate::wait_for("dynamic requests work", || timed("/catalogue?page=1").0 == 200);
    // The target's shop still answers: the database behind it refuses, no fault was set there.
    let target = get(world.description().backend.target, "/catalogue?page=1", None);
    assert!(target.body.starts_with("database:"), "{}", target.body);
}

#[tokio::test]
async fn a_target_block_holds_writes_to_orders_until_it_is_dropped() {
    let (world, _dir) = small_world();
    assert!(world.block_target_apply().is_err(), "there is no table to lock yet");
    let mut target = admin(world.description(), Side::Target).await;
    target.query_drop("CREATE DATABASE shop").await.unwrap();
    target.query_drop("CREATE TABLE shop.orders (id INT PRIMARY KEY)").await.unwrap();
    let block = world.block_target_apply().unwrap();
    target.query_drop("SET lock_wait_timeout=1").await.unwrap();
    assert!(target.query_drop("INSERT INTO shop.orders VALUES (1)").await.is_err());
    drop(block);
    target.query_drop("INSERT INTO shop.orders VALUES (1)").await.unwrap();
    target.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_killed_target_database_comes_back_with_what_was_committed() {
    let (world, _dir) = small_world();
    let mut target = admin(world.description(), Side::Target).await;
    target.query_drop("CREATE DATABASE kept").await.unwrap();
    world.kill_target_database().unwrap();
    assert!(target.query_drop("SELECT 1").await.is_err());
    assert!(target.query_drop("SELECT 1").await.is_err());
    world.restart_target_database().unwrap();
    let mut target = admin(world.description(), Side::Target).await;
    let kept: Option<String> = target.query_first("SHOW DATABASES LIKE 'kept'").await.unwrap();
    assert_eq!(kept.as_deref(), Some("kept"));
    target.disconnect().await.unwrap();
    world.check().unwrap();
}
