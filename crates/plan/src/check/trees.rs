//! Roots of directory trees.

use super::names::name;
use super::{Found, key};
use segue_model::Side;
use segue_model::plan::TreePlan;
use std::path::{Component, Path};

/// Folders of the system: as a whole they are nobody's site.
const SYSTEM: [&str; 16] = [
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin",
    "/sys", "/tmp", "/usr", "/var", "/opt",
];

pub(super) fn check(found: &mut Found, trees: &[TreePlan]) {
    let mut roots: Vec<(String, &Path)> = Vec::new();
    for (index, tree) in trees.iter().enumerate() {
        let at = key("tree", index, &tree.name).to_string();
        name(found, format!("{at}.name"), &tree.name);
        for side in [Side::Source, Side::Target] {
            let at = format!("{at}.{side}");
            let path = tree.roots.get(side).as_path();
            if let Some(text) = not_a_root(path) {
                found.add(
                    "SG0722",
                    at,
                    text,
                    "write the folder of this site alone, in full, without `..`",
                );
            } else {
                roots.push((at, path));
            }
        }
        if tree.exclude.iter().any(|pattern| pattern.trim().is_empty()) {
            found.add(
                "SG0722",
                format!("{at}.exclude"),
                "a pattern is empty",
                "write a pattern or take it away",
            );
        }
    }
    found.duplicates(
        "tree name",
        trees.iter().enumerate().map(|(i, t)| (key("tree", i, &t.name), t.name.as_str())),
    );
    nested(found, &roots);
}

fn not_a_root(path: &Path) -> Option<String> {
    let shown = path.display();
    if !path.is_absolute() {
        return Some(format!("`{shown}` is a relative path"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Some(format!("`{shown}` climbs with `..`"));
    }
    if path == Path::new("/") || SYSTEM.iter().any(|system| path == Path::new(system)) {
        return Some(format!("`{shown}` is a folder of the system"));
    }
    None
}

fn nested(found: &mut Found, roots: &[(String, &Path)]) {
    for (index, (at, path)) in roots.iter().enumerate() {
        for (other_at, other) in &roots[..index] {
            let relation = if path == other {
                "the same folder as"
            } else if path.starts_with(other) {
                "inside"
            } else if other.starts_with(path) {
                "around"
            } else {
                continue;
            };
            found.add(
                "SG0722",
                at,
                format!("`{}` is {relation} `{}` of `{other_at}`", path.display(), other.display()),
                "give each root a folder that holds no other root",
            );
        }
    }
}
