//! Questions of certificate authorities, while a site moves.

use crate::support::*;
use segue_model::Side;

const KNOWN: &str = "/.well-known/acme-challenge/known-to-";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn are_answered_by_whichever_side_knows_also_while_the_site_is_held() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let ask = async |side: &str, method: &str| {
        let path = format!("{KNOWN}{side}");
        let answer = within(&path, send(front.address, request(method, &path, ""))).await.unwrap();
        (answer.status.as_u16(), answer.side().to_owned())
    };
    for side in ["source", "target"] {
        assert_eq!(ask(side, "GET").await, (200, side.to_owned()));
        assert_eq!(ask(side, "HEAD").await, (200, side.to_owned()));
    }
    assert_eq!(ask("nobody", "GET").await, (404, "source".to_owned()));
    assert!(done(&front.hold("h1").await));
    assert_eq!(ask("target", "GET").await, (200, "target".to_owned()));
    // What a server may take for another path passes no hold.
    let elsewhere = later(front.address, "GET", "/.well-known/acme-challenge/..%2f..%2fcart");
    front.held(1).await;
    assert!(done(&front.seal("h1").await));
    assert_eq!(ask("source", "GET").await, (200, "source".to_owned()));
    assert!(done(&front.release("h1", Side::Target).await));
    assert_eq!(within("released", elsewhere).await.unwrap().unwrap().side(), "target");
    assert_eq!(ask("source", "GET").await, (200, "source".to_owned()));
    assert_eq!(ask("nobody", "GET").await, (404, "target".to_owned()));
    let stats = front.stats().await;
    // Two of its own, two for the target, one for nobody, three later ones, and the last.
    assert_eq!(stats.sides.source.requests, 2 + 2 + 1 + 1 + 1 + 1 + 1);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_that_is_down_hides_nothing_the_other_knows() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let down = front.route_to(free_address(), target.address).await;
    assert!(done(&down), "{down:?}");
    let path = format!("{KNOWN}target");
    let answer = get(front.address, &path).await;
    assert_eq!((answer.status.as_u16(), answer.side()), (200, "target"));
    let answer = get(front.address, &format!("{KNOWN}nobody")).await;
    assert_eq!((answer.status.as_u16(), answer.side()), (502, "source"));
    // What only looks like such a question is held and sent as everything else.
    assert_eq!(post(front.address, &path, "x").await.status, 502);
    front.stop().await;
}
