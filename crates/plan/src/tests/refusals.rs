//! One row for every reason to refuse a plan.

use super::example;
use crate::check;
use segue_model::plan::{OwnedSet, Plan, SecretRef};
use segue_model::{Side, Sides, What};

type Change = fn(&mut Plan);

/// Applies the change and expects exactly these `code key` pairs.
fn refused(rows: &[(&str, Change, &[&str])]) {
    for (claim, change, expected) in rows {
        let mut plan = example();
        change(&mut plan);
        let problems = check(&plan);
        let got: Vec<_> = problems.iter().map(|p| format!("{} {}", p.code, p.key)).collect();
        assert_eq!(got, *expected, "{claim}: {problems:#?}");
        for problem in &problems {
            assert!(problem.text.len() > 8 && problem.remedy.len() > 8, "{claim}: {problem}");
        }
    }
}

fn set(name: &str, rtype: &str, source: &[&str], target: &[&str]) -> OwnedSet {
    let list = |data: &[&str]| data.iter().map(|&datum| datum.to_owned()).collect();
    OwnedSet {
        name: name.into(),
        rtype: rtype.into(),
        data: Sides { source: list(source), target: list(target) },
    }
}

fn own(plan: &mut Plan, owned: OwnedSet) {
    plan.unit.zones[0].records.push(owned);
}

#[test]
fn accepts_the_example() {
    assert_eq!(check(&example()), []);
}

#[test]
fn accepts_what_looks_unusual_and_is_right() {
    let rows: [Change; 7] = [
        |p| own(p, set("*.example.test", "A", &["192.0.2.10"], &["203.0.113.20"])),
        |p| own(p, set("_acme._tcp.example.test", "TXT", &["\"a\""], &["\"b\""])),
        |p| own(p, set("sub.example.test", "NS", &["ns.example.net."], &["ns.example.org."])),
        |p| p.unit.zones.clear(),
        |p| p.unit.trees.clear(),
        |p| p.policy.hold_age_max_ms = p.policy.pause_budget_ms,
        |p| p.unit.backends.target.access_log = Some("/var/log/a.log".into()),
    ];
    for (nth, change) in rows.into_iter().enumerate() {
        let mut plan = example();
        change(&mut plan);
        assert_eq!(check(&plan), [], "row {nth}");
    }
}

#[test]
fn refuses_names_and_hosts() {
    refused(&[
        ("empty plan name", |p| p.name.clear(), &["SG0703 name"]),
        ("slash", |p| p.name = "a/b".into(), &["SG0703 name"]),
        ("dots", |p| p.name = "..".into(), &["SG0703 name"]),
        ("long", |p| p.name = "a".repeat(65), &["SG0703 name"]),
        ("empty unit name", |p| p.unit.name = "".into(), &["SG0703 unit.name"]),
        ("space", |p| p.unit.name = "my shop".into(), &["SG0703 unit.name"]),
        ("no host", |p| p.unit.hosts.clear(), &["SG0704 unit.hosts"]),
        ("dot", |p| p.unit.hosts[0] = "a.test.".into(), &["SG0704 unit.hosts[#1]"]),
        ("capitals", |p| p.unit.hosts[1] = "A.test".into(), &["SG0704 unit.hosts[#2]"]),
        ("wildcard", |p| p.unit.hosts[0] = "*.a.test".into(), &["SG0704 unit.hosts[#1]"]),
        ("label", |p| p.unit.hosts[0] = "a..test".into(), &["SG0704 unit.hosts[#1]"]),
        ("hyphen", |p| p.unit.hosts[0] = "-a.test".into(), &["SG0704 unit.hosts[#1]"]),
        ("port", |p| p.unit.hosts[0] = "a.test:80".into(), &["SG0704 unit.hosts[#1]"]),
        ("a host twice", |p| p.unit.hosts[1] = p.unit.hosts[0].clone(), &["SG0705 unit.hosts"]),
    ]);
}

