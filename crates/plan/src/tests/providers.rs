//! Zones with one provider or several, and every way to change records.

use crate::{PlanError, Problem, parse};
use segue_model::plan::{AuthorityPlan, Plan, QueryLogFormat};

const RECORDS: &str = r#"
[[zone.record]]
name = "www.example.test"
type = "A"
source = ["192.0.2.10"]
target = ["203.0.113.20"]
"#;

/// The template with other lines for its zone.
fn with_zone(lines: &str) -> Result<Plan, Vec<Problem>> {
    let text = crate::template();
    let start = text.find("[[zone]]").unwrap();
    let end = text.find("# Cron jobs and queue workers").unwrap();
    let zone = format!("[[zone]]\nzone = \"example.test\"\n{lines}\n{RECORDS}\n");
    let text = format!("{}{zone}{}", &text[..start], &text[end..]);
    parse(&text, "plan.toml").map_err(|error| match error {
        PlanError::Refused { problems, .. } => problems,
        PlanError::Unreadable { .. } => panic!("{error}"),
    })
}

const SERVER: &str = "192.0.2.53:53";

fn authority(name: &str, way: &str) -> String {
    let text = format!("[[zone.authority]]\nname = \"{name}\"\nservers = [\"{SERVER}\"]\n{way}\n");
    // Each provider has servers of its own.
    if name == "new" { text.replace(SERVER, "198.51.100.53:53") } else { text }
}

const UPDATE: &str =
    r#"update = { primary = "192.0.2.53:53", key = { name = "k", secret = "file:/k" } }"#;

