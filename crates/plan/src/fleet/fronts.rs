//! Fronts of several units: one address is one front, whoever uses it.

use super::problem;
use crate::Problem;
use segue_model::UnitName;
use segue_model::plan::{FrontPlan, Plan};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Refuses fronts that share an address and are not one, and those that share a file only.
pub(super) fn shared(units: &[Plan], problems: &mut Vec<Problem>) {
    let mut by_address: HashMap<SocketAddr, (&UnitName, &FrontPlan)> = HashMap::new();
    let mut by_file: HashMap<&PathBuf, (&UnitName, SocketAddr)> = HashMap::new();
    for plan in units {
        let unit = &plan.unit.name;
        for front in &plan.unit.fronts {
            let (owner, first) = by_address.entry(front.listen).or_insert((unit, front));
            if let Some(key) = differing(first, front) {
                problems.push(problem(
                    "SG0745",
                    format!("{unit}: front[{}].{key}", front.name),
                    format!(
                        "unit `{owner}` has the front at {} too, and `{key}` is another there",
                        front.listen
                    ),
                    "write the same in both: one process stands at one address",
                ));
                continue;
            }
            for file in [&front.control, &front.state] {
                let (owner, listen) = by_file.entry(file).or_insert((unit, front.listen));
                if *listen != front.listen {
                    problems.push(problem(
                        "SG0745",
                        format!("{unit}: front[{}]", front.name),
                        format!(
                            "{} belongs to the front of unit `{owner}` at {listen}",
                            file.display()
                        ),
                        "give each front a control socket and a state file of its own",
                    ));
                }
            }
        }
    }
}

fn differing(one: &FrontPlan, other: &FrontPlan) -> Option<&'static str> {
    [
        ("name", one.name == other.name),
        ("side", one.side == other.side),
        ("take_over", one.take_over == other.take_over),
        ("egress", one.egress == other.egress),
        ("control", one.control == other.control),
        ("state", one.state == other.state),
    ]
    .into_iter()
    .find_map(|(key, same)| (!same).then_some(key))
}