#[test]
fn refuses_backends_and_probes() {
    refused(&[
        (
            "one server for both",
            |p| p.unit.backends.target.address = p.unit.backends.source.address,
            &["SG0728 backend.target.address", "SG0709 front[source].listen"],
        ),
        (
            "no port",
            |p| p.unit.backends.target.address.set_port(0),
            &["SG0728 backend.target.address"],
        ),
        (
            "relative health path",
            |p| p.unit.backends.source.health_path = "healthz".into(),
            &["SG0728 backend.source.health_path"],
        ),
        (
            "relative log",
            |p| p.unit.backends.source.access_log = Some("access.log".into()),
            &["SG0729 backend.source.access_log"],
        ),
        (
            "no request at once",
            |p| p.unit.backends.source.concurrency = 0,
            &["SG0728 backend.source.concurrency"],
        ),
        ("path", |p| p.unit.probe.as_mut().unwrap().path = "a".into(), &["SG0724 probe.path"]),
        ("marker", |p| p.unit.probe.as_mut().unwrap().marker.clear(), &["SG0724 probe.marker"]),
        ("none", |p| p.unit.probe.as_mut().unwrap().per_second = 0, &["SG0724 probe.per_second"]),
        (
            "flood",
            |p| p.unit.probe.as_mut().unwrap().per_second = 1001,
            &["SG0724 probe.per_second"],
        ),
    ]);
}

#[test]
fn refuses_fronts() {
    refused(&[
        (
            "no front at the target",
            |p| drop(p.unit.fronts.remove(1)),
            &[
                "SG0706 front",
                "SG0710 zone[example.test].record[www.example.test A].target",
                "SG0710 zone[example.test].record[example.test A].target",
            ],
        ),
        (
            "no front at the source",
            |p| {
                p.unit.fronts.remove(0);
                p.unit.zones.clear();
            },
            &["SG0706 front"],
        ),
        ("one name", |p| p.unit.fronts[1].name = "source".into(), &["SG0705 front[source].name"]),
        ("no name", |p| p.unit.fronts[1].name.clear(), &["SG0703 front[#2].name"]),
        (
            "one address",
            |p| {
                p.unit.zones.clear();
                p.unit.backends.target.address.set_port(81);
                p.unit.fronts[0].listen = "203.0.113.20:80".parse().unwrap();
            },
            &["SG0705 front[target].listen"],
        ),
        (
            "one control socket",
            |p| p.unit.fronts[1].control = p.unit.fronts[0].control.clone(),
            &["SG0705 front[target].control"],
        ),
        (
            "one state file",
            |p| p.unit.fronts[1].state = p.unit.fronts[0].state.clone(),
            &["SG0705 front[target].state"],
        ),
        (
            "relative state",
            |p| p.unit.fronts[0].state = "state.json".into(),
            &["SG0729 front[source].state"],
        ),
        (
            "long socket path",
            |p| p.unit.fronts[0].control = format!("/{}", "a".repeat(107)).into(),
            &["SG0729 front[source].control"],
        ),
        ("no egress", |p| p.unit.fronts[0].egress = None, &["SG0707 front[source].egress"]),
        (
            "egress without take over",
            |p| p.unit.fronts[1].egress = Some("203.0.113.21".parse().unwrap()),
            &["SG0707 front[target].egress"],
        ),
        (
            "egress is the listen address",
            |p| p.unit.fronts[0].egress = Some("192.0.2.10".parse().unwrap()),
            &["SG0708 front[source].egress"],
        ),
        (
            "egress of another family",
            |p| p.unit.fronts[0].egress = Some("2001:db8::1".parse().unwrap()),
            &["SG0708 front[source].egress"],
        ),
        (
            "live port not taken over",
            |p| {
                p.unit.fronts[0].take_over = false;
                p.unit.fronts[0].egress = None;
            },
            &["SG0709 front[source].listen"],
        ),
        (
            "every address of the machine",
            |p| {
                p.unit.zones.clear();
                p.unit.fronts[1].listen = "0.0.0.0:80".parse().unwrap();
            },
            &["SG0728 front[target].listen"],
        ),
        (
            "sides exchanged",
            |p| {
                p.unit.fronts[0].side = Side::Target;
                p.unit.fronts[1].side = Side::Source;
                p.unit.zones[0].records.truncate(1);
            },
            &[
                "SG0709 front[source].listen",
                "SG0709 zone[example.test].record[www.example.test A].source",
                "SG0709 zone[example.test].record[www.example.test A].target",
            ],
        ),
    ]);
}

