//! One change: all or none at the provider, then the same content at every name server.
//!
//! **Invariant.** A set is written only if it has exactly the value from which the
//! change starts; the serial only moves forward; what the server acknowledged is read
//! back before it is believed.

use crate::codes;
use crate::driver::{Session, State, Swap, Tried};
use crate::exchange::datagram;
use crate::message;
use crate::sets::{RecordSet, SetKey};
use crate::zone::Zone;
use domain::base::iana::Rcode;
use futures_util::future::join_all;
use rustix::time::{ClockId, clock_gettime};
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, sleep_until};

/// How often a change is tried again after the serial moved under it.
pub(crate) const REBASE_MAX: u32 = 8;
/// First pause between two reads of a server that is behind; doubled up to the longest.
const POLL_FIRST: Duration = Duration::from_millis(3);
/// Longest pause between two reads of a server that is behind.
const POLL_LONGEST: Duration = Duration::from_millis(200);
/// Time between the first two NOTIFYs to a server that is behind; doubled up to the longest. A
/// server that has many to follow loses some.
const NOTIFY_AGAIN: Duration = Duration::from_millis(100);
/// Longest such time.
const NOTIFY_LONGEST: Duration = Duration::from_secs(1);
/// How long a provider that compares nothing may show what was there before a change.
const SHOWS_LATE: Duration = Duration::from_secs(5);
/// Longest wait for the answer to a NOTIFY.
const NOTIFY_ANSWER: Duration = Duration::from_millis(500);

/// The owned sets before and after, in the plan's order. Stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// The exact inverse.
    pub(crate) former: Vec<RecordSet>,
    /// What shall stand there.
    pub(crate) wanted: Vec<RecordSet>,
    /// The SOA's minimum before and after, if it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) minimum: Option<(u32, u32)>,
}

impl Change {
    /// Returns the sets that it is about, in their order.
    fn keys(&self) -> Vec<SetKey> {
        self.former.iter().map(|set| set.key.clone()).collect()
    }

    /// Returns the change that takes this one back.
    pub(crate) fn inverse(self) -> Self {
        Self {
            former: self.wanted,
            wanted: self.former,
            minimum: self.minimum.map(|(former, wanted)| (wanted, former)),
        }
    }

    /// Returns the minimum that the SOA shall get; none if it has it, or if it has one that
    /// this change knows nothing of: that is somebody else's, and stays.
    pub(crate) fn minimum_from(&self, current: u32) -> Option<u32> {
        let (former, wanted) = self.minimum?;
        (current == former && former != wanted).then_some(wanted)
    }

    /// Returns what of it is still to be done.
    fn rest(&self, state: &State) -> Self {
        let mut rest = self.clone();
        if state.sets == self.wanted {
            rest.former.clone_from(&self.wanted);
        }
        rest
    }

