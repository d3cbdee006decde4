use super::{policy_of, refused};
use segue_model::gate::{
    Against, Before, Bound, GateNoData, GateSpec, Reference, Scope, TriggerAction,
};
use segue_model::plan::{
    ApplicationLogPlan, CustomPlan, CustomSource, HostFigures, HostPlan, Plan, ResolversPlan,
};
use segue_model::{Side, Sides, What};

#[test]
fn refuses_policies() {
    refused(&[
        (
            "short budget",
            |p| {
                policy_of(p).pause_budget_ms = 99;
                policy_of(p).seal_reserve_ms = 20;
            },
            &["SG0725 policy.pause_budget_ms"],
        ),
        (
            "long budget",
            |p| {
                policy_of(p).pause_budget_ms = 60_001;
                policy_of(p).hold_age_max_ms = 60_001;
                policy_of(p).failback_budget_ms = 60_001;
            },
            &["SG0725 policy.pause_budget_ms"],
        ),
        (
            "reserve is the budget",
            |p| policy_of(p).seal_reserve_ms = 1000,
            &["SG0725 policy.seal_reserve_ms"],
        ),
        ("no reserve", |p| policy_of(p).seal_reserve_ms = 0, &["SG0725 policy.seal_reserve_ms"]),
        (
            "short lease",
            |p| {
                policy_of(p).lease_ms = 499;
                policy_of(p).seal_reserve_ms = 200;
            },
            &["SG0725 policy.lease_ms"],
        ),
        ("long lease", |p| policy_of(p).lease_ms = 10_001, &["SG0725 policy.lease_ms"]),
        (
            "lease within the reserve",
            |p| {
                policy_of(p).lease_ms = 1700;
                policy_of(p).seal_reserve_ms = 900;
            },
            &["SG0725 policy.lease_ms"],
        ),
        ("hold age", |p| policy_of(p).hold_age_max_ms = 999, &["SG0725 policy.hold_age_max_ms"]),
        (
            "failback shorter than a cutover",
            |p| policy_of(p).failback_budget_ms = 999,
            &["SG0725 policy.failback_budget_ms"],
        ),
        (
            "failback longer than a hold",
            |p| policy_of(p).failback_budget_ms = 8001,
            &["SG0725 policy.failback_budget_ms"],
        ),
        ("hold count", |p| policy_of(p).hold_count_max = 0, &["SG0725 policy.hold_count_max"]),
        ("no gate wait", |p| policy_of(p).gate_wait_s = 0, &["SG0725 policy.gate_wait_s"]),
        (
            "slow path",
            |p| policy_of(p).slow_paths = vec!["report".into()],
            &["SG0725 policy.slow_paths"],
        ),
    ]);
}

#[test]
fn refuses_triggers() {
    refused(&[
        (
            "no bound",
            |p| policy_of(p).triggers[0].bound.max = None,
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "bounds crossed",
            |p| policy_of(p).triggers[0].bound.min = Some(2.0),
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "not a number",
            |p| policy_of(p).triggers[0].bound.max = Some(f64::INFINITY),
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "no time",
            |p| policy_of(p).triggers[0].for_ms = 0,
            &["SG0726 trigger[target_failing].for_ms"],
        ),
        (
            "more time than is remembered",
            |p| policy_of(p).triggers[0].for_ms = 120_001,
            &["SG0726 trigger[target_failing].for_ms"],
        ),
        (
            "never fresh",
            |p| policy_of(p).triggers[0].bound.fresh_for_ms = 0,
            &["SG0726 trigger[target_failing].fresh_for_ms"],
        ),
        (
            "no sample",
            |p| policy_of(p).triggers[0].min_samples = 0,
            &["SG0726 trigger[target_failing].min_samples"],
        ),
        (
            "one name",
            |p| policy_of(p).triggers[1].name = "target_failing".into(),
            &["SG0705 trigger[target_failing]"],
        ),
        ("no name", |p| policy_of(p).triggers[0].name.clear(), &["SG0703 trigger[#1].name"]),
        (
            "never measured",
            |p| {
                p.unit.trees.clear();
                policy_of(p).triggers[0].bound.what = What::FilesLagMs(Side::Source);
            },
            &["SG0726 trigger[target_failing].what"],
        ),
        (
            "nobody reads the log",
            |p| {
                p.unit.sites[0].backends.source.access_log = None;
                policy_of(p).triggers[0].bound.what = What::DirectRequests;
            },
            &["SG0726 trigger[target_failing].what"],
        ),
    ]);
}

fn against(slack: f64, min_clients: u64) -> Option<Against> {
    Some(Against { with: Reference::OtherSide, slack, min_clients })
}

