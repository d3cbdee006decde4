//! Prepare: fronts on every address, low TTLs.

use super::{MINUTE, step};
use crate::families::Families;
use segue_engine::Table;
use segue_model::event::Phase;

/// Returns the table.
///
/// ```text
/// insert      a front on every address that DNS names or will name   undo: bypass
/// lower_ttls  TTLs of the owned record sets                          undo: exact former TTLs
/// ```
pub fn prepare(families: &Families) -> Table {
    Table {
        phase: Phase::Prepare,
        budget: None,
        gate_wait: MINUTE,
        steps: vec![
            step(
                "insert",
                "put a front on every address",
                Families::alone("fronts", families.fronts.insert()),
                MINUTE,
            ),
            step(
                "lower_ttls",
                "lower the TTLs of the owned record sets",
                families.zones_at(|_, zone| zone.lower_ttls()),
                10 * MINUTE,
            ),
        ],
    }
}
