//! Stand-ins: what a rehearsal puts in the place of the real servers, in a closed room.
//!
//! A *room* is a set of new namespaces (network, mounts, processes; users where this process
//! is not root). Its only interface is the loopback, which has every address that the plan
//! names: stand-ins listen at the very same addresses and ports, and nothing that is sent
//! anywhere leaves. Its file system is read-only, except for the rehearsal's own folder.
//!
//! **Invariants.** A stand-in is started in a room only, where no address outside can be
//! reached. Nothing here knows a family, a table or a journal. No stand-in holds a secret on a
//! disk: passwords come by standard input, keys lie in the room's memory.

pub mod ledger;
pub mod load;
pub mod mariadb;
pub mod mood;
pub mod named;
pub mod replay;
pub mod room;
pub mod site;

mod client;
mod http;
mod mounts;

use segue_model::{Fault, FaultKind};

/// Returns the fault of a stand-in that cannot be made.
fn fault(op: impl Into<String>, cause: impl std::fmt::Display) -> Fault {
    Fault::new("SG0852", FaultKind::Invalid, op.into(), cause)
}
