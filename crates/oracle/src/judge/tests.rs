//! Each claim is proved by planting the fault that it is about.
#![allow(clippy::unwrap_used)]

use super::*;

fn request(kind: Kind, status: u16) -> Request {
    Request {
        client: "c1".into(),
        seq: None,
        kind,
        intended_ms: 1000,
        sent_ms: Some(1000),
        latency_ms: 4.2,
        address: Some("127.0.0.11:80".into()),
        status: Some(status),
        ok: true,
        fail: None,
        resolver: "honest".into(),
    }
}

fn ack(kind: Kind, client: &str, seq: Option<u64>, key: Option<&str>) -> Ack {
    let hash = (kind == Kind::Upload).then(|| "h1".to_owned());
    Ack { kind, client: client.into(), seq, key: key.map(str::to_owned), hash, at_ms: 1004 }
}

fn order(id: u64, client: &str, seq: u64) -> Order {
    Order { id, client: client.into(), seq, lines: 3 }
}

fn row(id: u64, revision: u64, body: &str) -> TenantWrite {
    TenantWrite { id, revision, body: body.into() }
}

fn lines(text: &[&str]) -> Vec<String> {
    text.iter().map(|line| (*line).to_owned()).collect()
}

/// Two clients with three orders, an upload, sessions, visits, jobs, and a tenant: all well.
fn clean() -> Evidence {
    Evidence {
        requests: vec![
            request(Kind::Login, 204),
            request(Kind::Order, 201),
            request(Kind::Order, 201),
            request(Kind::Order, 201),
            request(Kind::Upload, 201),
            request(Kind::Account, 200),
            request(Kind::Account, 200),
            Request { latency_ms: 5100.0, ..request(Kind::Report, 200) },
        ],
        acks: vec![
            ack(Kind::Login, "c1", None, Some("t1")),
            ack(Kind::Order, "c1", Some(1), None),
            ack(Kind::Order, "c1", Some(2), None),
            ack(Kind::Order, "c2", Some(1), None),
            ack(Kind::Upload, "c1", None, Some("abc")),
            ack(Kind::Account, "c1", None, None),
            ack(Kind::Account, "c1", None, None),
        ],
        jobs: vec!["source-1".into(), "target-1".into()],
        publish: None,
        held: Held {
            orders: vec![order(11, "c1", 1), order(12, "c2", 1), order(13, "c1", 2)],
            past_orders: Some((5, 5)),
            visits: HashMap::from([("c1".to_owned(), 2)]),
            jobs: HashMap::from([("source-1".to_owned(), 1), ("target-1".to_owned(), 1)]),
            uploads: HashMap::from([("abc".to_owned(), "h1".to_owned())]),
            sessions: HashMap::from([("t1".to_owned(), Some(2))]),
        },
        elsewhere: Some(HashSet::from([("c1".to_owned(), 1)])),
        foreign: Foreign {
            tenant: Some(Tenant {
                writes: vec![row(1, 0, "one"), row(2, 0, "two"), row(1, 1, "ONE")],
                sure: 3,
                rows: vec![row(1, 1, "ONE"), row(2, 0, "two")],
                archive: Some((77, Some(77))),
                at_target: false,
            }),
            zone: Some(Zone {
                before: lines(&[
                    "example.test. 3600 IN SOA ns1 host 1 2 3 4 5",
                    "shop.example.test. 20 IN A 127.0.0.11",
                    "tenant.example.test.  300  IN A 127.0.0.41",
                ]),
                after: lines(&[
                    "example.test. 3600 IN SOA ns1 host 9 2 3 4 5",
                    "shop.example.test. 20 IN A 127.0.0.12",
                    "tenant.example.test. 300 IN A 127.0.0.41",
                ]),
                owned: lines(&["shop.example.test"]),
            }),
        },
    }
}

/// The verdict on the clean evidence with a planted fault.
fn with(plant: impl FnOnce(&mut Evidence)) -> Verdict {
    let mut evidence = clean();
    plant(&mut evidence);
    judge(&evidence)
}

fn tenant(evidence: &mut Evidence) -> &mut Tenant {
    evidence.foreign.tenant.as_mut().unwrap()
}

