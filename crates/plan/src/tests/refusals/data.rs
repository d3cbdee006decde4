use super::super::example;
use super::refused;
use crate::check;
use segue_model::plan::SecretRef;

#[test]
fn refuses_databases() {
    refused(&[
        (
            "one server for both",
            |p| {
                let servers = &mut p.unit.databases[0].servers;
                servers.target.address = servers.source.address;
            },
            &["SG0719 database.target.address"],
        ),
        ("no login", |p| p.unit.databases[0].logins.clear(), &["SG0720 database.logins"]),
        ("root", |p| p.unit.databases[0].logins.push("root".into()), &["SG0720 database.logins"]),
        (
            "the administrator",
            |p| p.unit.databases[0].logins.push("segue_admin".into()),
            &["SG0720 database.logins"],
        ),
        (
            "a quote",
            |p| p.unit.databases[0].logins.push("o'hara".into()),
            &["SG0720 database.logins"],
        ),
        (
            "twice",
            |p| p.unit.databases[0].logins.push("example".into()),
            &["SG0705 database.logins"],
        ),
        (
            "no administrator",
            |p| p.unit.databases[0].servers.source.admin.clear(),
            &["SG0720 database.source.admin"],
        ),
        (
            "a secret itself",
            |p| {
                p.unit.databases[0].servers.source.password = SecretRef("tr0ub4dor".into());
            },
            &["SG0718 database.source.password"],
        ),
        (
            "a bad schema name",
            |p| p.unit.databases[0].schema = "a`b".into(),
            &["SG0721 database.schema"],
        ),
    ]);
    for schema in ["mysql", "sys", "information_schema", "PERFORMANCE_SCHEMA", "segue"] {
        let mut plan = example();
        plan.unit.databases[0].schema = schema.into();
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
