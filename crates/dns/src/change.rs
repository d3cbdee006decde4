//! One change: an atomic UPDATE at the primary, then the same content everywhere.
//!
//! **Invariant.** A set is written only if it has exactly the value from which the
//! change starts; the serial only moves forward; what the server acknowledged is read
//! back before it is believed.

use crate::codes;
use crate::exchange::{Signed, datagram};
use crate::message::{self, Soa};
use crate::sets::RecordSet;
use crate::zone::Zone;
use domain::base::iana::Rcode;
use futures_util::future::join_all;
use rustix::time::{ClockId, clock_gettime};
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep, sleep_until};

/// How often a change is tried again after the serial moved under it.
const REBASE_MAX: u32 = 8;
/// First pause between two reads of a server that is behind; doubled up to the longest.
const POLL_FIRST: Duration = Duration::from_millis(10);
/// Longest pause between two reads of a server that is behind.
const POLL_LONGEST: Duration = Duration::from_millis(200);
/// Time between two NOTIFYs to a server that is behind.
const NOTIFY_AGAIN: Duration = Duration::from_secs(1);
/// Longest wait for the answer to a NOTIFY.
const NOTIFY_ANSWER: Duration = Duration::from_millis(500);

/// The owned sets before and after, in the plan's order. Stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// The exact inverse.
    pub(crate) former: Vec<RecordSet>,
    /// What shall stand there.
    pub(crate) wanted: Vec<RecordSet>,
}

impl Change {
    /// Returns the change that takes this one back.
    pub(crate) fn inverse(self) -> Self {
        Self { former: self.wanted, wanted: self.former }
    }
}

/// A server that serves the wanted content.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Served {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Wall clock when it was seen to, milliseconds.
    pub(crate) at_ms: u64,
    /// Boot clock at that moment, milliseconds.
    pub(crate) at_boot_ms: u64,
}

/// Returns now: wall and boot clock in milliseconds.
pub(crate) fn now_ms() -> (u64, u64) {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let boot = clock_gettime(ClockId::Boottime);
    let boot = boot.tv_sec.unsigned_abs() * 1000 + boot.tv_nsec.unsigned_abs() / 1_000_000;
    (u64::try_from(wall).unwrap_or(u64::MAX), boot)
}

/// What one try of an UPDATE came to.
enum Tried {
    /// The server acknowledged it.
    Acknowledged,
    /// A prerequisite failed: nothing changed.
    Moved,
}

impl Zone {
    /// Makes the change at the primary and returns the serial it has then.
    ///
    /// Already there: nothing is sent. If only the serial moved (a record of somebody
    /// else's changed), the change is built again on the new one; if an owned value
    /// moved, nothing is changed.
    ///
    /// # Errors
    /// `SG0309` conflict, `SG0310` the zone kept changing, `SG0308` refused, `SG0314` too
    /// big: nothing changed. `SG0313` no answer: it may have been applied. `SG0311`
    /// acknowledged, but the content is not as asked for.
    pub(crate) async fn apply(&self, change: &Change, op: &str, until: Instant) -> Outcome<u32> {
        let mut channel = self.open(op, until).await?;
        for _ in 0..REBASE_MAX {
            let (soa, current) = self.primary_state(&mut channel, until).await?;
            if current == change.wanted {
                return Ok(soa.serial);
            }
            if current != change.former {
                return Err(self.conflict(op, &change.former, &current));
            }
            match self.send(&mut channel, &soa, change, op, until).await? {
                Tried::Acknowledged => return self.prove(&mut channel, change, op, until).await,
                Tried::Moved => tracing::debug!(zone = %self.plan.zone, "rebasing an update"),
            }
        }
        Err(Fault::new(
            codes::BUSY,
            FaultKind::Busy,
            op,
            format!("the zone changed under each of {REBASE_MAX} tries"),
        )
        .hint("find out what changes the zone so often, then try again"))
    }

    fn conflict(&self, op: &str, expected: &[RecordSet], current: &[RecordSet]) -> Fault {
        let moved = expected.iter().zip(current).filter(|(a, b)| a != b);
        let moved: Vec<String> =
            moved.map(|(a, b)| format!("expected `{a}`, found `{b}`")).collect();
        Fault::new(
            codes::CONFLICT,
            FaultKind::Conflict,
            op,
            format!("somebody else changed an owned record set: {}", moved.join("; ")),
        )
        .hint("nothing was changed; put the set right by hand or correct the plan, then try again")
    }

