//! The table of all cases.

use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Instant;

/// What a case is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Plan,
    Environment,
    Moment,
}

/// One case that was played.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) kind: Kind,
    /// The claim.
    pub(super) name: String,
    /// What is done.
    pub(super) done: String,
    /// The code or the wait that must follow.
    pub(super) expected: String,
    /// What followed.
    pub(super) seen: String,
    pub(super) right: bool,
    pub(super) took_ms: u64,
}

impl Row {
    /// Builds the row of a case that began at `began`.
    pub(super) fn new(
        kind: Kind,
        (name, done, expected): (&str, &str, &str),
        seen: Result<String, String>,
        began: Instant,
    ) -> Self {
        let right = seen.is_ok();
        let seen = seen.unwrap_or_else(|wrong| format!("WRONG: {wrong}"));
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let row = Self {
            kind,
            name: name.to_owned(),
            done: done.to_owned(),
            expected: expected.to_owned(),
            seen,
            right,
            took_ms,
        };
        // At once too: a case that hangs is then known.
        println!("{} {:?}: {} ({} ms)", row.mark(), row.kind, row.name, row.took_ms);
        if !row.right {
            println!("      {}", row.seen);
        }
        row
    }

    fn mark(&self) -> &'static str {
        if self.right { "ok   " } else { "WRONG" }
    }
}

/// Prints the table, and writes it where `SEGUE_BAD_OUT` says.
pub(super) fn show(rows: &[Row]) {
    let count = |kind| rows.iter().filter(|row| row.kind == kind).count();
    println!("\n{:<5} {:<12} {:<58} {:<34} seen", "", "kind", "case", "expected");
    for row in rows {
        println!(
            "{} {:<12} {:<58} {:<34} {}",
            row.mark(),
            format!("{:?}", row.kind).to_lowercase(),
            cut(&row.name, 58),
            cut(&row.expected, 34),
            cut(&row.seen, 150),
        );
    }
    println!(
        "bad input: {} cases: {} plans, {} environments, {} moments; {} not as expected\n",
        rows.len(),
        count(Kind::Plan),
        count(Kind::Environment),
        count(Kind::Moment),
        rows.iter().filter(|row| !row.right).count(),
    );
    if let Some(path) = std::env::var_os("SEGUE_BAD_OUT") {
        let text = serde_json::to_vec_pretty(rows).unwrap();
        std::fs::write(&path, text).unwrap();
    }
}

fn cut(text: &str, most: usize) -> String {
    let line = text.replace('\n', " ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most - 1).chain(['~']).collect()
}

/// Every case is there once, enough of these kinds, and ended as it must.
pub(super) fn check(rows: &[Row], at_least: usize, kinds: &[Kind]) {
    let wrong: Vec<_> = rows.iter().filter(|row| !row.right).collect();
    assert!(wrong.is_empty(), "{} cases did not end as they must: {wrong:#?}", wrong.len());
    assert!(rows.len() >= at_least, "{} cases, wanted {at_least}", rows.len());
    let claims: BTreeSet<_> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(claims.len(), rows.len(), "a claim stands there twice");
    let done: BTreeSet<_> = rows.iter().map(|row| (row.kind, &row.done)).collect();
    assert_eq!(done.len(), rows.len(), "two cases do the same");
    for kind in kinds {
        assert!(rows.iter().filter(|row| row.kind == *kind).count() >= 15, "too few: {kind:?}");
    }
}