#[test]
fn refuses_triggers_that_contradict_themselves() {
    refused(&[
        (
            "nothing to compare with",
            |p| {
                policy_of(p).triggers[0].bound.what = What::ProbeMaxMs;
                policy_of(p).triggers[0].against = against(0.0, 0);
            },
            &["SG0726 trigger[target_failing].against"],
        ),
        (
            "no difference",
            |p| policy_of(p).triggers[0].against = against(f64::NAN, 0),
            &["SG0726 trigger[target_failing].slack"],
        ),
        (
            "more clients than are counted",
            |p| policy_of(p).triggers[0].against = against(0.0, 33),
            &["SG0726 trigger[target_failing].min_clients"],
        ),
        (
            "later than a day",
            |p| policy_of(p).triggers[0].after_ms = 86_400_001,
            &["SG0726 trigger[target_failing].after_ms"],
        ),
        (
            "a step of no split",
            |p| policy_of(p).triggers[0].action = TriggerAction::StepBack,
            &["SG0732 trigger[target_failing].action"],
        ),
        (
            "mail that no plan moves",
            |p| policy_of(p).triggers[0].scope = Scope::Mail,
            &["SG0732 trigger[target_failing].scope"],
        ),
        (
            "an alert for a wave",
            |p| {
                policy_of(p).triggers[0].action = TriggerAction::Alert;
                policy_of(p).triggers[0].scope = Scope::Wave;
            },
            &["SG0726 trigger[target_failing].scope"],
        ),
        (
            "different data goes back",
            |p| policy_of(p).triggers[0].bound.what = What::DatabaseDifferences,
            &["SG0733 trigger[target_failing].action"],
        ),
        (
            "mailboxes that nobody measures",
            |p| policy_of(p).triggers[0].bound.what = What::MailboxDeltaBytes,
            &["SG0726 trigger[target_failing].what"],
        ),
        (
            "what only a gate asks",
            |p| policy_of(p).triggers[0].bound.what = What::VerifiedAgeS,
            &["SG0726 trigger[target_failing].what"],
        ),
        (
            "no log",
            |p| policy_of(p).triggers[0].bound.what = What::AppErrorsPerSecond(Side::Target),
            &["SG0726 trigger[target_failing].what"],
        ),
        (
            "no host",
            |p| policy_of(p).triggers[0].bound.what = What::CpuPercent(Side::Target),
            &["SG0726 trigger[target_failing].what"],
        ),
        (
            "no resolver",
            |p| policy_of(p).triggers[0].bound.what = What::ResolversFailing,
            &["SG0726 trigger[target_failing].what"],
        ),
        (
            "another name",
            |p| {
                p.unit.measures.custom = vec![custom("queue", 1000)];
                policy_of(p).triggers[0].bound.what = What::Custom;
                policy_of(p).triggers[0].bound.from = Some("custom:other".into());
            },
            &["SG0726 trigger[target_failing].what"],
        ),
    ]);
}

#[test]
fn accepts_a_wave() {
    refused(&[("wave", |p| policy_of(p).triggers[0].scope = Scope::Wave, &[])]);
}

fn gate(p: &mut Plan, what: What, limits: (Option<f64>, Option<f64>)) {
    let (max, min) = limits;
    policy_of(p).gates = vec![GateSpec {
        name: "g".into(),
        before: Before::Arm,
        bound: Bound { what, from: None, max, min, fresh_for_ms: 1000 },
        for_ms: 0,
        no_data: GateNoData::Wait,
        failback: false,
    }];
}

#[test]
fn refuses_gates() {
    refused(&[
        ("no bound", |p| gate(p, What::FrontsReady, (None, None)), &["SG0731 gate[g]"]),
        ("never passes", |p| gate(p, What::FrontsReady, (None, Some(2.0))), &["SG0731 gate[g]"]),
        ("below nothing", |p| gate(p, What::ProbeMaxMs, (Some(-1.0), None)), &["SG0731 gate[g]"]),
        ("asks nothing", |p| gate(p, What::FrontsReady, (Some(1.0), None)), &["SG0731 gate[g]"]),
        ("asks nothing", |p| gate(p, What::ProbeMaxMs, (None, Some(0.0))), &["SG0731 gate[g]"]),
        ("mail", |p| gate(p, What::MailboxDeltaBytes, (Some(1.0), None)), &["SG0731 gate[g].what"]),
        (
            "never fresh",
            |p| {
                gate(p, What::ProbeMaxMs, (Some(9.0), None));
                policy_of(p).gates[0].bound.fresh_for_ms = 0;
            },
            &["SG0731 gate[g].fresh_for_ms"],
        ),
        (
            "longer than is remembered",
            |p| {
                gate(p, What::ProbeMaxMs, (Some(9.0), None));
                policy_of(p).gates[0].for_ms = 120_001;
            },
            &["SG0731 gate[g].for_ms"],
        ),
        (
            "the journal at another step",
            |p| {
                gate(p, What::VerifiedAgeS, (Some(9.0), None));
                policy_of(p).gates[0].before = Before::Hold;
            },
            &["SG0731 gate[g]"],
        ),
        (
            "a failback without that step",
            |p| {
                gate(p, What::ProbeMaxMs, (Some(9.0), None));
                policy_of(p).gates[0].before = Before::Settle;
                policy_of(p).gates[0].failback = true;
            },
            &["SG0731 gate[g].failback"],
        ),
    ]);
}

