//! What a front knows after its process ended in whatever way.

use crate::support::*;
use segue_front::control::{HoldStatus, Reply, Request as Ask};
use segue_model::Side;

/// Ends the front without a word, as `kill -9` would.
async fn killed(front: Running) -> std::sync::Arc<tempfile::TempDir> {
    front.task.abort();
    until("it is gone", async || front.task.is_finished()).await;
    front.folder.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_routes_claim_and_a_sealed_hold() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let listen = front.address;
    assert!(done(&front.hold("h1").await));
    assert!(done(&front.seal("h1").await));
    let generation = front.hello().await.generation;
    let folder = killed(front).await;

    let again = options(folder.path(), listen, source.address);
    let front = Running::start(again, quick(), folder).await;
    let hello = front.hello().await;
    assert_eq!((hello.claim.clone(), hello.generation), (Some(run_id()), generation));
    let sealed = HoldStatus::Sealed { hold_id: "h1".into() };
    assert_eq!(hello.unit(&unit()).unwrap().hold, sealed);
    let waiting = later(front.address, "POST", "/order");
    front.held(1).await;
    assert!(done(&front.release("h1", Side::Target).await));
    assert_eq!(within("its answer", waiting).await.unwrap().unwrap().side(), "target");
    assert!(source.paths().is_empty());

    let folder = front.stop().await;
    let again = options(folder.path(), listen, source.address);
    let front = Running::start(again, quick(), folder).await;
    assert_eq!(get(front.address, "/").await.side(), "target", "the route came back too");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comes_up_released_to_the_write_side_after_a_leased_hold() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let listen = front.address;
    assert!(done(&front.hold("h1").await));
    let folder = killed(front).await;

    let again = options(folder.path(), listen, target.address);
    let front = Running::start(again, quick(), folder).await;
    assert_eq!(get(front.address, "/").await.side(), "source");
    assert!(matches!(front.seal("h1").await, Ok(Reply::Lapsed { .. })), "it did not last");
    assert_eq!(code(front.hold("h1").await), "SG0116", "its name is used up");
    assert!(done(&front.hold("h2").await));
    assert!(done(&front.seal("h2").await));
    let (mark, hold_id) = (front.mark(), "h2".into());
    let unseal = Ask::Unseal { mark, unit: unit(), hold_id, lease_ms: 50 };
    assert!(done(&front.ask(unseal).await));
    until("the lease is over", async || front.status().await.hold == HoldStatus::Open).await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_start_from_a_damaged_state_file() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("state.json"), "{\"version\":1,").unwrap();
    let options = options(folder.path(), free_address(), free_address());
    let ended = segue_front::run_until(options, quick(), std::future::pending()).await;
    assert_eq!(ended.unwrap_err().code, "SG0120");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_nothing_that_cannot_be_written_down() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    assert!(done(&front.hold("h1").await));
    // The file is exchanged, and a folder is in the place of the next one: it cannot be written.
    std::fs::remove_file(front.folder.path().join("state.json")).unwrap();
    std::fs::create_dir(front.folder.path().join("state.json.next")).unwrap();
    assert_eq!(code(front.seal("h1").await), "SG0120");
    assert!(matches!(front.status().await.hold, HoldStatus::Leased { .. }));
    assert_eq!(code(front.set_route(&shop, &shop, 1).await), "SG0116");
    let fault = front.release("h1", Side::Source).await.unwrap_err();
    assert_eq!(fault.effect, segue_model::EffectLeft::Done, "the pause ended all the same");
    assert_eq!(front.status().await.hold, HoldStatus::Open);
    assert_eq!(code(front.hold("h2").await), "SG0120");
    assert_eq!(front.status().await.hold, HoldStatus::Open);
    // With room again the next change brings along what could not be written.
    std::fs::remove_dir(front.folder.path().join("state.json.next")).unwrap();
    assert!(done(&front.hold("h2").await));
    assert!(done(&front.seal("h2").await));
    let (listen, folder) = (front.address, killed(front).await);
    let again = options(folder.path(), listen, shop.address);
    let front = Running::start(again, quick(), folder).await;
    let sealed = HoldStatus::Sealed { hold_id: "h2".into() };
    assert_eq!(front.status().await.hold, sealed);
    front.stop().await;
}