fn zone(evidence: &mut Evidence) -> &mut Zone {
    evidence.foreign.zone.as_mut().unwrap()
}

/// `[failed, lost, doubled, out of order, foreign]`, and no pass unless all are zero.
fn counts(verdict: &Verdict) -> [u64; 5] {
    let counts = [
        verdict.failed_requests,
        verdict.lost_writes,
        verdict.doubled_writes,
        verdict.out_of_order_per_client,
        verdict.foreign_bytes_changed,
    ];
    assert_eq!(verdict.detail.pass, counts == [0; 5]);
    counts
}

#[test]
fn a_clean_run_passes() {
    let verdict = with(|_| {});
    assert_eq!(counts(&verdict), [0; 5], "{:?}", verdict.detail);
    assert!(verdict.detail.pass);
    assert_eq!((verdict.requests, verdict.acknowledged_writes), (8, 9));
    assert_eq!(verdict.longest_request_ms, 100, "a report takes five seconds by nature");
    assert_eq!(verdict.requests_at_former_address_after_publish, None);
    assert_eq!(verdict.detail.orders_only_at_the_other_side, Some(0));
}

#[test]
fn finds_a_lost_order() {
    let verdict = with(|it| drop(it.held.orders.remove(1)));
    assert_eq!(counts(&verdict), [0, 1, 0, 0, 0]);
    assert!(verdict.detail.lost.first[0].contains("order c2/1"));
}

#[test]
fn finds_an_order_without_its_lines() {
    assert_eq!(counts(&with(|it| it.held.orders[0].lines = 0)), [0, 1, 0, 0, 0]);
}

#[test]
fn finds_a_lost_order_that_only_the_other_side_holds() {
    let verdict = with(|it| drop(it.held.orders.remove(0)));
    assert_eq!(verdict.detail.orders_only_at_the_other_side, Some(1));
}

#[test]
fn finds_a_doubled_order_acknowledged_or_not() {
    let acknowledged = with(|it| it.held.orders.push(order(14, "c2", 1)));
    assert_eq!(counts(&acknowledged), [0, 0, 1, 0, 0]);
    let not = with(|it| it.held.orders.extend([order(14, "c2", 9), order(15, "c2", 9)]));
    assert_eq!(counts(&not), [0, 0, 1, 0, 0]);
}

#[test]
fn an_order_that_was_not_acknowledged_may_be_there_or_not() {
    assert_eq!(counts(&with(|it| it.held.orders.push(order(14, "c2", 2)))), [0; 5]);
}

#[test]
fn finds_orders_of_a_client_in_the_wrong_order() {
    let verdict = with(|it| {
        it.held.orders[0].id = 13;
        it.held.orders[2].id = 11;
    });
    assert_eq!(counts(&verdict), [0, 0, 0, 1, 0]);
    assert!(verdict.detail.out_of_order.first[0].contains("client c1"));
}

#[test]
fn an_order_without_acknowledgement_has_no_place_in_the_row() {
    assert_eq!(counts(&with(|it| it.held.orders.push(order(10, "c1", 7)))), [0; 5]);
}

#[test]
fn finds_orders_of_the_past_that_vanished_or_multiplied() {
    assert_eq!(counts(&with(|it| it.held.past_orders = Some((5, 3)))), [0, 2, 0, 0, 0]);
    assert_eq!(counts(&with(|it| it.held.past_orders = Some((5, 6)))), [0, 0, 1, 0, 0]);
}

#[test]
fn finds_a_lost_and_a_doubled_job() {
    let lost = with(|it| {
        it.held.jobs.remove("target-1");
    });
    assert_eq!(counts(&lost), [0, 1, 0, 0, 0]);
    let doubled = with(|it| {
        it.held.jobs.insert("source-1".into(), 2);
    });
    assert_eq!(counts(&doubled), [0, 0, 1, 0, 0]);
}

#[test]
fn finds_a_lost_and_a_spoiled_upload() {
    assert_eq!(counts(&with(|it| it.held.uploads.clear())), [0, 1, 0, 0, 0]);
    let spoiled = with(|it| drop(it.held.uploads.insert("abc".into(), "h2".into())));
    assert_eq!(counts(&spoiled), [0, 1, 0, 0, 0]);
}

