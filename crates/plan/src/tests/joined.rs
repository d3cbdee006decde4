//! Units that switch together become one that has what each of them moves.

use crate::fleet::{PlanText, UnitText, read_plan};
use crate::{PlanError, Problem};
use segue_model::Fleet;
use segue_model::plan::Plan;

const HEAD: &str = "name = \"moves\"\nunits = [\"*.toml\"]\n";

/// A unit with a site, a database, a tree, a worker and a record set, behind the fronts that
/// all of them share.
fn unit(name: &str) -> String {
    let number = 1 + name.len();
    format!(
        r#"
unit = {{ name = "{name}", hosts = ["{name}.example.test"], requests_per_day = {number} }}
probe = {{ path = "/", marker = "{name}" }}

[backend.source]
address = "127.0.0.2:80"
health_path = "/up"
[backend.target]
address = "127.0.0.3:8080"
health_path = "/up"

[[front]]
name = "source"
side = "source"
listen = "127.0.0.2:80"
take_over = true
egress = "127.0.0.4"
control = "/run/segue/source.sock"
state = "/run/segue/source.json"
[[front]]
name = "target"
side = "target"
listen = "127.0.0.3:80"
control = "/run/segue/target.sock"
state = "/run/segue/target.json"

[database]
schema = "{name}"
logins = ["{name}"]
source = {{ address = "127.0.0.2:3306", admin = "admin", password = "file:/s" }}
target = {{ address = "127.0.0.3:3306", admin = "admin", password = "file:/t" }}

[[tree]]
name = "site"
source = "/source/{name}"
target = "/target/{name}"

[[worker]]
name = "cron"
source = {{ stop = ["/bin/a"], start = ["/bin/b"], running = ["/bin/c"] }}
target = {{ stop = ["/bin/a"], start = ["/bin/b"], running = ["/bin/c"] }}

[[zone]]
zone = "example.test"
primary = "127.0.0.5:53"
servers = ["127.0.0.5:53"]
key = {{ name = "k", secret = "file:/k" }}
record = [
  {{ name = "{name}.example.test", type = "A", source = ["127.0.0.2"], target = ["127.0.0.3"] }},
]
"#
    )
}

fn compile(head: &str, units: &[String]) -> Result<Fleet, Vec<Problem>> {
    let PlanText::Many(fleet) = read_plan(head, "plan.toml").unwrap() else { panic!("of many") };
    let text =
        |(n, text): (usize, &String)| UnitText { name: format!("{n}.toml"), text: text.clone() };
    let texts: Vec<UnitText> = units.iter().enumerate().map(text).collect();
    fleet.compile(&texts).map_err(|error| match error {
        PlanError::Refused { problems, .. } => problems,
        other => panic!("{other}"),
    })
}

/// Joins units that must be one.
fn joined(units: &[String]) -> std::sync::Arc<Plan> {
    let fleet = compile(HEAD, units).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(fleet.units.len(), 1);
    fleet.units[0].clone()
}

fn refused(head: &str, units: &[String]) -> Vec<String> {
    let problems = compile(head, units).expect_err("refused");
    problems.iter().map(|problem| format!("{} {}", problem.code, problem.key)).collect()
}

#[test]
fn two_units_of_one_zone_keep_site_and_database_and_share_front_and_set() {
    let plan = joined(&[unit("a"), unit("bb")]);
    let unit = &plan.unit;
    let hosts: Vec<_> = unit.sites.iter().flat_map(|site| &site.hosts).collect();
    assert_eq!(hosts, ["a.example.test", "bb.example.test"]);
    let probes: Vec<_> =
        unit.sites.iter().map(|site| &site.probe.as_ref().unwrap().marker).collect();
    assert_eq!(probes, ["a", "bb"]);
    assert_eq!(unit.database_labels(), [Some("a".to_owned()), Some("bb".to_owned())]);
    let fronts: Vec<_> = unit.fronts.iter().map(|front| front.name.as_str()).collect();
    assert_eq!(fronts, ["source", "target"], "one front stands at each address");
    let trees: Vec<_> = unit.trees.iter().map(|tree| tree.name.as_str()).collect();
    assert_eq!(trees, ["site", "bb.site"]);
    let workers: Vec<_> = unit.workers.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(workers, ["cron", "bb.cron"]);
    assert_eq!((unit.zones.len(), unit.zones[0].records.len()), (1, 2), "one set");
    assert_eq!(unit.requests_per_day, Some(5));
    assert_eq!(crate::check(&plan), []);
}

