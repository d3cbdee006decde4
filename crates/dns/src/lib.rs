//! DNS zones: TTLs lowered and restored, owned record sets published as one atomic
//! UPDATE (RFC 2136) and read back on every authoritative server.
//!
//! **Invariant.** Only the record sets that the plan owns are ever named in an UPDATE;
//! the SOA's serial is the only other thing that moves. Every change carries the exact
//! SOA and the exact former values as prerequisites, so that it happens to the zone
//! that was read, or not at all.

pub mod audit;
mod change;
mod clone;
mod codes;
mod diff;
pub mod drill;
mod driver;
mod effects;
mod exchange;
mod flush;
mod guards;
mod kept;
mod message;
pub mod moves;
mod parent;
mod preflight;
pub mod queries;
mod resolvers;
mod sampler;
mod sets;
mod signed;
mod transfer;
pub mod watch;
mod zone;
pub mod zonefile;

pub use audit::{OwnedAudit, SetAudit};
pub use clone::ZoneText;
pub use codes::CONFLICT;
pub use diff::{StepDiff, ZoneDiff};
pub use driver::{Capabilities, Late, Swap, capabilities_of, capability_table};
pub use effects::safe_after_gate_value;
pub use flush::{Flushed, flush_now, flush_resolvers};
pub use kept::Departure;
pub use resolvers::ResolverSampler;
pub use sets::{RecordSet, SetKey};
pub use zone::{Contents, Settings, Zone};
