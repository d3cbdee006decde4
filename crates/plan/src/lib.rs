//! The plan file: read, checked, hashed, described.
//!
//! **Invariant.** Pure: text in, plan or problems out. Nothing here opens a file, a
//! socket or a clock, so the same text gives the same plan and the same hash anywhere.
//!
//! ```text
//! text --read--> file types --convert--> model::plan::Plan --check--> problems --hash--> approval
//! ```

pub mod check;
pub mod defaults;
pub mod file;
mod fleet;
mod hash;
mod problem;
mod read;
mod template;

pub use check::check;
pub use fleet::{FleetHead, PlanText, UnitText, read_plan};
pub use hash::{Hashes, canonical, fleet_hash, hash, short};
pub use problem::{PlanError, Problem};
pub use read::{parse, read_moves};
pub use template::template;

/// A plan file: of one unit or of many.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // It exists for its schema.
enum AnyPlan {
    /// The plan of one unit.
    One(Box<file::PlanFile>),
    /// A plan that names the files of its units.
    Many(Box<file::FleetFile>),
}

/// Returns the JSON Schema of the plan file, as it stands in `docs/plan.schema.json`.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(AnyPlan).to_value()
}

/// Returns the JSON Schema of the file of moving zones, as it stands in
/// `docs/zones.schema.json`.
pub fn moves_schema() -> serde_json::Value {
    schemars::schema_for!(file::MovesFile).to_value()
}

#[cfg(test)]
mod tests;