#[test]
fn schemas_of_one_name_at_two_servers_are_told_apart() {
    let other = unit("bb").replace("schema = \"bb\"", "schema = \"a\"").replace(":3306", ":3307");
    let labels = joined(&[unit("a"), other]).unit.database_labels();
    let label = |port| Some(format!("a@127.0.0.2:{port}"));
    assert_eq!(labels, [label(3306), label(3307)]);
}

#[test]
fn a_common_login_joins_and_stays_with_both_schemas() {
    let head = format!("{HEAD}separate_zones = [\"example.test\"]\n");
    let apart = compile(&head, &[unit("a"), unit("bb")]).unwrap();
    assert_eq!(apart.units.len(), 2, "they share a zone only");
    let other = unit("bb").replace("logins = [\"bb\"]", "logins = [\"a\"]");
    let fleet = compile(&head, &[unit("a"), other]).unwrap();
    assert_eq!(fleet.units.len(), 1);
    assert_eq!(fleet.joints[0].because, ["login a at 127.0.0.2:3306"]);
    assert!(fleet.units[0].unit.databases.iter().all(|database| database.logins == ["a"]));
}

#[test]
fn of_two_policies_the_stricter_one_holds() {
    let says = |name, policy: &str| format!("{}\n[policy]\n{policy}\n", unit(name));
    let one = "pause_budget_ms = 900\nstable_for_s = 10\nstraggler_days = 3\nslow_paths = [\"/a\"]\nseal_reserve_ms = 100";
    let other = "pause_budget_ms = 1500\nstable_for_s = 20\nstraggler_days = 9\nslow_paths = [\"/b\"]\ncommit_timer_s = 60";
    let both = joined(&[says("a", one), says("bb", other)]);
    let turned = joined(&[says("bb", other), says("a", one)]);
    for policy in [&both.policy, &turned.policy] {
        assert_eq!((policy.pause_budget_ms, policy.stable_for_s), (900, 20));
        assert_eq!(policy.straggler_days, 9);
        assert_eq!(policy.commit_timer_s, 60, "no timer is not the stricter one");
        assert!(["/a", "/b"].iter().all(|path| policy.slow_paths.iter().any(|p| p == path)));
    }
}

#[test]
fn of_two_bounds_the_narrower_one_holds_and_another_action_is_refused() {
    let trigger = |name, max, action| {
        format!(
            "{}\n[[trigger]]\nname = \"slow\"\nwhat = \"response_p95_ms\"\nside = \"target\"\n\
             max = {max}\nfor_ms = 3000\nfresh_for_ms = 2000\nmin_samples = 3\nmin_count = 20\n\
             no_data = \"ignore\"\naction = \"{action}\"\n",
            unit(name)
        )
    };
    let units = [trigger("a", "500.0", "fail_back"), trigger("bb", "250.0", "fail_back")];
    assert_eq!(joined(&units).policy.triggers[0].bound.max, Some(250.0));
    let units = [trigger("a", "500.0", "fail_back"), trigger("bb", "500.0", "hold_and_ask")];
    assert_eq!(refused(HEAD, &units), ["SG0743 bb: trigger[slow]"]);
}

#[test]
fn a_zone_with_another_key_is_no_set() {
    let other = unit("bb").replace("name = \"k\"", "name = \"l\"");
    assert_eq!(refused(HEAD, &[unit("a"), other]), ["SG0743 bb: zone[example.test]"]);
}

