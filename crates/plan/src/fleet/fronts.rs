//! Fronts of several units: one address is one front, whoever uses it.

use super::problem;
use crate::Problem;
use segue_model::UnitName;
use segue_model::plan::{FrontPlan, Plan};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A front and the unit that was the first to name it.
type First<'a> = (&'a UnitName, &'a FrontPlan);

/// Refuses fronts that share an address and are not one, and those that share a file only.
pub(super) fn shared(units: &[Plan], problems: &mut Vec<Problem>) {
    let mut by_address: HashMap<SocketAddr, First<'_>> = HashMap::new();
    let mut by_file: HashMap<&PathBuf, First<'_>> = HashMap::new();
    for plan in units {
        let unit = &plan.unit.name;
        for front in &plan.unit.fronts {
            if let Some(problem) = another_there(&mut by_address, unit, front) {
                problems.push(problem);
                continue;
            }
            for file in [&front.control, &front.state] {
                let (owner, first) = by_file.entry(file).or_insert((unit, front));
                if first.ports != front.ports {
                    problems.push(problem(
                        "SG0745",
                        format!("{unit}: front[{}]", front.name),
                        format!(
                            "{} belongs to the front of unit `{owner}` at {}",
                            file.display(),
                            first.addresses()
                        ),
                        "give each front a control socket and a state file of its own",
                    ));
                }
            }
        }
    }
}

/// Refuses ports for TCP that tell no units apart and whose front several units have; those that
/// switch together are one.
pub(super) fn of_one_unit(units: &[Arc<Plan>], problems: &mut Vec<Problem>) {
    let mut owners: HashMap<SocketAddr, &UnitName> = HashMap::new();
    let every = units.iter().flat_map(|plan| plan.unit.fronts.iter().map(|f| (&plan.unit.name, f)));
    for (unit, front) in every {
        let Some((port, _)) = front.tcp().find(|(_, tcp)| !tcp.by_name) else { continue };
        let owner = *owners.entry(port.listen).or_insert(unit);
        if owner != unit {
            problems.push(problem(
                "SG0760",
                format!("{unit}: front[{}].port", front.name),
                format!("unit `{owner}` has this front too, and {} is for tcp", port.listen),
                "a connection of TCP names no site, so its port belongs to one unit: give it a \
                 front of its own, let both units switch together, or write `by_name = true` if \
                 clients speak TLS from the first byte",
            ));
        }
    }
}

/// Returns what is wrong if a port of `front` is described in another way by a unit before.
fn another_there<'a>(
    by_address: &mut HashMap<SocketAddr, First<'a>>,
    unit: &'a UnitName,
    front: &'a FrontPlan,
) -> Option<Problem> {
    for port in &front.ports {
        let (owner, first) = by_address.entry(port.listen).or_insert((unit, front));
        let Some(key) = differing(first, front) else { continue };
        return Some(problem(
            "SG0745",
            format!("{unit}: front[{}].{key}", front.name),
            format!(
                "unit `{owner}` has the front at {} too, and `{key}` is another there",
                port.listen
            ),
            "write the same in both: one process stands at one address",
        ));
    }
    None
}

fn differing(one: &FrontPlan, other: &FrontPlan) -> Option<&'static str> {
    let ports = match (one.ports.as_slice(), other.ports.as_slice()) {
        ([_], [_]) => "take_over",
        _ => "port",
    };
    [
        ("name", one.name == other.name),
        ("side", one.side == other.side),
        (ports, one.ports == other.ports),
        ("egress", one.egress == other.egress),
        ("control", one.control == other.control),
        ("state", one.state == other.state),
        ("trusted", one.trusted == other.trusted),
        ("limits", one.limits == other.limits),
        ("metrics", one.metrics == other.metrics),
        ("access_log", one.access_log == other.access_log),
        ("haproxy or nginx", one.proxy == other.proxy),
    ]
    .into_iter()
    .find_map(|(key, same)| (!same).then_some(key))
}
