//! Words and calls that are kept to their place, or kept out.

use super::tree::{File, Tree};
use super::{Finding, mask};

/// A piece of code, and the crates or files that may hold it.
struct Kept {
    call: &'static str,
    places: &'static [&'static str],
    reason: &'static str,
}

const PROGRAMS: &[&str] = &[
    "crates/cli/",
    "crates/testkit/",
    "crates/oracle/",
    // What a benchmark's program measured.
    "crates/database/benches/",
    "crates/dns/benches/",
    "crates/engine/benches/",
    "crates/front/benches/",
    "crates/server/benches/",
    "xtask/",
    TESTS,
];
/// Every file of test code.
const TESTS: &str = "(tests)";
const NOWHERE: &[&str] = &[];

const CODE: [Kept; 11] = [
    Kept { call: "println!", places: PROGRAMS, reason: "libraries log, programs print" },
    Kept { call: "print!", places: PROGRAMS, reason: "libraries log, programs print" },
    Kept { call: "eprintln!", places: PROGRAMS, reason: "libraries log, programs print" },
    Kept { call: "eprint!", places: PROGRAMS, reason: "libraries log, programs print" },
    Kept {
        call: "unsafe",
        places: &["crates/doors/src/takeover.rs"],
        reason: "one file holds what the system offers no safe call for",
    },
    Kept {
        call: "Command::new",
        places: &[
            "crates/cli/",
            "crates/dns/benches/",
            "crates/doors/",
            "crates/testkit/",
            "xtask/",
            TESTS,
        ],
        reason: "children are started by the doors, which end them with the controller",
    },
    Kept {
        call: "thread::sleep",
        // The watch of a tree has a thread of its own, without a runtime; a kill point stops
        // the whole process.
        places: &[
            "crates/engine/benches/",
            "crates/front/benches/",
            "crates/engine/src/crashpoint.rs",
            "crates/files/",
            "crates/testkit/",
            "xtask/",
            TESTS,
        ],
        reason: "it stops every task of the thread",
    },
    Kept { call: "todo!", places: NOWHERE, reason: "write it or leave it out" },
    Kept { call: "unimplemented!", places: NOWHERE, reason: "write it or leave it out" },
    Kept { call: "dbg!", places: NOWHERE, reason: "it is for the moment only" },
    Kept {
        call: "#[ignore",
        // Every point and pair takes minutes: `make crash` runs them all, the tests a sample;
        // `make bad` plays moments under load; `make rehearse` every trigger, the tests four.
        // `make dns` asks moto, which Debian does not have; what is killed is a test's child.
        places: &[
            "crates/dns/tests/it/kill.rs",
            "crates/dns/tests/it/moto.rs",
            "crates/engine/tests/it/crash/",
            "crates/testkit/tests/it/bad/",
            "crates/testkit/tests/it/rehearse.rs",
        ],
        reason: "a test runs or is not there",
    },
];

/// Words that the glossary replaces, and where another project's language needs them.
const WORDS: [(&str, &[&str], &str); 5] = [
    ("compensat", &["docs/glossary.md"], "say undo, withdraw, rollback or failback"),
    ("legacy_", &["docs/glossary.md"], "say source"),
    ("slave", SERVERS, "say source and target, or primary and secondary"),
    ("master", SERVERS, "say source and target, or primary and secondary"),
    ("fixme", &[], "mend it or say in plain words what does not work"),
];

/// Servers' own words: statements of MariaDB, settings of BIND and nginx.
const SERVERS: &[&str] = &[
    "docs/glossary.md",
    "docs/errors/SG02",
    "crates/database/",
    "crates/testkit/",
    "crates/oracle/",
    "crates/doors/src/sql",
    "crates/standins/",
    "xtask/src/bench/",
    // What nginx calls its main process.
    "crates/traffic/src/proxy/nginx/",
    TESTS,
];

/// Paths of one machine only.
const MACHINE: [&str; 3] = ["/work/", "/root/", "/tmp/t-"];

