//! How a change spreads, seen at real servers that are asked as resolvers are.

use crate::named::{Named, Role, ZONE};
use crate::world::{World, done, set};
use segue_dns::watch::{Question, Verdict, watch};
use segue_model::event::Phase;
use std::net::SocketAddr;
use std::time::Duration;

fn question(resolvers: Vec<SocketAddr>) -> Question {
    Question {
        name: "shop.example.test".into(),
        rtype: "A".into(),
        former: vec!["127.0.0.11".into()],
        former_ttl_s: 20,
        wanted: vec!["127.0.0.12".into()],
        published_at_ms: None,
        resolvers,
        every: Duration::from_secs(1),
        time: Duration::from_millis(1500),
    }
}

#[tokio::test]
async fn tells_new_within_ttl_overstaying_other_and_failing() {
    let dir = tempfile::tempdir().unwrap();
    let serve = |name: &str, address: &str| {
        let zone = ZONE.replace("shop 20 A 127.0.0.11", &format!("shop 20 A {address}"));
        Named::start(dir.path(), name, &zone, &Role::Deaf)
    };
    let former = serve("former", "127.0.0.11");
    let new = serve("new", "127.0.0.12");
    let other = serve("other", "192.0.2.9");
    let silent = SocketAddr::from(([127, 0, 0, 1], 1));
    let resolvers = vec![former.address, new.address, other.address, silent];
    let mut told = 0;
    let curve = watch(&question(resolvers.clone()), |_, _| told += 1).await.unwrap();
    let word = |curve: &segue_dns::watch::Curve, server: SocketAddr| curve.last()[&server].word();
    assert_eq!(word(&curve, former.address), "within TTL");
    assert_eq!(word(&curve, new.address), "new");
    assert_eq!(word(&curve, other.address), "other");
    assert_eq!(word(&curve, silent), "failing");
    assert!(!curve.is_everywhere());
    assert_eq!(curve.eta_s(), None, "nobody knows when the one that fails has it");
    assert_eq!(told, 4, "a verdict is told when it changes");

    // The same answers long after the TTL.
    let asked = Question { published_at_ms: Some(1), ..question(vec![former.address]) };
    let curve = watch(&asked, |_, _| {}).await.unwrap();
    assert!(matches!(curve.last()[&former.address], Verdict::Overstaying { by_s } if by_s > 1000));
    let same = Question { wanted: vec!["127.0.0.11".into()], ..asked };
    assert_eq!(watch(&same, |_, _| {}).await.unwrap_err().code, "SG0301");
}

#[tokio::test]
async fn ends_when_the_last_one_has_it() {
    let world = World::start().await;
    let resolvers = vec![world.primary.address, world.secondary.address];
    let asked = Question { time: Duration::from_secs(20), ..question(resolvers) };
    let zone = world.zone(vec![set("shop", "A", &["127.0.0.11"], &["127.0.0.12"])]);
    let (sender, mut first) = tokio::sync::mpsc::channel(8);
    let watching = tokio::spawn(async move {
        watch(&asked, |seen, _| {
            let _ = sender.try_send(seen.verdict.clone());
        })
        .await
    });
    // Only once both were seen with the former data is it published.
    for _ in 0..2 {
        assert_eq!(first.recv().await.unwrap().word(), "within TTL");
    }
    done(&zone.publish(), Phase::Cutover).await;
    let curve = watching.await.unwrap().unwrap();
    assert!(curve.is_everywhere());
    assert!(curve.reached().iter().all(|reached| reached.after_ms.is_some()));
    assert_eq!(curve.eta_s(), Some(0));
}
