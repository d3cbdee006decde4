//! Plans of many units that the files alone show to be wrong.

use super::change::Said;
use super::desk::Desk;
use super::table::Kind;
use std::path::Path;

/// The claim, the plan's lines behind its name and units, and the code.
const PLANS: [(&str, &str, &str); 16] = [
    ("two units that own one thing", "", "SG0741"),
    ("a wave of units that are not there", "[[wave]]\nunits = [\"nobody\"]\n[[wave]]\n", "SG0742"),
    (
        "a wave that selects nothing",
        "[[wave]]\ncreated_before = \"1990-01-01\"\n[[wave]]\n",
        "SG0742",
    ),
    ("a wave after all are taken", "[[wave]]\n[[wave]]\n", "SG0742"),
    ("a unit in no wave", "[[wave]]\nunits = [\"one\"]\n", "SG0742"),
    (
        "a window in an unknown time zone",
        "[[window]]\nfrom = \"02:00\"\nto = \"04:00\"\nzone = \"Europa/Wien\"\n",
        "SG0744",
    ),
    ("a window without length", "[[window]]\nfrom = \"02:00\"\nto = \"02:00\"\n", "SG0744"),
    (
        "a window on a day that is none",
        "[[window]]\ndays = [\"someday\"]\nfrom = \"02:00\"\nto = \"04:00\"\n",
        "SG0744",
    ),
    (
        "a window at an hour that is none",
        "[[window]]\nfrom = \"25:00\"\nto = \"04:00\"\n",
        "SG0744",
    ),
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
    ("a beginning in words", "begins_at = \"tomorrow\"\n", "SG0744"),
];

pub(super) fn play(desk: &mut Desk) {
    let folder = desk.dir.path().join("fleet");
    let sound = desk.sound.clone();
    for (name, lines, code) in PLANS {
        let done = if lines.is_empty() { "two units of the same site" } else { lines };
        let place = folder.clone();
        let text = sound.clone();
        desk.case(Kind::Plan, name, done, code, move |desk| {
            write(&place, &text, lines, "two");
            ask(desk, &place).refuses(1, code)
        });
    }
    let (place, text) = (folder.clone(), sound.clone());
    desk.case(Kind::Plan, "one name for two units", "both are `one`", "SG0741", move |desk| {
        write(&place, &text, "", "one");
        ask(desk, &place).refuses(1, "SG0741 one")
    });
    let (place, text) = (folder.clone(), sound);
    desk.case(Kind::Plan, "a unit that is no TOML", "units/two.toml", "SG0701", move |desk| {
        write(&place, &text, "", "two");
        std::fs::write(place.join("units/two.toml"), "this is no unit").unwrap();
        ask(desk, &place).refuses(1, "SG0701 two.toml")
    });
    desk.case(Kind::Plan, "a plan of no unit at all", "no units/*.toml", "error", move |desk| {
        std::fs::remove_file(folder.join("units/one.toml")).unwrap();
        std::fs::remove_file(folder.join("units/two.toml")).unwrap();
        ask(desk, &folder).refuses(1, "no unit file")
    });
}

fn ask(desk: &Desk, folder: &Path) -> Said {
    let file = folder.join("fleet.toml").display().to_string();
    Said::by(&mut desk.segue.command(&["plan", "--offline", &file]))
}

/// Writes a plan of two units; what is no table stands before everything else.
fn write(folder: &Path, sound: &str, lines: &str, second: &str) {
    std::fs::create_dir_all(folder.join("units")).unwrap();
    for (file, name) in [("one", "one"), ("two", second)] {
        let text = sound.replacen("name = \"shop\"", &format!("name = \"{name}\""), 1);
        // What must have been rehearsed is said for all units together.
        let text = text.replace("[rehearsal]\nneeded = false\n", "");
        std::fs::write(folder.join("units").join(format!("{file}.toml")), text).unwrap();
    }
    let text = format!("name = \"many\"\nunits = [\"units/*.toml\"]\n{lines}");
    std::fs::write(folder.join("fleet.toml"), text).unwrap();
}