#[test]
fn finds_lost_visits_in_the_database() {
    let fewer = with(|it| {
        it.held.visits.insert("c1".into(), 1);
    });
    assert_eq!(counts(&fewer), [0, 1, 0, 0, 0]);
    assert_eq!(counts(&with(|it| it.held.visits.clear())), [0, 2, 0, 0, 0]);
    let more = with(|it| {
        it.held.visits.insert("c1".into(), 3);
    });
    assert_eq!(counts(&more), [0; 5], "a visit may count without its answer arriving");
}

#[test]
fn finds_a_session_that_is_gone_damaged_or_behind() {
    assert_eq!(counts(&with(|it| it.held.sessions.clear())), [0, 1, 0, 0, 0]);
    for (visits, lost) in [(None, 1), (Some(0), 2), (Some(5), 0)] {
        let verdict = with(|it| {
            it.held.sessions.insert("t1".into(), visits);
        });
        assert_eq!(counts(&verdict), [0, lost, 0, 0, 0], "{visits:?}");
    }
}

#[test]
fn visits_count_for_the_session_of_the_last_login() {
    let verdict = with(|it| {
        it.acks.push(ack(Kind::Login, "c1", None, Some("t2")));
        it.held.sessions.insert("t2".into(), Some(0));
    });
    assert_eq!(counts(&verdict), [0; 5]);
}

#[test]
fn finds_every_change_of_a_tenants_rows() {
    let changed = with(|it| tenant(it).rows[1].body = "tWO!".into());
    assert_eq!(counts(&changed), [0, 0, 0, 0, 3]);
    assert_eq!(counts(&with(|it| drop(tenant(it).rows.remove(0)))), [0, 0, 0, 0, 3]);
    assert_eq!(counts(&with(|it| tenant(it).rows[0].revision = 0)), [0, 0, 0, 0, 1]);
    assert_eq!(counts(&with(|it| tenant(it).rows.push(row(9, 0, "")))), [0, 0, 0, 0, 1]);
    assert_eq!(counts(&with(|it| tenant(it).archive = Some((77, Some(78))))), [0, 0, 0, 0, 1]);
    assert_eq!(counts(&with(|it| tenant(it).archive = Some((77, None)))), [0, 0, 0, 0, 1]);
    assert_eq!(counts(&with(|it| tenant(it).at_target = true)), [0, 0, 0, 0, 1]);
}

#[test]
fn a_tenant_may_write_while_its_table_is_read_but_lose_nothing() {
    let later = |it: &mut Evidence| {
        tenant(it).writes.extend([row(3, 0, "three"), row(2, 1, "TWO")]);
    };
    assert_eq!(counts(&with(later)), [0; 5], "written after the table was read");
    let shown = |it: &mut Evidence| {
        later(it);
        tenant(it).rows.push(row(3, 0, "three"));
    };
    assert_eq!(counts(&with(shown)), [0; 5], "the first was written before, the second after");
    let hole = |it: &mut Evidence| {
        later(it);
        tenant(it).rows[1] = row(2, 1, "TWO");
    };
    assert_eq!(counts(&with(hole)), [0, 0, 0, 0, 5], "the second shows, so the first is lost");
    let sure = |it: &mut Evidence| {
        later(it);
        tenant(it).sure = 5;
    };
    assert_eq!(counts(&with(sure)), [0, 0, 0, 0, 8], "both were acknowledged before");
}

#[test]
fn finds_every_change_of_foreign_records_and_no_other() {
    let (line, short) =
        ("tenant.example.test. 300 IN A 127.0.0.41", "tenant.example.test. 60 IN A 127.0.0.41");
    let gone = with(|it| drop(zone(it).after.remove(2)));
    assert_eq!(counts(&gone), [0, 0, 0, 0, line.len() as u64]);
    let ttl = with(|it| zone(it).after[2] = short.into());
    assert_eq!(counts(&ttl), [0, 0, 0, 0, (line.len() + short.len()) as u64]);
    let below = "x.shop.example.test. 20 IN A 127.0.0.11".to_owned();
    let added = with(|it| zone(it).after.push(below));
    assert!(counts(&added)[4] > 0, "a name below an owned name is not owned");
    let own = with(|it| zone(it).after.push("SHOP.example.test. 20 IN AAAA ::1".into()));
    assert_eq!(counts(&own), [0; 5]);
}

