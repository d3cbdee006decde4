//! The effects of the family, one file each.

pub(crate) mod arm;
pub(crate) mod claim;
pub(crate) mod drain;
pub(crate) mod end;
pub(crate) mod fence;
pub(crate) mod follow;
pub(crate) mod promote;
pub(crate) mod seal;
pub(crate) mod seed;
pub(crate) mod shared;
pub(crate) mod verify;

use segue_model::Side;

/// Both servers.
pub(crate) const BOTH: [Side; 2] = [Side::Source, Side::Target];

/// Returns whole milliseconds since `begun`.
pub(crate) fn ms_since(begun: std::time::Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