/// The rule book itself names what it forbids.
const RULES: &str = "xtask/src/tidy/";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, masked) in tree.rust() {
        for (number, line) in mask::numbered(&masked.code) {
            for kept in CODE.iter().filter(|kept| holds(line, kept.call)) {
                if !allowed(file, kept.places) {
                    let text = format!("`{}` does not belong here: {}", kept.call, kept.reason);
                    findings.push(Finding::fail(&file.path, number, text));
                }
            }
        }
    }
    let readable = |file: &&File| !file.path.starts_with(RULES) && spoken(&file.path);
    for file in tree.files().iter().filter(readable) {
        findings.extend(text(file));
    }
    findings
}

fn allowed(file: &File, places: &[&str]) -> bool {
    places.iter().any(|place| file.path.starts_with(place) || *place == TESTS && file.is_test())
}

fn spoken(path: &str) -> bool {
    !matches!(path, "Cargo.lock" | "LICENSE" | "docs/plan.schema.json")
}

fn text(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in mask::numbered(&file.text) {
        let lower = line.to_lowercase();
        for (word, places, instead) in WORDS {
            if lower.contains(word) && !allowed(file, places) {
                let text = format!("`{word}` is not our word: {instead}");
                findings.push(Finding::fail(&file.path, number, text));
            }
        }
        for path in MACHINE.iter().filter(|path| line.contains(*path)) {
            let text = format!("`{path}` is a path of one machine");
            findings.push(Finding::fail(&file.path, number, text));
        }
        if line.ends_with([' ', '\t']) {
            findings.push(Finding::fail(&file.path, number, "ends with a blank"));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(Finding::fail(&file.path, 0, "does not end with a line break"));
    }
    findings
}

/// Returns whether the line holds the call as a word of its own.
fn holds(line: &str, call: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(call).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + call.len()..].chars().next();
        let open = call.ends_with(|c: char| !word(c)) || call.starts_with('#');
        !before.is_some_and(word) && (open || !after.is_some_and(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Tree::planted(&[(path, text)])).into_iter().map(|f| f.text).collect()
    }

    #[test]
    fn refuses_calls_outside_their_place() {
        for (path, line) in [
            ("crates/dns/src/lib.rs", "println!(\"x\");\n"),
            ("crates/server/src/lib.rs", "eprintln!(\"x\");\n"),
            ("crates/dns/src/lib.rs", "unsafe { f() }\n"),
            ("crates/doors/src/lib.rs", "unsafe { f() }\n"),
            ("crates/dns/src/lib.rs", "std::process::Command::new(\"dig\");\n"),
            ("crates/dns/src/lib.rs", "std::thread::sleep(x);\n"),
            ("crates/cli/src/main.rs", "todo!()\n"),
            ("crates/cli/src/main.rs", "dbg!(x);\n"),
            ("crates/cli/tests/it/main.rs", "#[ignore = \"slow\"]\n"),
        ] {
            assert_eq!(found(path, line).len(), 1, "{path}: {line}");
        }
    }

    #[test]
    fn allows_calls_in_their_place_and_in_words() {
        for (path, line) in [
            ("crates/cli/src/main.rs", "println!(\"x\");\n"),
            ("crates/doors/src/takeover.rs", "unsafe { f() }\n"),
            ("crates/dns/src/lib.rs", "// println! is not for libraries\n"),
            ("crates/dns/tests/it/main.rs", "eprintln!(\"x\");\n"),
            ("crates/dns/src/lib.rs", "let x = \"unsafe\"; unsafe_code();\n"),
            ("crates/dns/src/lib.rs", "writeln!(f); not_dbg!(x);\n"),
        ] {
            assert_eq!(found(path, line), [""; 0], "{path}: {line}");
        }
    }

    #[test]
    fn refuses_words_that_are_not_ours() {
        for line in [
            "// the Compensating step\n",
            "let legacy_host = 1;\n",
            "// the slave\n",
            "// reads /root/.my.cnf\n",
            "// in /tmp/t-front\n",
            "let a = 1; \n",
            "no line break",
        ] {
            assert_eq!(found("crates/dns/src/lib.rs", line).len(), 1, "{line}");
            assert_eq!(found("docs/page.md", line).len(), 1, "{line}");
        }
        assert_eq!(found("crates/database/src/stream.rs", "\"STOP SLAVE\";\n"), [""; 0]);
        assert_eq!(found("docs/page.md", "the workers of /workers\n"), [""; 0]);
    }
}
