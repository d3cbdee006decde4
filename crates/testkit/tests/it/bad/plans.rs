//! Plans of one unit that the file itself shows to be wrong.

use super::change::{Case, add, insert, set, swap};
use super::desk::Desk;
use super::table::Kind;
use segue_testkit::world::Description;

const RESERVE: &str = "3\npause_budget_ms = 100\nseal_reserve_ms = 200";

pub(super) fn play(desk: &mut Desk) {
    let twins = twins(desk.description());
    for cases in [form(), names_and_numbers(), records(), gates(), twins] {
        desk.changed(Kind::Plan, cases);
    }
}

fn form() -> Vec<Case> {
    vec![
        ("a plan that is not TOML", swap("[unit]", "hosts = [", "hosts = "), "SG0701"),
        ("an unknown key", swap("[unit]", "hosts =", "hots ="), "SG0701"),
        ("a key that is missing", swap("[database]", "schema = \"shop\"\n", ""), "SG0701"),
        ("a time in words", set("[policy]", "stable_for_s", "\"soon\""), "SG0701"),
        ("a number below zero", set("[policy]", "stable_for_s", "-1"), "SG0701"),
        ("an action that nobody knows", set("[[trigger]]", "action", "\"panic\""), "SG0701"),
        ("a measure that nobody knows", set("[[trigger]]", "what", "\"moonlight\""), "SG0701"),
        (
            "a port beyond all ports",
            set("[backend.target]", "address", "\"127.0.0.12:70000\""),
            "SG0701",
        ),
        (
            "a secret in the plan itself",
            set("[database.source]", "password", "\"hunter2\""),
            "SG0718",
        ),
        (
            "a secret in a place that nobody knows",
            set("[database.source]", "password", "\"vault:database\""),
            "SG0718",
        ),
    ]
}

fn names_and_numbers() -> Vec<Case> {
    vec![
        ("a unit without hosts", set("[unit]", "hosts", "[]"), "SG0704"),
        ("a host that is no name", set("[unit]", "hosts", "[\"shop example\"]"), "SG0704"),
        (
            "a host that stands there twice",
            set("[unit]", "hosts", "[\"a.example.test\", \"a.example.test\"]"),
            "SG0705",
        ),
        (
            "a port taken over without an egress address",
            swap("[[front]]", "egress = \"127.0.0.250\"\n", ""),
            "SG0707",
        ),
        (
            "an egress address that the front listens on",
            set("[[front]]", "egress", "\"127.0.0.11\""),
            "SG0708",
        ),
        ("a tree at a relative path", set("[[tree]]", "target", "\"site\""), "SG0722"),
        ("a database without logins", set("[database]", "logins", "[]"), "SG0720"),
        (
            "the administrator as a login to be moved",
            set("[database]", "logins", "[\"segue_admin\"]"),
            "SG0720",
        ),
        ("the server's own schema to be moved", set("[database]", "schema", "\"mysql\""), "SG0721"),
        ("a worker that is stopped by nothing", set("[worker.source]", "stop", "[]"), "SG0723"),
        ("a probe that asks for no page", set("[probe]", "path", "\"catalogue\""), "SG0724"),
        ("a probe without a marker", set("[probe]", "marker", "\"\""), "SG0724"),
        (
            "a reserve above the budget",
            set("[policy]", "stable_for_s", RESERVE),
            "SG0725 policy.seal_reserve_ms",
        ),
        (
            "a pause without a budget",
            set("[policy]", "stable_for_s", "3\npause_budget_ms = 0"),
            "SG0725 policy.pause_budget_ms",
        ),
        (
            "a web server that takes no request",
            set("[backend.source]", "concurrency", "0"),
            "SG0728",
        ),
    ]
}

fn records() -> Vec<Case> {
    vec![
        (
            "a record that is not in its zone",
            set("[[zone.record]]", "name", "\"shop.example.org\""),
            "SG0711",
        ),
        (
            "a record that leads where no front stands",
            set("[[zone.record]]", "target", "[\"127.0.0.77\"]"),
            "SG0710",
        ),
        (
            "the zone's name servers as records to be moved",
            swap(
                "[[zone.record]]",
                "name = \"shop.example.test\"\ntype = \"A\"",
                "name = \"example.test\"\ntype = \"NS\"",
            ),
            "SG0713",
        ),
        (
            "a record that is owned twice",
            insert(
                "[[worker]]",
                "[[zone.record]]\nname = \"shop.example.test\"\ntype = \"A\"\n\
                 source = [\"127.0.0.11\"]\ntarget = [\"127.0.0.12\"]\n",
            ),
            "SG0715",
        ),
        ("a zone whose primary is not listed", set("[[zone]]", "servers", "[]"), "SG0716"),
        (
            "a key of an algorithm that nobody knows",
            swap("[[zone]]", "hmac-sha256", "rot13"),
            "SG0717",
        ),
        ("a lowered TTL of a day", set("[[zone]]", "lowered_ttl_s", "86400"), "SG0725 zone"),
    ]
}

fn gates() -> Vec<Case> {
    let gate = |rest: &str| add(format!("[[gate]]\nname = \"g\"\n{rest}\n"));
    vec![
        ("a trigger that can never fire", set("[[trigger]]", "max", "nan"), "SG0726"),
        (
            "a trigger that looks further back than is remembered",
            set("[[trigger]]", "for_ms", "900000"),
            "SG0726 trigger[target_slow].for_ms",
        ),
        ("a gate without a bound", gate("what = \"fronts_ready\""), "SG0731"),
        ("a gate that never passes", gate("what = \"fronts_ready\"\nmin = 2"), "SG0731"),
        ("a gate that asks nothing", gate("what = \"fronts_ready\"\nmax = 1"), "SG0731"),
        (
            "a step back of a split that no plan can make",
            set("[[trigger]]", "action", "\"step_back\""),
            "SG0732",
        ),
        (
            "different data that would start a way back",
            swap("[[trigger]]", DATABASE_TRIGGER, DIFFERING),
            "SG0733",
        ),
        (
            "resolvers that are to be asked and are not named",
            add("[measure.resolvers]\naddresses = []\nname = \"shop.example.test\"\n"),
            "SG0734",
        ),
    ]
}

const DATABASE_TRIGGER: &str = "what = \"database_readable\"\nside = \"target\"\nmin = 1.0";
const DIFFERING: &str = "what = \"database_differences\"\nmax = 0.0";

/// Plans in which both sides are one.
fn twins(world: &Description) -> Vec<Case> {
    let text = |value: &dyn std::fmt::Display| format!("\"{value}\"");
    let source = world.trees.source.display();
    let within = format!("\"{source}/copy\"");
    let more = format!(
        "[[tree]]\nname = \"more\"\nsource = \"{source}/files\"\ntarget = \"/srv/elsewhere/files\"\n"
    );
    let web = text(&world.backend.source);
    let front = text(&world.site.source);
    let database = text(&world.database.source.address);
    vec![
        ("one web server for both sides", set("[backend.target]", "address", web), "SG0728"),
        ("two fronts at one address", set("name = \"target\"", "listen", front), "SG0705"),
        ("one directory for both sides", set("[[tree]]", "target", text(&source)), "SG0722"),
        (
            "a copy inside its original",
            set("[[tree]]", "target", within),
            "SG0722 tree[site].target",
        ),
        ("two trees of which one holds the other", add(more), "SG0722 tree[more]"),
        (
            "one database server for both sides",
            set("[database.target]", "address", database),
            "SG0719",
        ),
    ]
}
