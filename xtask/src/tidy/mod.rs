//! Rules of the repository, as ordinary checks.
//!
//! **Invariant.** A check is a function of the tree's text alone, so that each is tested
//! with planted violations.

mod arrows;
mod codes;
mod links;
mod mask;
mod sizes;
mod tree;
mod words;

use crate::codegen;
use anyhow::{Result, bail};
use std::path::Path;
use tree::Tree;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Printed only.
    Warn,
    /// Makes the check fail.
    Fail,
}

/// One place in the tree that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    weight: Weight,
    path: String,
    /// From 1; 0 stands for the whole file.
    line: usize,
    text: String,
}

impl Finding {
    fn fail(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { weight: Weight::Fail, path: path.to_owned(), line, text: text.into() }
    }

    fn warn(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { weight: Weight::Warn, ..Self::fail(path, line, text) }
    }
}

/// Checks the repository at `root` and prints what it finds.
///
/// # Errors
/// If a rule is broken, or the tree cannot be read.
pub(crate) fn run(root: &Path) -> Result<()> {
    let tree = Tree::read(root)?;
    let mut findings = check(&tree);
    for file in codegen::all(root)? {
        if tree.text(file.path) != Some(file.text.as_str()) {
            findings.push(Finding::fail(file.path, 0, "is stale: run `cargo xtask codegen`"));
        }
    }
    findings.sort();
    for finding in &findings {
        let word = if finding.weight == Weight::Fail { "error" } else { "warning" };
        println!("{word}: {}:{}: {}", finding.path, finding.line, finding.text);
    }
    let failed = findings.iter().filter(|f| f.weight == Weight::Fail).count();
    if failed > 0 {
        bail!("tidy: {failed} rules broken");
    }
    println!("tidy: {} files, {} warnings, no rule broken", tree.files().len(), findings.len());
    Ok(())
}

fn check(tree: &Tree) -> Vec<Finding> {
    let checks = [arrows::check, sizes::check, words::check, codes::check, links::check];
    checks.iter().flat_map(|check| check(tree)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_repository_keeps_its_rules() {
        if let Err(broken) = crate::root().and_then(|root| super::run(&root)) {
            panic!("{broken}: `cargo xtask tidy` shows them");
        }
    }
}
