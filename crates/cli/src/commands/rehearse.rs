//! `segue rehearse --list-faults`: what can be asked of a rehearsal. The rehearsal itself is a
//! request to the controller.

use anyhow::Result;
use segue_server::{plans, rehearsal};
use std::path::Path;

/// Prints the triggers of every unit, what each starts, and how its fault is planted.
///
/// # Errors
/// If no approved plan has that hash.
pub(crate) fn list_faults(dir: &Path, hash: &str, json: bool) -> Result<u8> {
    let (_, fleet) = plans::load(dir, hash)?;
    for plan in &fleet.units {
        if fleet.units.len() > 1 && !json {
            println!("{}", plan.unit.name);
        }
        for (trigger, action, planted) in rehearsal::list_faults(plan) {
            if json {
                let line = serde_json::json!({
                    "unit": plan.unit.name, "trigger": trigger, "action": action, "planted": planted,
                });
                println!("{line}");
            } else {
                println!("{trigger:<24} {action:<12} {planted}");
            }
        }
    }
    Ok(0)
}
