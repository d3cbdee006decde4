//! Audits of zones on real servers.

use crate::named::{Named, Role, ZONE};
use crate::world::{World, shop};
use segue_dns::audit::{Audit, From, Question, audit};
use std::net::SocketAddr;

fn question(from: From) -> Question {
    Question {
        zone: "example.test".into(),
        from,
        sources: vec!["127.0.0.11".parse().unwrap()],
        ca: None,
        servers: Vec::new(),
        parents: Vec::new(),
    }
}

fn file(dir: &std::path::Path, text: &str) -> From {
    let file = dir.join("audited.zone");
    std::fs::write(&file, text).unwrap();
    From::File(file)
}

async fn seen(question: &Question) -> Audit {
    audit(question).await.unwrap_or_else(|fault| panic!("{fault}"))
}

#[tokio::test]
async fn sees_the_same_by_transfer_and_by_zone_file() {
    let world = World::start().await;
    let servers: Vec<SocketAddr> = vec![world.primary.address, world.secondary.address];
    let key = Some(crate::world::key(&mut world.plan(shop())).clone());
    let from = From::Transfer { server: world.primary.address, key };
    let by_transfer = seen(&Question { servers: servers.clone(), ..question(from) }).await;
    let from = file(world.dir.path(), ZONE);
    let by_file = seen(&Question { servers, ..question(from) }).await;
    assert!(by_transfer.whole && by_transfer.records == 15, "{}", by_transfer.records);
    let facts = |audit: &Audit| {
        let audit = Audit { read: String::new(), ..audit.clone() };
        serde_json::to_value(audit).unwrap()
    };
    assert_eq!(facts(&by_transfer), facts(&by_file));
    for server in &by_transfer.servers {
        assert_eq!((server.serial, server.differing), (Some(1), 0), "{server:?}");
        assert!(server.compared >= 12, "{server:?}");
    }
    let led: Vec<&str> = by_transfer.pointers.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(led, ["example.test", "pay.example.test", "shop.example.test", "www.example.test"]);
}

#[tokio::test]
async fn tells_which_server_differs_and_which_is_silent() {
    let dir = tempfile::tempdir().unwrap();
    let other = ZONE.replace("shop 20 A 127.0.0.11", "shop 20 A 127.0.0.99");
    let named = Named::start(dir.path(), "other", &other, &Role::Deaf);
    let silent = SocketAddr::from(([127, 0, 0, 1], 1));
    let servers = vec![named.address, silent];
    let audit = seen(&Question { servers, ..question(file(dir.path(), ZONE)) }).await;
    let of = |address| audit.servers.iter().find(|server| server.address == address).unwrap();
    assert_eq!(of(named.address).differing, 1);
    let told = of(named.address).findings.concat();
    assert!(told.contains("127.0.0.99") && told.contains("127.0.0.11"), "{told}");
    assert_eq!(of(silent).serial, None);
    assert_eq!(of(silent).findings.len(), 1);
}

#[tokio::test]
async fn says_what_it_cannot_know() {
    let world = World::start().await;
    let unsigned = question(From::Transfer { server: world.primary.address, key: None });
    assert_eq!(audit(&unsigned).await.unwrap_err().code, "SG0307");
    let names = vec!["pay.example.test".to_owned()];
    let from = From::Questions { server: world.primary.address, names };
    let audit = seen(&Question { servers: vec![world.primary.address], ..question(from) }).await;
    assert!(!audit.whole);
    let unknown = audit.unknown.join("\n");
    assert!(unknown.contains("names that were not asked for"), "{unknown}");
    assert!(unknown.contains("no server of the parent was named"), "{unknown}");
    let led: Vec<&str> = audit.pointers.iter().map(|p| p.name.as_str()).collect();
    assert!(led.contains(&"pay.example.test") && led.contains(&"shop.example.test"), "{led:?}");
}

#[tokio::test]
async fn compares_the_parent_with_the_zone() {
    let dir = tempfile::tempdir().unwrap();
    let delegation = "$ORIGIN child.example.test.\n\
        @ 7200 NS ns.child.example.test.\n@ 7200 NS ns.gone.test.\nns 7200 A 192.0.2.1\n\
        @ 300 DS 1 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
    let parent = Named::start(dir.path(), "parent", &format!("{ZONE}{delegation}"), &Role::Deaf);
    let child = "@ 60 SOA ns host 5 1h 1h 1h 60\n@ 60 NS ns\n@ 60 NS ns2\n\
        ns 60 A 192.0.2.2\nns2 60 A 192.0.2.3\n";
    let asked = Question {
        zone: "child.example.test".into(),
        parents: vec![SocketAddr::from(([127, 0, 0, 1], 1)), parent.address],
        // Nobody serves it here.
        servers: vec![SocketAddr::from(([127, 0, 0, 1], 1))],
        ..question(file(dir.path(), child))
    };
    let audit = seen(&asked).await;
    let found = audit.parent.unwrap();
    assert_eq!((found.address, found.ttl_s), (parent.address, 7200));
    let told = found.findings.join("\n");
    assert!(told.contains("the parent names `ns.gone.test`, the zone does not"), "{told}");
    assert!(told.contains("the zone names `ns2.child.example.test`"), "{told}");
    assert!(told.contains("is [192.0.2.1], the zone has [192.0.2.2]"), "{told}");
    assert!(audit.signing.wrong.concat().contains("bogus"), "{:?}", audit.signing);
}