#[test]
fn refuses_databases() {
    refused(&[
        (
            "one server for both",
            |p| {
                let servers = &mut p.unit.database.as_mut().unwrap().servers;
                servers.target.address = servers.source.address;
            },
            &["SG0719 database.target.address"],
        ),
        (
            "no login",
            |p| p.unit.database.as_mut().unwrap().logins.clear(),
            &["SG0720 database.logins"],
        ),
        (
            "root",
            |p| p.unit.database.as_mut().unwrap().logins.push("root".into()),
            &["SG0720 database.logins"],
        ),
        (
            "the administrator",
            |p| p.unit.database.as_mut().unwrap().logins.push("segue_admin".into()),
            &["SG0720 database.logins"],
        ),
        (
            "a quote",
            |p| p.unit.database.as_mut().unwrap().logins.push("o'hara".into()),
            &["SG0720 database.logins"],
        ),
        (
            "twice",
            |p| p.unit.database.as_mut().unwrap().logins.push("example".into()),
            &["SG0705 database.logins"],
        ),
        (
            "no administrator",
            |p| p.unit.database.as_mut().unwrap().servers.source.admin.clear(),
            &["SG0720 database.source.admin"],
        ),
        (
            "a secret itself",
            |p| {
                p.unit.database.as_mut().unwrap().servers.source.password =
                    SecretRef("tr0ub4dor".into());
            },
            &["SG0718 database.source.password"],
        ),
        (
            "a bad schema name",
            |p| p.unit.database.as_mut().unwrap().schema = "a`b".into(),
            &["SG0721 database.schema"],
        ),
    ]);
    for schema in ["mysql", "sys", "information_schema", "PERFORMANCE_SCHEMA", "segue"] {
        let mut plan = example();
        plan.unit.database.as_mut().unwrap().schema = schema.into();
        assert_eq!(check(&plan).len(), 1, "{schema}");
    }
}

#[test]
fn refuses_trees() {
    refused(&[
        (
            "equal",
            |p| p.unit.trees[0].roots.target = "/srv/source/www".into(),
            &["SG0722 tree[site].target"],
        ),
        (
            "nested",
            |p| p.unit.trees[0].roots.target = "/srv/source/www/copy".into(),
            &["SG0722 tree[site].target"],
        ),
        (
            "around",
            |p| p.unit.trees[0].roots.target = "/srv/source".into(),
            &["SG0722 tree[site].target"],
        ),
        (
            "relative",
            |p| p.unit.trees[0].roots.source = "www".into(),
            &["SG0722 tree[site].source"],
        ),
        ("root", |p| p.unit.trees[0].roots.target = "/".into(), &["SG0722 tree[site].target"]),
        (
            "system",
            |p| p.unit.trees[0].roots.target = "/etc/".into(),
            &["SG0722 tree[site].target"],
        ),
        (
            "climbing",
            |p| p.unit.trees[0].roots.target = "/srv/target/../source/www".into(),
            &["SG0722 tree[site].target"],
        ),
        (
            "empty pattern",
            |p| p.unit.trees[0].exclude.push(" ".into()),
            &["SG0722 tree[site].exclude"],
        ),
        (
            "two trees in one",
            |p| {
                let mut tree = p.unit.trees[0].clone();
                tree.name = "more".into();
                tree.roots.source = "/srv/source/www/uploads".into();
                tree.roots.target = "/srv/elsewhere".into();
                p.unit.trees.push(tree);
            },
            &["SG0722 tree[more].source"],
        ),
    ]);
}

