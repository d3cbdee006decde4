//! Scripts of runs, and how a failing one is made small.

use super::{Mutant, Report, run};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a run is decided by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Decides everything.
    pub seed: u64,
    /// The rule that is left out, if one is.
    pub mutant: Option<Mutant>,
    /// Disturbances, by number, that may happen; all if `None`.
    pub only: Option<BTreeSet<u32>>,
}

impl Script {
    /// Returns the whole run of a seed.
    pub fn of(seed: u64, mutant: Option<Mutant>) -> Self {
        Self { seed, mutant, only: None }
    }
}

impl fmt::Display for Script {
    /// Writes a line of the fixtures' file: the seed, then the disturbances, if not all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        let Some(only) = &self.only else { return Ok(()) };
        let numbers: Vec<String> = only.iter().map(u32::to_string).collect();
        write!(f, " only {}", numbers.join(","))
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{line}`: {what}");
        let text = line.split('#').next().unwrap_or_default().trim();
        let (seed, only) = match text.split_once(" only ") {
            None => (text, None),
            Some((seed, numbers)) => {
                let numbers = numbers.split(',').filter(|n| !n.trim().is_empty());
                let numbers = numbers.map(|n| n.trim().parse().map_err(|_| wrong("no number")));
                (seed, Some(numbers.collect::<Result<BTreeSet<u32>, String>>()?))
            }
        };
        let seed = seed.trim().parse().map_err(|_| wrong("it does not begin with a seed"))?;
        Ok(Self { seed, mutant: None, only })
    }
}

/// Reads a file of scripts: one a line, `#` begins a note.
///
/// # Errors
/// Returns the first line that is none.
pub fn fixtures(text: &str) -> Result<Vec<Script>, String> {
    let lines = text.lines().filter(|line| !line.split('#').next().unwrap_or("").trim().is_empty());
    lines.map(str::parse).collect()
}

/// Returns the smallest script found that still breaks a promise, with its run: first the
/// shortest prefix of disturbances that is enough, then as few of them as possible.
pub fn shrink(script: &Script) -> (Script, Report) {
    let whole = run(script, false);
    let numbers: Vec<u32> = whole.disturbed.iter().map(|(number, _)| *number).collect();
    let fails = |only: &BTreeSet<u32>| {
        let script = Script { only: Some(only.clone()), ..script.clone() };
        run(&script, false).violation.is_some()
    };
    // Half of them first, then the shortest prefix below: most prefixes that are long fail.
    let (mut enough, mut least) = (numbers.len(), numbers.iter().copied().collect());
    while enough > 0 {
        let half: BTreeSet<u32> = numbers[..enough / 2].iter().copied().collect();
        if !fails(&half) {
            break;
        }
        (enough, least) = (enough / 2, half);
    }
    for shorter in enough / 2 + 1..enough {
        let prefix: BTreeSet<u32> = numbers[..shorter].iter().copied().collect();
        if fails(&prefix) {
            least = prefix;
            break;
        }
    }
    for number in least.clone() {
        let mut fewer = least.clone();
        fewer.remove(&number);
        if fails(&fewer) {
            least = fewer;
        }
    }
    let small = Script { only: Some(least), ..script.clone() };
    let report = run(&small, true);
    if report.violation.is_some() {
        return (small, report);
    }
    (script.clone(), run(script, true))
}
