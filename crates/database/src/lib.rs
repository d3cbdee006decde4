//! The MariaDB family: one schema with its logins, copied, kept up by native replication
//! in both directions, fenced, promoted and compared.
//!
//! Other schemas of the same servers stay, and may be written all the time: no global lock
//! is taken, no server is set read-only, and nothing of them travels.
//!
//! **Invariants.** Every change is made under the epoch's login, which the servers shut out
//! as soon as a higher epoch is taken. Everything Segue leaves at a server lies in the
//! schema `segue`, in logins that begin with `segue_`, and in one replication connection,
//! which all units between the same two servers share; the last one takes it along.
//! What Segue writes about itself is not in the binary log, but for heartbeat and marker.

mod backoff;
pub mod clone;
mod copy;
mod counters;
mod definitions;
mod delta;
mod difference;
mod digest;
mod effects;
mod epoch;
mod events;
mod fault;
mod frozen;
mod gtid;
mod keys;
mod link;
mod locks;
mod logins;
mod measures;
mod moment;
mod narrow;
mod own;
mod pair;
mod pieces;
mod preflight;
mod pulse;
mod replica;
mod sampler;
mod schema;
mod settings;
mod stops;
mod stream;
pub mod tail;
#[cfg(any(feature = "testing", debug_assertions))]
#[doc(hidden)]
pub mod testing;
pub mod verification;
mod way_back;

pub use delta::{DatabaseDelta, TableDelta};
pub use difference::{Comparison, Difference, DifferentRange, Keys, TableDigest};
pub use epoch::{random_password, stored_form};
pub use gtid::Position;
pub use pair::{Carried, carried};
pub use replica::MariaReplica;
pub use settings::Settings;
pub use way_back::WayBack;