    async fn send(
        &self,
        channel: &mut Signed,
        soa: &Soa,
        change: &Change,
        op: &str,
        until: Instant,
    ) -> Outcome<Tried> {
        let apex = &self.declared()?.apex;
        let reserve = channel.signature_len();
        let draft = message::update(apex, soa, &change.former, &change.wanted, reserve);
        let draft = draft.map_err(|_| {
            Fault::new(codes::TOO_BIG, FaultKind::Invalid, op, "the change exceeds 64 KiB")
                .hint("nothing was changed; own fewer record sets of this zone in one unit")
        })?;
        self.exchange_update(channel, draft, op, until).await
    }

    async fn exchange_update(
        &self,
        channel: &mut Signed,
        draft: message::Draft,
        op: &str,
        until: Instant,
    ) -> Outcome<Tried> {
        let primary = self.plan.primary;
        let answer = channel.call(draft, until).await.map_err(|trouble| {
            let left = trouble.left();
            let mut fault = trouble.fault(op, primary).leaving(left);
            if left == EffectLeft::Maybe {
                fault.code = codes::UPDATE_LOST.to_owned();
                fault.cause = format!("what became of the update is not known: {}", fault.cause);
            }
            fault
        })?;
        let rcode = answer.header().rcode();
        let (kind, left, hint) = match rcode {
            Rcode::NOERROR => return Ok(Tried::Acknowledged),
            Rcode::NXRRSET | Rcode::YXRRSET => return Ok(Tried::Moved),
            Rcode::REFUSED | Rcode::NOTAUTH => (
                FaultKind::Denied,
                EffectLeft::None,
                "allow the key to update the owned names (BIND: update-policy), and name the \
                 server that takes updates as `primary`",
            ),
            Rcode::NOTIMP => {
                (FaultKind::Unsupported, EffectLeft::None, "this server takes no updates")
            }
            Rcode::SERVFAIL => {
                (FaultKind::Busy, EffectLeft::Maybe, "see the server's log, often a full disk")
            }
            _ => (FaultKind::Invalid, EffectLeft::None, "see the server's log for the reason"),
        };
        Err(Fault::new(
            codes::UPDATE_REFUSED,
            kind,
            format!("{op} at {primary}"),
            format!("the server answered the update with {rcode}"),
        )
        .leaving(left)
        .hint(hint))
    }

    /// Reads back what was acknowledged: some servers acknowledge and ignore.
    async fn prove(
        &self,
        channel: &mut Signed,
        change: &Change,
        op: &str,
        until: Instant,
    ) -> Outcome<u32> {
        let read = self.primary_state(channel, until).await;
        let (soa, current) = read.map_err(|f| f.leaving(EffectLeft::Done))?;
        if current == change.wanted {
            self.log(op, soa.serial);
            return Ok(soa.serial);
        }
        let differing = change.wanted.iter().zip(&current).filter(|(a, b)| a != b);
        let differing: Vec<String> =
            differing.map(|(a, b)| format!("wanted `{a}`, found `{b}`")).collect();
        let left = if current == change.former { EffectLeft::None } else { EffectLeft::Done };
        Err(Fault::new(
            codes::NOT_APPLIED,
            FaultKind::Invalid,
            format!("{op} at {}", self.plan.primary),
            format!("acknowledged, but not in force: {}", differing.join("; ")),
        )
        .leaving(left)
        .hint("look for a CNAME beside other records, or a server that rewrites TTLs"))
    }

