use super::{own, refused, set};
use segue_model::plan::{AuthorityPlan, Plan, SecretRef, TsigKey, ZoneGuard};

fn key(plan: &mut Plan) -> &mut TsigKey {
    match &mut plan.unit.zones[0].authority {
        AuthorityPlan::Update { key, .. } => key,
        other => panic!("{other:?}"),
    }
}

#[test]
fn refuses_zones() {
    const SERVERS: &str = "SG0716 zone[example.test].servers";
    refused(&[
        ("primary missing", |p| p.unit.zones[0].servers.truncate(0), &[SERVERS]),
        (
            "server twice",
            |p| {
                let primary = p.unit.zones[0].servers[0];
                p.unit.zones[0].servers.push(primary);
            },
            &["SG0705 zone[example.test].servers"],
        ),
        (
            "unknown algorithm",
            |p| key(p).algorithm = "hmac-md5".into(),
            &["SG0717 zone[example.test].key.algorithm"],
        ),
        ("no key name", |p| key(p).name.clear(), &["SG0717 zone[example.test].key.name"]),
        (
            "a secret itself",
            |p| key(p).secret = SecretRef("c2VjcmV0Cg==".into()),
            &["SG0718 zone[example.test].key.secret"],
        ),
        (
            "ttl",
            |p| p.unit.zones[0].lowered_ttl_s = 0,
            &["SG0725 zone[example.test].lowered_ttl_s"],
        ),
        (
            "ttl of the others",
            |p| p.unit.zones[0].lowered_other_ttl_s = 3601,
            &["SG0725 zone[example.test].lowered_other_ttl_s"],
        ),
        (
            "zone twice",
            |p| {
                let again = p.unit.zones[0].clone();
                p.unit.zones.push(again);
            },
            &["SG0705 zone[example.test]"],
        ),
        (
            "nothing owned",
            |p| p.unit.zones[0].records.clear(),
            &["SG0714 zone[example.test].record"],
        ),
    ]);
}

#[test]
fn refuses_records() {
    refused(&[
        (
            "outside the zone",
            |p| own(p, set("www.badexample.test", "TXT", &["\"a\""], &["\"b\""])),
            &["SG0711 zone[example.test].record[www.badexample.test TXT].name"],
        ),
        (
            "trailing dot",
            |p| own(p, set("a.example.test.", "TXT", &["\"a\""], &["\"b\""])),
            &["SG0711 zone[example.test].record[a.example.test. TXT].name"],
        ),
        (
            "several targets",
            |p| own(p, set("a.example.test", "CNAME", &["b.test.", "c.test."], &["d.test."])),
            &["SG0712 zone[example.test].record[a.example.test CNAME].source"],
        ),
        (
            "CNAME beside A",
            |p| own(p, set("www.example.test", "CNAME", &["b.test."], &["d.test."])),
            &["SG0712 zone[example.test].record[www.example.test]"],
        ),
        (
            "the zone's NS",
            |p| own(p, set("example.test", "NS", &["ns.test."], &["ns.test."])),
            &["SG0713 zone[example.test].record[example.test NS]"],
        ),
        (
            "the zone's NS to none",
            |p| {
                p.unit.zones[0].allow.push(ZoneGuard::ApexNs);
                own(p, set("example.test", "NS", &["ns.test."], &[]));
            },
            &["SG0713 zone[example.test].record[example.test NS]"],
        ),
        (
            "the zone's NS, meant",
            |p| {
                p.unit.zones[0].allow.push(ZoneGuard::ApexNs);
                own(p, set("example.test", "NS", &["ns.test."], &["ns2.test."]));
            },
            &[],
        ),
        (
            "no data",
            |p| own(p, set("a.example.test", "TXT", &[], &[])),
            &["SG0714 zone[example.test].record[a.example.test TXT].source"],
        ),
        (
            "owned twice",
            |p| {
                let again = p.unit.zones[0].records[0].clone();
                own(p, again);
            },
            &["SG0715 zone[example.test].record[www.example.test A]"],
        ),
        (
            "a signer's type",
            |p| own(p, set("a.example.test", "RRSIG", &["x"], &["y"])),
            &["SG0730 zone[example.test].record[a.example.test RRSIG].type"],
        ),
    ]);
}

#[test]
fn refuses_addresses_without_a_front() {
    refused(&[
        (
            "no address",
            |p| own(p, set("a.example.test", "AAAA", &["192.0.2.10"], &["::g"])),
            &[
                "SG0730 zone[example.test].record[a.example.test AAAA].source",
                "SG0730 zone[example.test].record[a.example.test AAAA].target",
            ],
        ),
        (
            "no front there",
            |p| own(p, set("a.example.test", "A", &["192.0.2.10"], &["203.0.113.99"])),
            &["SG0710 zone[example.test].record[a.example.test A].target"],
        ),
        (
            "no front there, IPv6",
            |p| own(p, set("a.example.test", "AAAA", &["2001:db8::1"], &["2001:db8::2"])),
            &[
                "SG0710 zone[example.test].record[a.example.test AAAA].source",
                "SG0710 zone[example.test].record[a.example.test AAAA].target",
            ],
        ),
        (
            "sides exchanged",
            |p| own(p, set("a.example.test", "A", &["203.0.113.20"], &["203.0.113.20"])),
            &["SG0709 zone[example.test].record[a.example.test A].source"],
        ),
    ]);
}