    /// Says whether everything stands there as wanted.
    pub(crate) fn is_done(&self, state: &State) -> bool {
        let low = state.minimum_s.and_then(|minimum| self.minimum_from(minimum)).is_none();
        state.sets == self.wanted && low
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
    pub(crate) async fn apply(
        &self,
        change: &Change,
        op: &str,
        until: Instant,
    ) -> Outcome<Option<u32>> {
        let keys = change.keys();
        let mut session = self.driver.open(op, until).await?;
        for _ in 0..REBASE_MAX {
            let state = session.state(&keys, op, until).await?;
            if change.is_done(&state) {
                session.again(op, until).await?;
                return Ok(state.serial);
            }
            // Its minimum alone may lag behind, if somebody raised it again.
            if state.sets != change.former && state.sets != change.wanted {
                return Err(self.conflict(op, &change.former, &state.sets));
            }
            let rest = change.rest(&state);
            match session.change(&rest, op, until).await? {
                Tried::Acknowledged => return self.prove(&mut *session, change, op, until).await,
                Tried::Moved => tracing::debug!(zone = %self.plan.label(), "rebasing a change"),
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

    /// Reads back what was acknowledged: some servers acknowledge and ignore.
    async fn prove(
        &self,
        session: &mut dyn Session,
        change: &Change,
        op: &str,
        until: Instant,
    ) -> Outcome<Option<u32>> {
        let compared = self.driver.capabilities().swap == Swap::Compared;
        let patient = Instant::now() + if compared { Duration::ZERO } else { SHOWS_LATE };
        let state = loop {
            let read = session.state(&change.keys(), op, until).await;
            let state = read.map_err(|f| f.leaving(EffectLeft::Done))?;
            if change.is_done(&state) {
                self.log(op, state.serial);
                return Ok(state.serial);
            }
            // Some providers show what they took a moment later.
            if Instant::now() >= patient.min(until) {
                break state;
            }
            sleep(POLL_LONGEST).await;
        };
        let current = state.sets;
        let differing = change.wanted.iter().zip(&current).filter(|(a, b)| a != b);
        let differing: Vec<String> =
            differing.map(|(a, b)| format!("wanted `{a}`, found `{b}`")).collect();
        let left = match current == change.former {
            true if compared => EffectLeft::None,
            true => EffectLeft::Maybe,
            false => EffectLeft::Done,
        };
        Err(Fault::new(
            codes::NOT_APPLIED,
            FaultKind::Invalid,
            format!("{op} at {}", self.driver.place()),
            format!("acknowledged, but not in force: {}", differing.join("; ")),
        )
        .leaving(left)
        .hint(
            "look for a CNAME beside other records, or a server that rewrites TTLs; the TTL of a \
             zone's only NS is not changed by some: give the zone a second one first",
        ))
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
        let signed = OnceCell::new();
        let follow = |server: &SocketAddr| self.follow(*server, wanted, &signed, until);
        let results = join_all(servers.map(follow)).await;
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

    /// Says whether one of the zone's servers shows keys; none if no server tells.
    pub(crate) async fn is_signed(&self, until: Instant) -> Option<bool> {
        let asked = self.plan.servers.iter().map(|server| self.keys_at(*server, until));
        let told: Vec<bool> =
            join_all(asked).await.into_iter().flatten().map(|keys| keys.exists()).collect();
        if told.is_empty() { None } else { Some(told.contains(&true)) }
    }

    /// The same, asked once for all servers that are followed.
    async fn know_signed(&self, known: &OnceCell<bool>, until: Instant) -> Option<bool> {
        let ask = async || self.is_signed(until).await.ok_or(());
        known.get_or_try_init(ask).await.ok().copied()
    }

    /// Reads one server until it serves these sets, with signatures that hold if the zone is
    /// signed; the reason why not, at the deadline.
    async fn follow(
        &self,
        server: SocketAddr,
        wanted: &[RecordSet],
        signed: &OnceCell<bool>,
        until: Instant,
    ) -> Result<Served, String> {
        let mut reason = "it was not asked".to_owned();
        let keys: Vec<SetKey> = wanted.iter().map(|set| set.key.clone()).collect();
        let poll = async {
            let mut pause = POLL_FIRST;
            loop {
                match self.serves(server, &keys, until).await {
                    Ok(current) if current == wanted => match self.know_signed(signed, until).await
                    {
                        Some(false) => break,
                        Some(true) => match self.signed_at(server, wanted, until).await {
                            Ok(()) => break,
                            Err(why) => {
                                reason = format!("{server} has no signature that holds: {why}");
                            }
                        },
                        None => reason = "whether the zone is signed is not known".to_owned(),
                    },
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
        if !self.driver.takes_notify() || self.driver.primary() == Some(server) {
            return std::future::pending().await;
        }
        let mut again = NOTIFY_AGAIN;
        loop {
            if let Err(cause) = self.notify(server).await {
                // Only a hint to the server: the read-back decides.
                tracing::debug!(%server, zone = %self.plan.label(), cause, "notify");
            }
            sleep(again).await;
            again = (again * 2).min(NOTIFY_LONGEST);
        }
    }

    /// Tells a server that is behind that there is something new, if it listens.
    pub(crate) async fn notify_once(&self, server: SocketAddr) {
        if self.driver.takes_notify() && self.driver.primary() != Some(server) {
            // Only a hint to the server: reading decides.
            if let Err(cause) = self.notify(server).await {
                tracing::debug!(%server, zone = %self.plan.label(), cause, "notify");
            }
        }
    }

    /// Sends one NOTIFY with the key, and one without to a server that does not take the key.
    async fn notify(&self, server: SocketAddr) -> Result<(), String> {
        let declared = self.declared().map_err(|f| f.to_string())?;
        let key = self.driver.notify_key().map_err(|f| f.to_string())?;
        let mut refused = String::new();
        for key in key.iter().map(Some).chain([None]) {
            let draft = message::notify(&declared.apex).map_err(|e| e.to_string())?;
            match datagram(server, draft, key, Instant::now() + NOTIFY_ANSWER).await {
                Ok(answer) if answer.header().rcode() == Rcode::NOERROR => return Ok(()),
                Ok(answer) => refused = format!("it answered {}", answer.header().rcode()),
                Err(trouble) => refused = trouble.fault("notify", server).cause,
            }
        }
        Err(refused)
    }

    /// Makes every change sent before this moment fail, however late it arrives.
    ///
    /// # Errors
    /// As a change; `SG0310` if it cannot be told that none is under way any more.
    pub(crate) async fn close_off(&self, op: &str, until: Instant) -> Outcome<()> {
        self.driver.open(op, until).await?.close_off(op, until).await
    }
}

fn behind(server: SocketAddr, wanted: &[RecordSet], current: &[RecordSet]) -> String {
    let differing = wanted.iter().zip(current).find(|(a, b)| a != b);
    match differing {
        Some((_, current)) => format!("{server} still serves `{current}`"),
        None => format!("{server} serves other record sets"),
    }
}