#[test]
fn a_front_that_is_shared_has_the_same_ports_in_every_unit() {
    let short = "listen = \"127.0.0.3:80\"\n";
    let two = |second: &str| {
        format!("port = [{{ listen = \"127.0.0.3:80\" }}, {{ listen = \"{second}\" }}]\n")
    };
    let of = |name: &str, second: &str| unit(name).replace(short, &two(second));
    let fronts = &joined(&[of("a", "127.0.0.3:81"), of("bb", "127.0.0.3:81")]).unit.fronts;
    assert_eq!((fronts.len(), fronts[1].ports.len()), (2, 2));
    let head = format!("{HEAD}separate_zones = [\"example.test\"]\n");
    for other in [of("bb", "127.0.0.3:82"), unit("bb")] {
        let units = [of("a", "127.0.0.3:81"), other];
        assert_eq!(refused(&head, &units), ["SG0745 bb: front[target].port"]);
    }
    // Their first ports differ, their second is one.
    let moved = of("bb", "127.0.0.3:81").replace("\"127.0.0.3:80\"", "\"127.0.0.3:82\"");
    assert_eq!(
        refused(&head, &[of("a", "127.0.0.3:81"), moved]),
        ["SG0745 bb: front[target].port"]
    );
}

#[test]
fn a_port_for_tcp_belongs_to_one_unit() {
    let short = "listen = \"127.0.0.3:80\"\n";
    let two = "port = [{ listen = \"127.0.0.3:80\" }, { kind = \"tcp\", listen = \
               \"127.0.0.3:993\", source = \"127.0.0.2:993\", target = \"127.0.0.5:993\" }]\n";
    let of = |name: &str| unit(name).replace(short, two);
    let plan = joined(&[of("a"), of("bb")]);
    let whole = &plan.unit;
    let (port, tcp) = whole.fronts[1].tcp().next().unwrap();
    assert_eq!(port.listen.to_string(), "127.0.0.3:993");
    assert_eq!(tcp.backends.target.to_string(), "127.0.0.5:993");
    let head = format!("{HEAD}separate_zones = [\"example.test\"]\n");
    assert_eq!(refused(&head, &[of("a"), of("bb")]), ["SG0760 bb: front[target].port"]);
    // Where clients name a host, each unit has its own.
    let named = |name: &str| of(name).replace("kind = \"tcp\",", "kind = \"tcp\", by_name = true,");
    let fleet = compile(&head, &[named("a"), named("bb")]).unwrap();
    let by_name = |unit: &Plan| unit.unit.fronts[1].tcp().next().unwrap().1.by_name;
    assert_eq!(fleet.units.iter().filter(|unit| by_name(unit)).count(), 2);
    for (bad, why) in [
        (two.replace("kind = \"tcp\",", "by_name = true,"), "by name, and not for tcp"),
        (two.replace(", target = \"127.0.0.5:993\"", ""), "no `target`"),
        (two.replace("kind = \"tcp\", ", ""), "not for tcp"),
    ] {
        let problems = refused(&head, &[unit("a").replace(short, &bad)]);
        assert!(
            problems.iter().all(|problem| problem.starts_with("SG0749")),
            "{why}: {problems:?}"
        );
    }
}

#[test]
fn one_address_is_one_front_also_for_units_that_are_not_joined() {
    let head = format!("{HEAD}separate_zones = [\"example.test\"]\n");
    let own_socket = unit("bb").replace("segue/source.sock", "segue/bb.sock");
    assert_eq!(refused(&head, &[unit("a"), own_socket]), ["SG0745 bb: front[source].control"]);
    let own_address = unit("bb")
        .replace("listen = \"127.0.0.3:80\"", "listen = \"127.0.0.6:80\"")
        .replace("target = [\"127.0.0.3\"]", "target = [\"127.0.0.6\"]");
    assert_eq!(
        refused(&head, &[unit("a"), own_address]),
        ["SG0745 bb: front[target]", "SG0745 bb: front[target]"],
        "two fronts cannot have one file"
    );
}
