//! The units of a plan, read from their files by all cores.

use super::{UnitText, one, problem};
use crate::file::PlanFile;
use crate::read::{Common, plan, unreadable};
use crate::{PlanError, Problem, check};
use segue_model::plan::{Plan, Policy};
use std::sync::Arc;

/// So many problems are shown; a mistake in a template is in every unit.
const PROBLEMS_SHOWN: usize = 50;

/// So many different policies are looked through; of more each unit keeps its own.
const POLICIES_KNOWN: usize = 64;

/// One unit's text: where it stands, and whether it is JSON.
struct Piece<'a> {
    name: &'a str,
    line: Option<usize>,
    text: &'a str,
}

type Parsed = Result<(Plan, Vec<Problem>), PlanError>;

/// Reads every unit and checks it by itself.
pub(super) fn read(
    texts: &[UnitText],
    common: &Common,
    problems: &mut Vec<Problem>,
) -> Result<Vec<Plan>, PlanError> {
    let pieces: Vec<Piece<'_>> = texts.iter().flat_map(pieces).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = pieces.len().div_ceil(cores).max(1);
    let parsed: Vec<Vec<Parsed>> = std::thread::scope(|scope| {
        let parse = |share: &[Piece<'_>]| -> Vec<Parsed> {
            let mut policies = Policies::default();
            let one = |piece: &Piece<'_>| {
                let (mut plan, problems) = one(piece, common)?;
                plan.policy = policies.shared(plan.policy);
                Ok((plan, problems))
            };
            share.iter().map(one).collect()
        };
        let working: Vec<_> =
            pieces.chunks(share).map(|share| scope.spawn(move || parse(share))).collect();
        working.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let mut policies = Policies::default();
    let mut units = Vec::with_capacity(pieces.len());
    for parsed in parsed.into_iter().flatten() {
        let (mut plan, found) = parsed?;
        if problems.len() < PROBLEMS_SHOWN {
            problems.extend(found);
        }
        plan.policy = policies.shared(plan.policy);
        units.push(plan);
    }
    if units.len() != pieces.len() {
        problems.push(problem("SG0740", "units", "not every unit was read", "try again"));
    }
    Ok(units)
}

/// Policies that are kept once: thousands of units have the same one.
#[derive(Default)]
struct Policies {
    known: Vec<Arc<Policy>>,
}

impl Policies {
    /// Returns the policy that is known and equal, or else this one, which is known then.
    fn shared(&mut self, policy: Arc<Policy>) -> Arc<Policy> {
        let same = |known: &&Arc<Policy>| Arc::ptr_eq(known, &policy) || ***known == *policy;
        if let Some(known) = self.known.iter().find(same) {
            return Arc::clone(known);
        }
        if self.known.len() < POLICIES_KNOWN {
            self.known.push(Arc::clone(&policy));
        }
        policy
    }
}

fn pieces(file: &UnitText) -> Vec<Piece<'_>> {
    if !file.name.ends_with(".jsonl") {
        return vec![Piece { name: &file.name, line: None, text: &file.text }];
    }
    let lines = file.text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, text)| Piece { name: &file.name, line: Some(at + 1), text }).collect()
}

fn one(piece: &Piece<'_>, common: &Common) -> Parsed {
    let file: PlanFile = match piece.line {
        None => toml::from_str(piece.text).map_err(|e| unreadable(&e, piece.text, piece.name))?,
        Some(line) => {
            serde_json::from_str(piece.text).map_err(|error| PlanError::Unreadable {
                name: piece.name.to_owned(),
                line,
                column: error.column(),
                // Its own message repeats values, and one of them may be a secret.
                cause: match error.classify() {
                    serde_json::error::Category::Data => {
                        "a key is unknown or missing, or a value has another type".to_owned()
                    }
                    _ => "this is not JSON".to_owned(),
                },
            })?
        }
    };
    let mut problems = Vec::new();
    one::belongs_elsewhere(&file, &mut problems);
    let plan = plan(file, Some(common), &mut problems);
    problems.extend(check(&plan));
    let unit = plan.unit.name.to_string();
    for problem in &mut problems {
        problem.key = format!("{unit}: {}", problem.key);
    }
    Ok((plan, problems))
}
