//! Plans of many units that are refused, and run directories that cannot be used.
//!
//! Nobody is asked: each is seen in the files alone, and nothing is touched.

use crate::{bin, small_world};
use segue_testkit::stage::Segue;
use std::path::Path;
use std::process::Output;

/// What is wrong, the plan's lines behind its name and units, and the code.
const PLANS: &[(&str, &str, &str)] = &[
    ("two owners of one thing", "", "SG0741"),
    ("a wave of units that are not there", "[[wave]]\nunits = [\"nobody\"]\n[[wave]]\n", "SG0742"),
    (
        "a wave that selects nothing",
        "[[wave]]\ncreated_before = \"1990-01-01\"\n[[wave]]\n",
        "SG0742",
    ),
    ("a wave after all are taken", "[[wave]]\n[[wave]]\n", "SG0742"),
    ("a unit in no wave", "[[wave]]\nunits = [\"one\"]\n", "SG0742"),
    (
        "an unknown time zone",
        "[[window]]\nfrom = \"02:00\"\nto = \"04:00\"\nzone = \"Europa/Wien\"\n",
        "SG0744",
    ),
    ("a window without length", "[[window]]\nfrom = \"02:00\"\nto = \"02:00\"\n", "SG0744"),
    (
        "a day that is none",
        "[[window]]\ndays = [\"someday\"]\nfrom = \"02:00\"\nto = \"04:00\"\n",
        "SG0744",
    ),
    ("an hour that is none", "[[window]]\nfrom = \"25:00\"\nto = \"04:00\"\n", "SG0744"),
    (
        "a freeze that ends before it begins",
        "[[freeze]]\nfrom = \"2026-12-27\"\nto = \"2026-12-20\"\n",
        "SG0744",
    ),
    ("a freeze of words", "[[freeze]]\nfrom = \"christmas\"\nto = \"easter\"\n", "SG0744"),
    ("no room for work", "[limits]\ncutovers = 0\n", "SG0744"),
    ("a joint of one", "[[joint]]\nunits = [\"one\"]\n", "SG0743"),
    ("a joint with a stranger", "[[joint]]\nunits = [\"one\", \"nobody\"]\n", "SG0743"),
    ("an unknown strategy", "[strategy]\nstrategy = \"hope\"\n", "SG0701"),
];

/// Writes a plan of two units; `begin` stands before everything else.
fn write(folder: &Path, sound: &str, begin: &str, lines: &str, second: &str) {
    std::fs::create_dir_all(folder.join("units")).unwrap();
    for (file, name) in [("one", "one"), ("two", second)] {
        let text = sound.replacen("name = \"shop\"", &format!("name = \"{name}\""), 1);
        std::fs::write(folder.join("units").join(format!("{file}.toml")), text).unwrap();
    }
    let text = format!("name = \"many\"\nunits = [\"units/*.toml\"]\n{begin}{lines}");
    std::fs::write(folder.join("fleet.toml"), text).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn refuses_broken_plans_of_many_units() {
    let (world, dir) = small_world();
    let segue = Segue::new(&bin(), &world.description().dir).unwrap();
    let sound = world.plan_toml();
    let file = dir.path().join("fleet.toml").display().to_string();
    let mut wrong = Vec::new();
    let mut ask = |what: &str, code: &str| {
        let output = segue.command(&["plan", "--offline", &file]).output().unwrap();
        let said = said(&output);
        println!("--- {what}: {:?}\n{said}", output.status.code());
        if output.status.code() != Some(1) || !said.contains(code) {
            wrong.push(what.to_owned());
        }
    };
    for (what, lines, code) in PLANS {
        write(dir.path(), &sound, "", lines, "two");
        ask(what, code);
    }
    write(dir.path(), &sound, "begins_at = \"tomorrow\"\n", "", "two");
    ask("a beginning in words", "SG0744");
    write(dir.path(), &sound, "", "", "one");
    ask("one name for two units", "SG0741");
    std::fs::write(dir.path().join("units/two.toml"), "this is no unit").unwrap();
    ask("a unit that is no TOML", "SG0701");
    std::fs::remove_dir_all(dir.path().join("units")).unwrap();
    ask("no unit at all", "error");
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(!segue.dir().join("journal.db").exists(), "nothing was begun");
}
