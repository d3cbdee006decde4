//! What drivers share whose provider compares nothing: values read again right before, and a
//! wait for what may still be under way.

use super::State;
use crate::audit::start;
use crate::change::Change;
use crate::codes;
use crate::message::Soa;
use crate::sets::Owner;
use domain::base::Rtype;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A request whose sender is dead reaches its server within a round trip, and servers work on
/// one for less than this.
pub(super) const UNDER_WAY: Duration = Duration::from_secs(4);

/// Waits until nothing can be under way any more that a dead process sent.
///
/// # Errors
/// `SG0310` if the deadline is nearer than that.
pub(super) async fn wait_out(op: &str, until: Instant) -> Outcome<()> {
    if Instant::now() + UNDER_WAY > until {
        let cause = format!("a former change may be under way for {UNDER_WAY:?}");
        return Err(Fault::new(codes::BUSY, FaultKind::Busy, op, cause)
            .hint("allow the step more time; nothing was changed"));
    }
    sleep(UNDER_WAY).await;
    Ok(())
}

/// Refuses a change of the zone's own name servers to none: some providers would make it.
///
/// # Errors
/// `SG0317`; nothing was sent.
pub(super) fn keep_name_servers(zone: &str, change: &Change, op: &str) -> Outcome<()> {
    let apex = super::apex(zone)?;
    let gone = change.former.iter().zip(&change.wanted).find(|(former, wanted)| {
        former.key.name == apex
            && former.key.rtype == Rtype::NS
            && former.exists()
            && !wanted.exists()
    });
    match gone {
        None => Ok(()),
        Some(_) => Err(Fault::new(
            codes::GUARD,
            FaultKind::Invalid,
            op,
            format!("zone `{zone}` would be left without name servers"),
        )
        .hint("nothing was changed; keep at least one NS record at the zone's top")),
    }
}

/// Says whether the sets of a change are as the change expects them.
pub(super) fn as_expected(state: &State, change: &Change) -> bool {
    state.sets == change.former
}

/// Reads the SOA from the first name server that answers, where a provider does not tell it.
///
/// # Errors
/// As every question, of the last server.
pub(super) async fn start_of(
    apex: &Owner,
    servers: &[SocketAddr],
    op: &str,
    until: Instant,
) -> Outcome<Soa> {
    let mut silent = Fault::new(codes::PLAN, FaultKind::Invalid, op, "no name server is named")
        .hint("list the zone's name servers in the plan");
    for server in servers {
        match start(apex, *server, until).await {
            Ok(soa) => return Ok(soa),
            Err(trouble) => silent = trouble.fault(op, *server),
        }
    }
    Err(silent)
}