#[test]
fn reads_every_way_to_change_records() {
    for (way, kind) in [
        (UPDATE, "update"),
        (r#"powerdns = { url = "http://127.0.0.1:8081", key = "file:/k" }"#, "powerdns"),
        (
            r#"zone_file = { file = "/etc/bind/z", reload = ["/usr/sbin/rndc", "reload"] }"#,
            "zone_file",
        ),
        (
            r#"route53 = { zone_id = "Z1D6", access_key = "file:/a", secret_key = "env:S" }"#,
            "route53",
        ),
        (r#"cloudflare = { zone_id = "023e", token = "file:/t" }"#, "cloudflare"),
        (r#"command = ["/usr/local/bin/dns"]"#, "command"),
    ] {
        let plan = with_zone(&authority("only", way)).unwrap();
        assert_eq!(plan.unit.zones.len(), 1, "{way}");
        let zone = &plan.unit.zones[0];
        assert_eq!((zone.authority.kind(), zone.label().as_ref()), (kind, "example.test"));
    }
}

#[test]
fn a_zone_of_two_providers_is_two_with_the_same_records() {
    let cloud = r#"cloudflare = { zone_id = "023e", token = "file:/t", batch_max = 3500 }"#;
    let lines = authority("old", UPDATE) + &authority("new", cloud);
    let plan = with_zone(&lines).unwrap();
    let labels: Vec<_> = plan.unit.zones.iter().map(|zone| zone.label().into_owned()).collect();
    assert_eq!(labels, ["example.test at old", "example.test at new"]);
    assert_eq!(plan.unit.zones[0].records, plan.unit.zones[1].records);
    let AuthorityPlan::Cloudflare { batch_max, ttl_min_s, .. } = plan.unit.zones[1].authority
    else {
        panic!()
    };
    assert_eq!((batch_max, ttl_min_s), (3500, 60));
    let zone = &plan.unit.zones[0];
    assert_eq!((zone.lowered_ttl_of("AAAA"), zone.lowered_ttl_of("MX")), (60, 300));
}

#[test]
fn refuses_what_is_said_twice_or_not_at_all() {
    let beside = format!(
        "primary = \"192.0.2.53:53\"\nservers = [\"192.0.2.53:53\"]\n\
         key = {{ name = \"k\", secret = \"file:/k\" }}\n{}",
        authority("a", UPDATE)
    );
    let both = format!("{UPDATE}\ncommand = [\"/bin/x\"]");
    let rows = [
        ("nobody", String::new(), "SG0735 zone[example.test]"),
        ("no key", "primary = \"192.0.2.53:53\"".into(), "SG0735 zone[example.test]"),
        ("both", beside, "SG0735 zone[example.test]"),
        ("no way", authority("a", ""), "SG0735 zone[example.test].authority[a]"),
        ("two ways", authority("a", &both), "SG0735 zone[example.test].authority[a]"),
        (
            "one name twice",
            authority("a", UPDATE) + &authority("a", UPDATE),
            "SG0705 zone[example.test at a]",
        ),
        (
            "an open address",
            authority("a", r#"powerdns = { url = "http://192.0.2.1:8081", key = "file:/k" }"#),
            "SG0735 zone[example.test].powerdns.url",
        ),
        (
            "a name that looks like here",
            authority("a", r#"powerdns = { url = "http://127.evil.test", key = "file:/k" }"#),
            "SG0735 zone[example.test].powerdns.url",
        ),
        (
            "a key in the plan",
            authority("a", r#"cloudflare = { zone_id = "023e", token = "Sn3lZJTBX6kkg7Od" }"#),
            "SG0718 zone[example.test].cloudflare.token",
        ),
        (
            "an id that is a path",
            authority("a", r#"cloudflare = { zone_id = "../x", token = "file:/t" }"#),
            "SG0735 zone[example.test].cloudflare.zone_id",
        ),
        (
            "a relative program",
            authority("a", r#"command = ["dns"]"#),
            "SG0735 zone[example.test].command",
        ),
        (
            "a relative file",
            authority("a", r#"zone_file = { file = "z", reload = ["/bin/true"] }"#),
            "SG0735 zone[example.test].zone_file.file",
        ),
        (
            "no server",
            authority("a", r#"command = ["/bin/x"]"#).replace("\"192.0.2.53:53\"", ""),
            "SG0716 zone[example.test].servers",
        ),
    ];
    for (claim, lines, expected) in rows {
        let problems = with_zone(&lines).expect_err(claim);
        let got: Vec<_> = problems.iter().map(|p| format!("{} {}", p.code, p.key)).collect();
        assert!(got.iter().any(|got| got == expected), "{claim}: {got:?}");
        let shown = format!("{problems:?}");
        assert!(!shown.contains("Sn3lZJTBX6kkg7Od"), "a secret is shown: {shown}");
    }
}

#[test]
fn query_logs_belong_to_those_who_write_them() {
    let log = |format: &str, file: &str| {
        format!("query_log = [{{ format = \"{format}\", file = \"{file}\" }}]\n")
    };
    let lines = authority("old", &(UPDATE.to_owned() + "\n" + &log("bind", "/var/log/q")))
        + &authority("new", &(UPDATE.to_owned() + "\n" + &log("dnstap", "/var/q.tap")));
    let plan = with_zone(&lines).unwrap();
    let logs: Vec<_> = plan.unit.zones.iter().map(|zone| zone.query_logs[0].format).collect();
    assert_eq!(logs, [QueryLogFormat::Bind, QueryLogFormat::Dnstap]);
    // Of a plan without them nothing is said, so its hash stays what it was.
    let plain = serde_json::to_string(&with_zone(&authority("one", UPDATE)).unwrap()).unwrap();
    assert!(!plain.contains("query_log") && !plain.contains("flush"), "{plain}");
    let refused = |lines: &str| {
        let problems = with_zone(lines).unwrap_err();
        assert!(problems.iter().all(|problem| problem.code == "SG0735"), "{problems:?}");
    };
    refused(&authority("one", &(UPDATE.to_owned() + "\n" + &log("bind", "q"))));
    refused(&(log("bind", "/var/log/q") + &authority("one", UPDATE)));
}

#[test]
fn an_address_without_port_is_told_how_it_is_written() {
    for lines in [
        authority("a", UPDATE).replacen("192.0.2.53:53", "192.0.2.53", 1),
        authority("a", &UPDATE.replace("192.0.2.53:53", "192.0.2.53")),
        "primary = \"ns1.example.test\"\nservers = [\"192.0.2.53:53\"]".to_owned(),
    ] {
        let text = crate::template();
        let start = text.find("[[zone]]").unwrap();
        let zone = format!("[[zone]]\nzone = \"example.test\"\n{lines}\n{RECORDS}\n");
        let error = parse(&format!("{}{zone}", &text[..start]), "plan.toml").unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains("an address with port, such as 192.0.2.53:53"), "{shown}");
    }
}

#[test]
fn a_server_of_two_providers_and_a_hidden_primary_have_to_be_meant() {
    let cloud = r#"cloudflare = { zone_id = "023e", token = "file:/t" }"#;
    let two = authority("old", UPDATE) + &authority("new", cloud);
    let common = two.replace("198.51.100.53:53", "192.0.2.53:53");
    assert!(with_zone(&two).is_ok());
    let problems = with_zone(&common).unwrap_err();
    assert!(
        problems.iter().any(|problem| problem.text.contains("also a server of")),
        "{problems:?}"
    );
    assert!(with_zone(&format!("allow = [\"shared_cluster\"]\n{common}")).is_ok());
    let hidden = authority("one", &UPDATE.replace("192.0.2.53:53", "192.0.2.1:53"));
    let problems = with_zone(&hidden).unwrap_err();
    assert!(problems[0].remedy.contains("hidden_primary"), "{problems:?}");
    let plan = with_zone(&format!("allow = [\"hidden_primary\"]\n{hidden}")).unwrap();
    assert!(plan.unit.zones[0].authority.update().is_some());
}
