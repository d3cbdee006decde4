//! Paths that pages name exist.

use super::tree::Tree;
use super::{Finding, mask};

/// First parts of paths that are meant to be in this repository.
const ROOTS: [&str; 4] = ["crates/", "docs/", "xtask/", "scripts/"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in mask::numbered(&file.text) {
            let links = links(line).map(|link| beside(&file.path, link));
            for path in quoted(line).map(str::to_owned).chain(links) {
                if !exists(tree, &path) {
                    let text = format!("`{path}` is not in the repository");
                    findings.push(Finding::fail(&file.path, number, text));
                }
            }
        }
    }
    findings
}

/// Returns the paths between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    let inside = line.split('`').skip(1).step_by(2);
    inside.filter(|path| {
        ROOTS.iter().any(|root| path.starts_with(root)) && !path.contains([' ', '*', '<', '{'])
    })
}

/// Returns the targets of links that lead to no other site and no place in a page.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with('#'))
}

/// Returns the path from the root of a link in the page at `page`.
fn beside(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('#').next().unwrap_or_default().split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn exists(tree: &Tree, path: &str) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    tree.text(path).is_some() || tree.files().iter().any(|file| file.path.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str, line: &str) -> usize {
        let files = [(page, line), ("crates/dns/src/lib.rs", ""), ("docs/a.md", "")];
        check(&Tree::planted(&files)).len()
    }

    #[test]
    fn refuses_paths_that_are_gone() {
        assert_eq!(found("README.md", "see `crates/dns/src/gone.rs`"), 1);
        assert_eq!(found("README.md", "see [that](docs/gone.md)"), 1);
        assert_eq!(found("docs/b.md", "see [that](docs/a.md)"), 1);
    }

    #[test]
    fn accepts_files_folders_and_other_sites() {
        assert_eq!(found("README.md", "`crates/dns/` and `crates/dns/src/lib.rs`"), 0);
        assert_eq!(found("README.md", "[a](docs/a.md#top), `docs/errors/*.md`, [b](#here)"), 0);
        assert_eq!(found("docs/b.md", "[a](a.md), [c](../crates/dns), [d](https://a.test/b)"), 0);
    }
}
