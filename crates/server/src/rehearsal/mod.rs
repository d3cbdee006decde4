//! Rehearsals: the very same tables in a closed room, against stand-ins on both sides.
//!
//! ```text
//! controller ---- clones: schema, zones, trees (the live source is only read)
//!     |
//!     +--- unshare ------------------ room: no way out, disk read-only -------------+
//!              first process --- stand-ins at the plan's own addresses              |
//!                            +-- visitors                                           |
//!                            +-- segue controller: sync, cutover, back, again       |
//!              <--- result -----------------------------------------------------+
//! ```
//!
//! The outer journal gets one record: what was rehearsed, whether it passed, and a forecast.

mod anomaly;
mod fault;
mod guide;
mod inside;
mod outside;
mod plan;
mod plant;
mod readings;
mod spec;
mod stage;

pub use guide::list_faults;
pub use inside::{first, second, site};
pub use readings::Readings;
pub use spec::Said;

pub(crate) use outside::{Asked, rehearse};
pub(crate) use readings::{Bent, given};
