//! Audits of zones on real servers.

use crate::named::{Named, Role, ZONE};
use crate::primaries::{Lab, Make, Server};
use crate::world::{World, shop};
use segue_dns::audit::{Audit, From, Question, audit};
use segue_model::plan::{AuthorityPlan, SecretRef};
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

/// By every way of a provider the same zone is seen: the API of a real PowerDNS, a program, a
/// zone file, transfers, and stand-ins of two clouds.
#[tokio::test]
async fn sees_the_same_by_every_way_of_a_provider() {
    let mut seen_by = Vec::new();
    let makes = [Make::Bind, Make::PowerDnsApi, Make::ZoneFile, Make::Command];
    for make in makes.into_iter().chain([Make::Route53, Make::Cloudflare]) {
        let lab = Lab::start(make, ZONE).await;
        let plan = lab.plan(shop());
        let kind = plan.authority.kind();
        let servers = lab.servers.clone();
        let from = From::Provider(Box::new(plan));
        let audit = seen(&Question { servers, ..question(from) }).await;
        assert!(audit.whole, "{make:?}: {:?}", audit.unknown);
        assert!(audit.read.starts_with(&format!("`{kind}` at ")), "{}", audit.read);
        for server in &audit.servers {
            assert_eq!(server.differing, 0, "{make:?}: {server:?}");
            // Stand-ins of name servers know no referral, real ones show it.
            assert!(server.compared >= 12, "{make:?}: {server:?}");
        }
        let led: Vec<String> = audit.pointers.iter().map(|p| p.name.clone()).collect();
        seen_by.push((make, audit.records, led, audit.dangling, audit.spf));
    }
    let (_, _, led, dangling, spf) = &seen_by[0];
    assert_eq!(led.len(), 4);
    for (make, records, leads, lost, mail) in &seen_by {
        // The zone's own NS are Cloudflare's, and no records there: its servers show them.
        assert_eq!((*records, leads, lost, mail), (15, led, dangling, spf), "{make:?}");
    }
}

/// What a provider answers with data that no record shows is not known, and leads somewhere.
#[tokio::test]
async fn what_a_provider_makes_up_is_not_known_and_no_mistake() {
    // Something leads to each.
    let zone = format!("{ZONE}leads CNAME tenant\n");
    for make in [Make::PowerDnsApi, Make::Route53, Make::Cloudflare] {
        let lab = Lab::start(make, &zone).await;
        match &lab.server {
            Server::Route53(cloud) => cloud.alias("tenant.example.test"),
            Server::Cloudflare(cloud) => cloud.proxy("tenant.example.test"),
            _ => lab.powerdns_alias("tenant.example.test."),
        }
        let from = From::Provider(Box::new(lab.plan(shop())));
        let audit = seen(&Question { servers: lab.servers.clone(), ..question(from) }).await;
        assert!(!audit.whole, "{make:?}");
        let unknown: Vec<_> = audit.unknown.iter().filter(|t| t.contains("tenant")).collect();
        assert!(!unknown.is_empty(), "{make:?}: {:?}", audit.unknown);
        assert_eq!(audit.dangling, [], "{make:?}");
    }
}

#[tokio::test]
async fn a_provider_that_refuses_says_so_and_leaks_nothing() {
    let lab = Lab::start(Make::PowerDnsApi, ZONE).await;
    let mut plan = lab.plan(shop());
    let secret = crate::named::SECRETS[1];
    let place = crate::named::secret_file(lab.dir.path(), secret).display().to_string();
    let AuthorityPlan::Powerdns { key, .. } = &mut plan.authority else { panic!() };
    *key = SecretRef(format!("file:{place}"));
    let fault = audit(&question(From::Provider(Box::new(plan)))).await.unwrap_err();
    assert_eq!(fault.code, "SG0318", "{fault}");
    assert!(!format!("{fault:?}").contains(secret));
}