fn custom(name: &str, every_ms: u64) -> CustomPlan {
    let source = CustomSource::Command(vec!["/bin/true".into()]);
    CustomPlan { name: name.into(), source, every_ms }
}

fn resolvers(p: &mut Plan, name: &str, addresses: &[&str], every_s: u64) {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    p.unit.measures.resolvers =
        vec![ResolversPlan { addresses, name: Some(name.into()), every_s, flush: Vec::new() }];
}

/// Asks for no name in particular, and flushes with these words.
fn flushing(p: &mut Plan, words: &[&str]) {
    resolvers(p, "", &["192.0.2.1:53"], 1);
    let plan = &mut p.unit.measures.resolvers[0];
    plan.name = None;
    plan.flush = vec![words.iter().map(ToString::to_string).collect()];
}

#[test]
fn refuses_what_flushes_no_resolver() {
    refused(&[
        ("right", |p| flushing(p, &["/usr/sbin/rndc", "flushname", "{name}", "x={type}"]), &[]),
        ("relative", |p| flushing(p, &["rndc"]), &["SG0723 measure.resolvers.flush"]),
        ("nothing", |p| flushing(p, &[]), &["SG0723 measure.resolvers.flush"]),
        (
            "another place",
            |p| flushing(p, &["/usr/sbin/rndc", "{zone}"]),
            &["SG0734 measure.resolvers.flush"],
        ),
        (
            "nothing differs",
            |p| {
                flushing(p, &["/usr/sbin/rndc"]);
                let text = super::set("www.example.test", "TXT", &["\"a\""], &["\"b\""]);
                p.unit.zones[0].records = vec![text];
            },
            &["SG0734 measure.resolvers.name"],
        ),
    ]);
}

#[test]
fn refuses_measures() {
    const ONE: &[&str] = &["192.0.2.1:53"];
    refused(&[
        ("right", |p| resolvers(p, "www.example.test", ONE, 1), &[]),
        (
            "not owned",
            |p| resolvers(p, "ftp.example.test", ONE, 1),
            &["SG0734 measure.resolvers.name"],
        ),
        (
            "no resolver",
            |p| resolvers(p, "www.example.test", &[], 1),
            &["SG0734 measure.resolvers.addresses"],
        ),
        (
            "no port",
            |p| resolvers(p, "www.example.test", &["192.0.2.1:0"], 1),
            &["SG0734 measure.resolvers.addresses"],
        ),
        (
            "all the time",
            |p| resolvers(p, "www.example.test", ONE, 0),
            &["SG0734 measure.resolvers.every_s"],
        ),
        (
            "no file, no words",
            |p| {
                let files = Sides { source: None, target: None };
                p.unit.measures.application_logs = vec![ApplicationLogPlan {
                    name: "a".into(),
                    files,
                    words: vec![String::new()],
                }];
            },
            &["SG0734 measure.application_log", "SG0734 measure.application_log.words"],
        ),
        (
            "relative",
            |p| p.unit.measures.mail_logs = vec!["mail.log".into()],
            &["SG0729 measure.mail_log"],
        ),
        (
            "a shell's command",
            |p| {
                let figures = HostFigures::Command(vec!["cat".into()]);
                p.unit.measures.hosts = vec![HostPlan { side: Side::Target, figures }];
            },
            &["SG0723 measure.host[#1].command"],
        ),
        (
            "too often, and twice",
            |p| p.unit.measures.custom = vec![custom("a", 499), custom("a", 1000)],
            &["SG0734 measure.custom[a].every_ms", "SG0705 measure.custom[a]"],
        ),
        (
            "no query",
            |p| {
                let address = "192.0.2.1:9090".parse().unwrap();
                let source = CustomSource::Prometheus { address, query: " ".into() };
                p.unit.measures.custom = vec![CustomPlan { source, ..custom("a", 1000) }];
            },
            &["SG0734 measure.custom[a].prometheus.query"],
        ),
    ]);
}