#[test]
fn counts_failures_by_kind_and_reason_and_lists_the_first() {
    let verdict = with(|it| {
        for number in 0..30 {
            it.requests.push(Request {
                ok: false,
                fail: Some("reset".into()),
                intended_ms: 5000 - number,
                ..request(Kind::Catalogue, 200)
            });
        }
    });
    assert_eq!(counts(&verdict), [30, 0, 0, 0, 0]);
    assert_eq!(verdict.detail.kinds[&Kind::Catalogue].failed, 30);
    assert_eq!(verdict.detail.fails["reset"], 30);
    assert_eq!(verdict.detail.first_failures.len(), LISTED);
    assert_eq!(verdict.detail.first_failures[0].intended_ms, 4971);
}

#[test]
fn does_not_take_the_ledgers_word_for_a_good_request() {
    let wrong = with(|it| it.requests.push(request(Kind::Order, 200)));
    assert_eq!(wrong.detail.fails["status 200"], 1);
    let late = |kind, latency_ms| {
        with(|it| it.requests.push(Request { latency_ms, ..request(kind, 200) })).failed_requests
    };
    assert_eq!(late(Kind::Catalogue, 5001.0), 1);
    assert_eq!(late(Kind::Report, 9999.0), 0);
    assert_eq!(late(Kind::Report, 10_001.0), 1);
    let none = with(|it| {
        it.requests.push(Request { status: None, ..request(Kind::Static, 200) });
    });
    assert_eq!(none.failed_requests, 1);
}

#[test]
fn the_longest_request_counts_failed_ones_and_takes_off_what_is_normal() {
    let verdict = with(|it| {
        let ok = false;
        it.requests.push(Request { latency_ms: 5000.4, ok, ..request(Kind::Static, 200) });
    });
    assert_eq!(verdict.longest_request_ms, 5001);
}

#[test]
fn counts_requests_at_the_former_address_after_the_last_publishing() {
    let verdict = with(|it| {
        let at = |sent_ms, address: &str, resolver: &str| Request {
            sent_ms: Some(sent_ms),
            address: Some(address.into()),
            resolver: resolver.into(),
            ..request(Kind::Static, 200)
        };
        it.requests.extend([
            at(1999, "127.0.0.11:80", "honest"),
            at(2000, "127.0.0.11:80", "overstay"),
            at(2001, "127.0.0.12:80", "honest"),
            at(2002, "127.0.0.11:80", "min_ttl"),
            at(2003, "127.0.0.12:80", "honest"),
        ]);
        it.publish = Some(Publish {
            at_ms: 2000,
            former_address: "127.0.0.11:80".into(),
            address: "127.0.0.12:80".into(),
        });
    });
    assert_eq!(verdict.requests_at_former_address_after_publish, Some(2));
    assert_eq!(verdict.detail.share_at_former_address_after_publish, Some(0.5));
    assert_eq!(verdict.detail.former_address_by_resolver["overstay"], 1);
    assert!(verdict.detail.pass, "a straggler that was served is not a failure");
}

#[test]
fn tells_that_acknowledgements_are_missing_in_the_ledger() {
    let verdict = with(|it| drop(it.acks.remove(1)));
    assert_eq!(verdict.detail.ok_writes_without_ack, 1);
}

#[test]
fn a_script_reads_the_figures_in_the_promised_order() {
    let text = serde_json::to_string(&with(|_| {})).unwrap();
    let names = [
        "requests",
        "failed_requests",
        "acknowledged_writes",
        "lost_writes",
        "doubled_writes",
        "out_of_order_per_client",
        "longest_request_ms",
        "foreign_bytes_changed",
        "requests_at_former_address_after_publish",
        "detail",
    ];
    let places: Vec<_> = names.iter().map(|name| text.find(&format!("\"{name}\":"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
}