    /// Waits until every server of the plan serves exactly these sets.
    ///
    /// Each server but the primary is sent NOTIFY at once and again while it is behind:
    /// the primary's own schedule can take seconds.
    ///
    /// # Errors
    /// `SG0312`, leaving Done, naming every server that is behind at the deadline.
    pub(crate) async fn read_back(
        &self,
        wanted: &[RecordSet],
        op: &str,
        until: Instant,
    ) -> Outcome<Vec<Served>> {
        let servers = self.plan.servers.iter();
        let results = join_all(servers.map(|server| self.follow(*server, wanted, until))).await;
        let (mut served, mut behind) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(one) => served.push(one),
                Err(reason) => behind.push(reason),
            }
        }
        if behind.is_empty() {
            return Ok(served);
        }
        Err(Fault::new(codes::BEHIND, FaultKind::Timeout, op, behind.join("; "))
            .leaving(EffectLeft::Done)
            .hint("the primary has the change; mend the server that is behind, then try again"))
    }

    /// Reads one server until it serves these sets; the reason why not, at the deadline.
    async fn follow(
        &self,
        server: SocketAddr,
        wanted: &[RecordSet],
        until: Instant,
    ) -> Result<Served, String> {
        let mut reason = "it was not asked".to_owned();
        let poll = async {
            let mut pause = POLL_FIRST;
            loop {
                match self.served(server, until).await {
                    Ok(current) if current == wanted => break,
                    Ok(current) => reason = behind(server, wanted, &current),
                    Err(fault) => reason = format!("{server}: {}", fault.cause),
                }
                sleep(pause).await;
                pause = (pause * 2).min(POLL_LONGEST);
            }
        };
        tokio::select! {
            biased;
            () = poll => {
                let (at_ms, at_boot_ms) = now_ms();
                return Ok(Served { address: server, at_ms, at_boot_ms });
            }
            () = sleep_until(until) => {}
            () = self.keep_notifying(server) => {}
        }
        Err(reason)
    }

    /// Sends NOTIFY again and again; never returns.
    async fn keep_notifying(&self, server: SocketAddr) {
        if server == self.plan.primary {
            return std::future::pending().await;
        }
        loop {
            if let Err(cause) = self.notify(server).await {
                // Only a hint to the server: the read-back decides.
                tracing::debug!(%server, zone = %self.plan.zone, cause, "notify");
            }
            sleep(NOTIFY_AGAIN).await;
        }
    }

    /// Sends one NOTIFY with the key, and one without to a server that does not take the key.
    async fn notify(&self, server: SocketAddr) -> Result<(), String> {
        let declared = self.declared().map_err(|f| f.to_string())?;
        let key = self.key().map_err(|f| f.to_string())?;
        let mut refused = String::new();
        for key in [Some(&key), None] {
            let draft = message::notify(&declared.apex).map_err(|e| e.to_string())?;
            match datagram(server, draft, key, Instant::now() + NOTIFY_ANSWER).await {
                Ok(answer) if answer.header().rcode() == Rcode::NOERROR => return Ok(()),
                Ok(answer) => refused = format!("it answered {}", answer.header().rcode()),
                Err(trouble) => refused = trouble.fault("notify", server).cause,
            }
        }
        Err(refused)
    }

    /// Makes every UPDATE sent before this moment fail, however late it arrives.
    ///
    /// A change sent by a process that died may still wait in a socket. It names the
    /// SOA of its time as a prerequisite. If it was applied, the serial moved and a
    /// duplicate is refused; if not, moving the serial by one here refuses it for good.
    ///
    /// # Errors
    /// As an update; `SG0310` if the serial could not be moved by us and did not move.
    pub(crate) async fn close_off(&self, op: &str, until: Instant) -> Outcome<()> {
        let mut channel = self.open(op, until).await?;
        for _ in 0..REBASE_MAX {
            let (soa, _) = self.primary_state(&mut channel, until).await?;
            let apex = &self.declared()?.apex;
            let draft = message::bump(apex, &soa, channel.signature_len()).map_err(|e| {
                Fault::new(codes::TOO_BIG, FaultKind::Bug, op, e).hint("report this")
            })?;
            // A failed prerequisite means that the serial moved by itself after it was
            // read; one more round then shows where it stands.
            self.exchange_update(&mut channel, draft, op, until).await?;
            let (after, _) = self.primary_state(&mut channel, until).await?;
            if after.serial != soa.serial {
                self.log(op, after.serial);
                return Ok(());
            }
        }
        Err(Fault::new(codes::BUSY, FaultKind::Busy, op, "the serial does not move")
            .hint("check that the server takes a SOA record with a higher serial by UPDATE"))
    }
}

fn behind(server: SocketAddr, wanted: &[RecordSet], current: &[RecordSet]) -> String {
    let differing = wanted.iter().zip(current).find(|(a, b)| a != b);
    match differing {
        Some((_, current)) => format!("{server} still serves `{current}`"),
        None => format!("{server} serves other record sets"),
    }
}
