//! What is refused in a plan, and what to write instead.
//!
//! **Invariant.** Only what can be told from the plan itself. Whether the world fits the
//! plan is asked by each family's `preflight`.

mod cdns;
mod database;
mod fronts;
mod gates;
mod joins;
mod measured;
mod measures;
mod moves;
mod names;
mod policy;
mod proxies;
mod split;
mod trees;
mod triggers;
mod unit;
mod zones;

pub(crate) use measured::{Asker, custom_origin, unmeasured};
pub(crate) use moves::check as check_moves;
pub(crate) use unit::without_web_server;

use crate::Problem;
use segue_model::plan::Plan;
use std::collections::BTreeSet;
use std::fmt;

/// Returns everything in the plan that is refused, in the order of the file.
pub fn check(plan: &Plan) -> Vec<Problem> {
    let mut found = Found::default();
    names::name(&mut found, "name", &plan.name);
    unit::check(&mut found, &plan.unit);
    fronts::check(&mut found, &plan.unit);
    database::check(&mut found, &plan.unit.databases);
    trees::check(&mut found, &plan.unit.trees);
    zones::check(&mut found, &plan.unit);
    cdns::check(&mut found, &plan.unit);
    policy::check(&mut found, &plan.policy);
    split::check(&mut found, plan);
    proxies::check(&mut found, plan);
    measures::check(&mut found, &plan.unit);
    gates::check(&mut found, plan);
    triggers::check(&mut found, plan);
    found.problems
}

/// Collects problems.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
}

impl Found {
    fn add(
        &mut self,
        code: &'static str,
        key: impl Into<String>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems.push(Problem {
            code,
            key: key.into(),
            text: text.into(),
            remedy: remedy.into(),
        });
    }

    /// Adds SG0705 for every value that an earlier one of the same kind already had.
    fn duplicates<'a>(
        &mut self,
        what: &str,
        values: impl Iterator<Item = (impl fmt::Display, &'a str)>,
    ) {
        let mut seen = BTreeSet::new();
        for (key, value) in values {
            if !seen.insert(value) {
                self.add(
                    "SG0705",
                    key.to_string(),
                    format!("{what} `{value}` is there twice"),
                    "give each its own",
                );
            }
        }
    }
}

/// Shows as `list[name]`, or `list[#n]` counted from 1 where the name is empty. Written out
/// only where something is wrong: plans have thousands of units with dozens of triggers.
#[derive(Clone, Copy)]
struct Key<'a> {
    list: &'static str,
    index: usize,
    name: &'a str,
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list, index, name } = self;
        if name.is_empty() {
            write!(f, "{list}[#{}]", index + 1)
        } else {
            write!(f, "{list}[{name}]")
        }
    }
}

fn key<'a>(list: &'static str, index: usize, name: &'a str) -> Key<'a> {
    Key { list, index, name }
}
