//! What was found, and `crash.json`.

use crate::Args;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// What one kind of fault covered.
#[derive(Default)]
pub(crate) struct Covered {
    pub(crate) covered: usize,
    pub(crate) total: usize,
    pub(crate) kills: usize,
}

/// What was found, in words and numbers.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) violations: Vec<String>,
    pub(crate) kinds: BTreeMap<&'static str, Covered>,
    pub(crate) resume_ms: Vec<u64>,
    pub(crate) looks: u64,
}

impl Found {
    pub(crate) fn kind(&mut self, kind: &'static str) -> &mut Covered {
        self.kinds.entry(kind).or_default()
    }

    fn sum(&self, of: impl Fn(&Covered) -> usize) -> usize {
        self.kinds.values().map(of).sum()
    }

    /// Writes the result; says whether it is good.
    pub(crate) fn write(&self, args: &Args, oracle: &Value) -> Result<bool> {
        let kinds: Vec<Value> = self
            .kinds
            .iter()
            .map(|(kind, of)| {
                json!({ "kind": kind, "covered": of.covered, "total": of.total, "kills": of.kills })
            })
            .collect();
        let result = json!({
            "kills": self.sum(|of| of.kills),
            "violations": self.violations.len(),
            "points_covered": self.sum(|of| of.covered),
            "points_total": self.sum(|of| of.total),
            "kinds": kinds,
            "longest_resume_ms": self.resume_ms.iter().max(),
            "looks_for_two_writers": self.looks,
            "acknowledged_writes": oracle["acknowledged_writes"],
            "failed_requests": oracle["failed_requests"],
            "violation_texts": self.violations,
            "matrix": args.matrix.as_deref().map(lines).transpose()?,
            "mutants": args.mutants.as_deref().map(whole).transpose()?,
        });
        if let Some(folder) = args.out.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&args.out, serde_json::to_string_pretty(&result)? + "\n")
            .with_context(|| format!("write `{}`", args.out.display()))?;
        println!("{result:#}");
        Ok(self.violations.is_empty() && self.sum(|of| of.covered) > 0)
    }
}

/// Reads a JSON value a line.
fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("read the matrix `{}`", path.display()))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Reads a file that holds one value; none if there is no file.
fn whole(path: &Path) -> Result<Value> {
    match std::fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(error).with_context(|| format!("read `{}`", path.display())),
    }
}
