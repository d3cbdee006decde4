//! What a benchmark found.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// One comparison. Lower is better throughout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    /// What is measured.
    pub(super) what: String,
    /// `ratio` (ours to a peer's), `bound` (ours alone), `shown` (a ratio without a goal) or
    /// `missing` (not measured).
    pub(super) kind: &'static str,
    /// Our value.
    pub(super) ours: Option<f64>,
    /// The peer's value.
    pub(super) peer: Option<f64>,
    /// Who the peer is.
    pub(super) peer_name: Option<&'static str>,
    /// Whether the peer is not installed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) peer_missing: bool,
    /// Unit of both values.
    pub(super) unit: &'static str,
    /// Ours divided by the peer's.
    pub(super) ratio: Option<f64>,
    /// The most that the ratio, or our value, may be.
    pub(super) goal: Option<f64>,
    /// Whether it is.
    pub(super) pass: bool,
    /// Why nothing was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<&'static str>,
}

impl Row {
    /// Compares with a peer; one that is missing does not pass.
    pub(super) fn ratio(
        what: &str,
        unit: &'static str,
        ours: f64,
        peer_name: &'static str,
        peer: Option<f64>,
        goal: f64,
    ) -> Self {
        let ratio = peer.map(|peer| ours / peer);
        Self {
            what: what.into(),
            kind: "ratio",
            ours: Some(ours),
            peer,
            peer_name: Some(peer_name),
            peer_missing: peer.is_none(),
            unit,
            ratio,
            goal: Some(goal),
            pass: ratio.is_some_and(|r| r <= goal),
            missing: None,
        }
    }

    /// Shows a peer's value beside ours: a time that the machine's other work decides.
    pub(super) fn shown(
        what: &str,
        unit: &'static str,
        ours: f64,
        peer_name: &'static str,
        peer: Option<f64>,
    ) -> Self {
        let row = Self::ratio(what, unit, ours, peer_name, peer, f64::INFINITY);
        Self { kind: "shown", goal: None, pass: true, ..row }
    }

    /// Says that something is not measured, and why; it does not pass.
    pub(super) fn missing(what: &str, unit: &'static str, goal: f64, why: &'static str) -> Self {
        let row = Self::bound(what, unit, f64::INFINITY, goal);
        Self { kind: "missing", ours: None, pass: false, missing: Some(why), ..row }
    }

    /// Compares with a bound.
    pub(super) fn bound(what: &str, unit: &'static str, ours: f64, goal: f64) -> Self {
        Self {
            what: what.into(),
            kind: "bound",
            ours: Some(ours),
            peer: None,
            peer_name: None,
            peer_missing: false,
            unit,
            ratio: None,
            goal: Some(goal),
            pass: ours <= goal,
            missing: None,
        }
    }

    /// Returns what is compared with whom.
    pub(super) fn name(&self) -> String {
        match self.peer_name {
            Some(peer) => format!("{} / {peer}", self.what),
            None => self.what.clone(),
        }
    }
}

/// Writes the rows as JSON.
pub(super) fn write(path: &Path, rows: &[Row]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let text = serde_json::to_string_pretty(rows)? + "\n";
    std::fs::write(path, text).with_context(|| format!("write `{}`", path.display()))
}

/// Returns the rows as a table for people.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<64} {:>10} {:>10} {:>7} {:>6}  {}\n",
        "what", "ours", "peer", "ratio", "goal", "pass"
    );
    for row in rows {
        let number = |n: Option<f64>| n.map_or_else(|| "-".to_owned(), |n| format!("{n:.2}"));
        let peer = if row.peer_missing { "missing".into() } else { number(row.peer) };
        let pass = match (row.missing, row.goal) {
            (Some(why), _) => format!("NO: {why}"),
            (None, None) => "shown".into(),
            (None, Some(_)) => if row.pass { "yes" } else { "NO" }.into(),
        };
        let what = format!("{} [{}]", row.name(), row.unit);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{what:<64} {:>10} {peer:>10} {:>7} {:>6}  {pass}",
            number(row.ours),
            number(row.ratio),
            number(row.goal),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_pass_above_the_goal_nor_without_the_peer() {
        assert!(Row::ratio("x", "us", 25.0, "peer", Some(20.0), 1.25).pass);
        assert!(!Row::ratio("x", "us", 25.1, "peer", Some(20.0), 1.25).pass);
        let missing = Row::ratio("x", "us", 1.0, "peer", None, 1.25);
        assert!(missing.peer_missing && !missing.pass);
        assert!(!Row::bound("x", "requests", 1.0, 0.0).pass);
        assert!(table(&[missing]).contains("missing"));
    }

    #[test]
    fn what_was_not_measured_does_not_pass_and_says_why() {
        let row = Row::missing("x", "us", 1.0, "no such thing");
        assert!(!row.pass && row.ours.is_none());
        assert!(table(&[row]).contains("NO: no such thing"));
        assert!(Row::shown("x", "us", 9.0, "peer", Some(1.0)).pass);
    }
}