#[test]
fn refuses_zones() {
    const SERVERS: &str = "SG0716 zone[example.test].servers";
    refused(&[
        ("primary missing", |p| drop(p.unit.zones[0].servers.remove(0)), &[SERVERS]),
        (
            "server twice",
            |p| {
                let primary = p.unit.zones[0].primary;
                p.unit.zones[0].servers.push(primary);
            },
            &["SG0705 zone[example.test].servers"],
        ),
        (
            "unknown algorithm",
            |p| p.unit.zones[0].key.algorithm = "hmac-md5".into(),
            &["SG0717 zone[example.test].key.algorithm"],
        ),
        (
            "no key name",
            |p| p.unit.zones[0].key.name.clear(),
            &["SG0717 zone[example.test].key.name"],
        ),
        (
            "a secret itself",
            |p| p.unit.zones[0].key.secret = SecretRef("c2VjcmV0Cg==".into()),
            &["SG0718 zone[example.test].key.secret"],
        ),
        (
            "ttl",
            |p| p.unit.zones[0].lowered_ttl_s = 0,
            &["SG0725 zone[example.test].lowered_ttl_s"],
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
            "no data",
            |p| own(p, set("a.example.test", "TXT", &[], &["\"b\""])),
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

#[test]
fn refuses_workers() {
    refused(&[
        (
            "no command",
            |p| p.unit.workers[0].sides.source.stop.clear(),
            &["SG0723 worker[cron].source.stop"],
        ),
        (
            "relative program",
            |p| p.unit.workers[0].sides.target.running[0] = "systemctl".into(),
            &["SG0723 worker[cron].target.running"],
        ),
        (
            "one name",
            |p| {
                let again = p.unit.workers[0].clone();
                p.unit.workers.push(again);
            },
            &["SG0705 worker[cron]"],
        ),
    ]);
}

#[test]
fn refuses_policies() {
    refused(&[
        (
            "short budget",
            |p| {
                p.policy.pause_budget_ms = 99;
                p.policy.seal_reserve_ms = 20;
            },
            &["SG0725 policy.pause_budget_ms"],
        ),
        (
            "long budget",
            |p| {
                p.policy.pause_budget_ms = 60_001;
                p.policy.hold_age_max_ms = 60_001;
            },
            &["SG0725 policy.pause_budget_ms"],
        ),
        (
            "reserve is the budget",
            |p| p.policy.seal_reserve_ms = 1000,
            &["SG0725 policy.seal_reserve_ms"],
        ),
        ("no reserve", |p| p.policy.seal_reserve_ms = 0, &["SG0725 policy.seal_reserve_ms"]),
        (
            "short lease",
            |p| {
                p.policy.lease_ms = 499;
                p.policy.seal_reserve_ms = 200;
            },
            &["SG0725 policy.lease_ms"],
        ),
        ("long lease", |p| p.policy.lease_ms = 10_001, &["SG0725 policy.lease_ms"]),
        (
            "lease within the reserve",
            |p| {
                p.policy.lease_ms = 1700;
                p.policy.seal_reserve_ms = 900;
            },
            &["SG0725 policy.lease_ms"],
        ),
        ("hold age", |p| p.policy.hold_age_max_ms = 999, &["SG0725 policy.hold_age_max_ms"]),
        ("hold count", |p| p.policy.hold_count_max = 0, &["SG0725 policy.hold_count_max"]),
        ("no gate wait", |p| p.policy.gate_wait_s = 0, &["SG0725 policy.gate_wait_s"]),
        (
            "lag",
            |p| p.policy.database_lag_max_ms = f64::NAN,
            &["SG0725 policy.database_lag_max_ms"],
        ),
        (
            "slow path",
            |p| p.policy.slow_paths = vec!["report".into()],
            &["SG0725 policy.slow_paths"],
        ),
    ]);
}

#[test]
fn refuses_triggers() {
    refused(&[
        (
            "no bound",
            |p| p.policy.triggers[0].bound.max = None,
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "bounds crossed",
            |p| p.policy.triggers[0].bound.min = Some(2.0),
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "not a number",
            |p| p.policy.triggers[0].bound.max = Some(f64::INFINITY),
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "no time",
            |p| p.policy.triggers[0].for_ms = 0,
            &["SG0726 trigger[target_failing].for_ms"],
        ),
        (
            "never fresh",
            |p| p.policy.triggers[0].bound.fresh_for_ms = 0,
            &["SG0726 trigger[target_failing].fresh_for_ms"],
        ),
        (
            "no sample",
            |p| p.policy.triggers[0].min_samples = 0,
            &["SG0726 trigger[target_failing].min_samples"],
        ),
        (
            "one name",
            |p| p.policy.triggers[1].name = "target_failing".into(),
            &["SG0705 trigger[target_failing]"],
        ),
        ("no name", |p| p.policy.triggers[0].name.clear(), &["SG0703 trigger[#1].name"]),
        (
            "never measured",
            |p| {
                p.unit.trees.clear();
                p.policy.triggers[0].bound.what = What::FilesLagMs(Side::Source);
            },
            &["SG0726 trigger[target_failing].what"],
        ),
        (
            "nobody reads the log",
            |p| {
                p.unit.backends.source.access_log = None;
                p.policy.triggers[0].bound.what = What::DirectRequests;
            },
            &["SG0726 trigger[target_failing].what"],
        ),
    ]);
}
