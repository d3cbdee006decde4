//! Which crate may use which: the arrows of ARCHITECTURE.md.

use super::Finding;
use super::tree::Tree;
use std::collections::BTreeMap;

/// A crate and the crates of ours that it may depend on.
type Row = (&'static str, &'static [&'static str]);

const DOORS: &[&str] = &["model", "port", "doors"];

/// Arrows go down only. A crate that is not in this table is refused.
const ALLOWED: [Row; 19] = [
    ("model", &[]),
    ("port", &["model"]),
    ("doors", &["model", "port"]),
    ("front", DOORS),
    ("dns", DOORS),
    ("database", DOORS),
    ("files", DOORS),
    ("workers", DOORS),
    ("probe", DOORS),
    // Beside the families: private servers know none of them.
    ("standins", DOORS),
    // The family that runs our own front speaks its control protocol.
    ("traffic", &["model", "port", "doors", "front"]),
    ("engine", &["model", "port"]),
    ("plan", &["model"]),
    ("report", &["model"]),
    // The tables do no I/O of their own: no doors.
    (
        "migration",
        &[
            "model", "port", "front", "dns", "traffic", "database", "files", "workers", "probe",
            "engine", "plan", "report",
        ],
    ),
    (
        "server",
        &[
            "model",
            "port",
            "doors",
            "front",
            "dns",
            "traffic",
            "database",
            "files",
            "workers",
            "probe",
            "engine",
            "plan",
            "report",
            "migration",
            "standins",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "port",
            "doors",
            "front",
            "dns",
            "traffic",
            "database",
            "files",
            "workers",
            "probe",
            "engine",
            "plan",
            "report",
            "migration",
            "standins",
            "server",
        ],
    ),
    // Whoever loads and whoever judges must not share a mistake with what they test.
    ("testkit", &[]),
    ("oracle", &[]),
];

/// A dependency and the only crates that may have it, with the reason.
const KEPT: [(&str, &[&str], &str); 8] = [
    ("rusqlite", &["engine"], "only the engine writes the journal"),
    ("mysql_async", &["doors", "database", "testkit", "oracle"], "databases are reached by doors"),
    ("domain", &["dns", "testkit"], "DNS is spoken by the dns family"),
    ("clap", &["cli", "testkit", "oracle", "xtask"], "only programs have a command line"),
    ("anyhow", &["cli", "testkit", "oracle", "xtask"], "libraries have error types of their own"),
    ("schemars", &["plan"], "the plan file is the only documented file format"),
    ("proptest", &[], "property tests are dev-dependencies"),
    ("tempfile", &["testkit"], "scratch folders are for tests"),
];

/// Crates whose logic is pure: no runtime, no sockets, no clock.
const PURE: [&str; 3] = ["model", "plan", "report"];
const RUNTIME: [&str; 6] = ["tokio", "tokio-util", "rustix", "socket2", "hyper", "hyper-util"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let allowed = BTreeMap::from(ALLOWED);
    let mut findings = Vec::new();
    for file in tree.files() {
        let manifest = file.path.strip_suffix("/Cargo.toml").is_some();
        let Some(krate) = file.krate().filter(|krate| manifest && *krate != "xtask") else {
            continue;
        };
        let Ok(table) = file.text.parse::<toml::Table>() else {
            findings.push(Finding::fail(&file.path, 0, "is not TOML"));
            continue;
        };
        let Some(may) = allowed.get(krate) else {
            let text = format!("crate `{krate}` is not in the table of xtask/src/tidy/arrows.rs");
            findings.push(Finding::fail(&file.path, 0, text));
            continue;
        };
        for (kind, name) in dependencies(&table) {
            if let Some(text) = refused(krate, may, kind, &name) {
                findings.push(Finding::fail(&file.path, line_of(&file.text, &name), text));
            }
        }
        findings.extend(manifest_rules(&file.path, krate, &table));
    }
    findings
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Linked,
    ForTests,
}

fn dependencies(table: &toml::Table) -> Vec<(Kind, String)> {
    let of = |section: &str, kind| {
        let names = table.get(section).and_then(|value| value.as_table());
        names.into_iter().flat_map(|t| t.keys()).map(|name| (kind, name.clone())).collect()
    };
    let sections: [Vec<_>; 3] = [
        of("dependencies", Kind::Linked),
        of("build-dependencies", Kind::Linked),
        of("dev-dependencies", Kind::ForTests),
    ];
    sections.concat()
}

fn refused(krate: &str, may: &[&str], kind: Kind, name: &str) -> Option<String> {
    if let Some(ours) = name.strip_prefix("segue-") {
        let itself = kind == Kind::ForTests && ours == krate;
        return (!itself && !may.contains(&ours))
            .then(|| format!("`{krate}` may not depend on `{ours}`: see ARCHITECTURE.md"));
    }
    if kind == Kind::ForTests {
        return None;
    }
    if PURE.contains(&krate) && RUNTIME.contains(&name) {
        return Some(format!("`{krate}` is pure and may not depend on `{name}`"));
    }
    let (_, keepers, reason) = KEPT.iter().find(|(kept, ..)| *kept == name)?;
    (!keepers.contains(&krate)).then(|| format!("`{krate}` may not depend on `{name}`: {reason}"))
}

/// What every manifest says.
fn manifest_rules(path: &str, krate: &str, table: &toml::Table) -> Vec<Finding> {
    let package = table.get("package").and_then(|value| value.as_table());
    let name = package.and_then(|package| package.get("name")).and_then(|name| name.as_str());
    let lints = table.get("lints").and_then(|lints| lints.get("workspace"));
    let mut findings = Vec::new();
    if name != Some(format!("segue-{krate}").as_str()) {
        findings.push(Finding::fail(path, 0, format!("the package is not named `segue-{krate}`")));
    }
    if lints.and_then(|value| value.as_bool()) != Some(true) {
        findings.push(Finding::fail(path, 0, "does not take the workspace's lints"));
    }
    findings
}

fn line_of(text: &str, name: &str) -> usize {
    text.lines().position(|line| line.starts_with(name)).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(krate: &str, dependencies: &str) -> Vec<String> {
        let path = format!("crates/{krate}/Cargo.toml");
        let text = format!(
            "[package]\nname = \"segue-{krate}\"\n[lints]\nworkspace = true\n{dependencies}"
        );
        check(&Tree::planted(&[(&path, &text)])).into_iter().map(|f| f.text).collect()
    }

    #[test]
    fn refuses_every_arrow_that_is_not_in_the_table() {
        for (krate, other) in [
            ("model", "port"),
            ("front", "engine"),
            ("dns", "database"),
            ("database", "engine"),
            ("dns", "front"),
            ("engine", "doors"),
            ("engine", "dns"),
            ("plan", "port"),
            ("migration", "doors"),
            ("server", "cli"),
            ("cli", "testkit"),
            ("testkit", "oracle"),
            ("testkit", "front"),
            ("oracle", "model"),
        ] {
            for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let text = format!("[{section}]\nsegue-{other}.workspace = true\n");
                assert_eq!(found(krate, &text).len(), 1, "{krate} -> {other} in {section}");
            }
        }
    }

    #[test]
    fn allows_arrows_down_and_a_crate_itself_in_tests() {
        assert_eq!(found("cli", "[dependencies]\nsegue-server.workspace = true"), [""; 0]);
        assert_eq!(found("engine", "[dev-dependencies]\nsegue-engine = { path = \".\" }"), [""; 0]);
        assert_eq!(found("dns", "[dev-dependencies]\ntempfile.workspace = true"), [""; 0]);
    }

    #[test]
    fn keeps_dependencies_where_they_belong() {
        assert_eq!(found("server", "[dependencies]\nrusqlite.workspace = true").len(), 1);
        assert_eq!(found("engine", "[dependencies]\nrusqlite.workspace = true"), [""; 0]);
        assert_eq!(found("probe", "[dependencies]\nmysql_async.workspace = true").len(), 1);
        assert_eq!(found("model", "[dependencies]\ntokio.workspace = true").len(), 1);
        assert_eq!(found("engine", "[dependencies]\nanyhow.workspace = true").len(), 1);
    }

    #[test]
    fn refuses_a_crate_that_nobody_placed() {
        assert_eq!(found("extra", "").len(), 1);
        let text = "[package]\nname = \"front\"\n";
        let findings = check(&Tree::planted(&[("crates/front/Cargo.toml", text)]));
        assert_eq!(findings.len(), 2, "{findings:?}");
    }

    #[test]
    fn names_every_crate_of_the_workspace_once() {
        assert_eq!(BTreeMap::from(ALLOWED).len(), ALLOWED.len());
        for (krate, may) in ALLOWED {
            assert!(!may.contains(&krate), "{krate}");
        }
    }
}
