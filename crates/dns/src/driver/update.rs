//! Signed UPDATE and AXFR at a primary: BIND, Knot DNS, PowerDNS (RFC 2136, 5936, 8945).
//!
//! Every update names the SOA that was read and the exact former values, so it happens to the
//! zone that was read or not at all. `NOERROR` proves nothing: servers acknowledge and ignore.

use super::reread::{keep_name_servers, wait_out};
use super::{Capabilities, Driver, Late, Session, State, Swap, Tried, Whole, apex};
use crate::change::{Change, REBASE_MAX};
use crate::codes;
use crate::exchange::{Signed, Trouble};
use crate::message::{self, Soa};
use crate::sets::{Owner, SetKey};
use crate::transfer::transfer;
use crate::zone::{queries, read_key, read_sets, unbuilt};
use async_trait::async_trait;
use domain::base::Rtype;
use domain::base::iana::Rcode;
use domain::tsig::Key;
use segue_model::plan::TsigKey;
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use std::net::SocketAddr;
use tokio::time::Instant;

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        driver: "update",
        all_or_none: true,
        atomic_when_asked: true,
        swap: Swap::Compared,
        late: Late::Refused,
        signs: true,
        ttl_min_s: 0,
        largest: "64 KiB",
        own_ns: true,
        remark: "the key must be allowed to update, transfer and notify",
    }
}

/// A primary that takes updates.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) zone: String,
    pub(super) primary: SocketAddr,
    pub(super) key: TsigKey,
}

#[async_trait]
impl Driver for Update {
    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn place(&self) -> String {
        self.primary.to_string()
    }

    fn takes_keys(&self) -> bool {
        true
    }

    fn by_hand(&self) -> String {
        format!(
            "with nsupdate, key `{}`, server {}: in one update delete each owned set and add it \
             again as the journal's `former` of this step shows it",
            self.key.name, self.primary
        )
    }

    fn primary(&self) -> Option<SocketAddr> {
        Some(self.primary)
    }

    fn notify_key(&self) -> Outcome<Option<Key>> {
        read_key(&self.key).map(Some)
    }

    async fn open(&self, op: &str, until: Instant) -> Outcome<Box<dyn Session>> {
        let (key, primary) = (read_key(&self.key)?, self.primary);
        let channel =
            Signed::connect(primary, key, until).await.map_err(|t| t.fault(op, primary))?;
        Ok(Box::new(Channel {
            apex: apex(&self.zone)?,
            primary,
            channel,
            soa: None,
            refused: None,
        }))
    }

    async fn whole(&self, until: Instant) -> Outcome<Whole> {
        transfer(&apex(&self.zone)?, self.primary, Some(&self.key), until).await.map(Whole::of)
    }
}

struct Channel {
    apex: Owner,
    primary: SocketAddr,
    channel: Signed,
    /// The SOA at the last reading.
    soa: Option<Soa>,
    /// The serial at which a change was refused last.
    refused: Option<u32>,
}

impl Channel {
    fn soa(&self, op: &str) -> Outcome<&Soa> {
        self.soa.as_ref().ok_or_else(|| {
            Fault::new(codes::PREPARED, FaultKind::Bug, op, "the zone was not read before")
                .hint("report this; nothing was changed")
        })
    }

    async fn exchange_update(
        &mut self,
        draft: message::Draft,
        op: &str,
        until: Instant,
    ) -> Outcome<Tried> {
        let primary = self.primary;
        let answer = self.channel.call(draft, until).await.map_err(|trouble| {
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
                "allow the key to update the owned names (BIND: update-policy), name the server \
                 that takes updates as `primary`, and give each name server of the zone an address",
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
}

#[async_trait]
impl Session for Channel {
    /// The SOA comes first: an UPDATE that names it as prerequisite is refused if anything
    /// changed between the two reads.
    async fn state(&mut self, keys: &[SetKey], op: &str, until: Instant) -> Outcome<State> {
        let read = async {
            let draft = message::query(&self.apex, Rtype::SOA).map_err(unbuilt)?;
            let answer = self.channel.call(draft, until).await?;
            let soa = message::read_soa(&answer, &self.apex).map_err(Trouble::Answer)?;
            let answers = self.channel.call_all(queries(keys)?, until).await?;
            Ok((soa, read_sets(&answers, keys)?))
        };
        let (soa, sets) = read.await.map_err(|trouble: Trouble| trouble.fault(op, self.primary))?;
        let state = State {
            serial: Some(soa.serial),
            negative_ttl_s: soa.negative_ttl,
            minimum_s: Some(soa.minimum),
            sets,
        };
        self.soa = Some(soa);
        Ok(state)
    }

    async fn change(&mut self, change: &Change, op: &str, until: Instant) -> Outcome<Tried> {
        // A server would acknowledge that, and ignore it.
        keep_name_servers(&self.apex.to_string(), change, op)?;
        let reserve = self.channel.signature_len();
        let soa = self.soa(op)?;
        let minimum = change.minimum_from(soa.minimum);
        let (former, wanted) = (&change.former, &change.wanted);
        // PowerDNS 4.7 keeps the text of an SOA as it came in an update, with dots at its names,
        // compares prerequisites with its own form without them, and so refuses every later
        // update that names the SOA. The values of the sets that change are compared either way.
        let named = self.refused != Some(soa.serial);
        let draft = message::update(&self.apex, soa, former, wanted, minimum, named, reserve);
        let draft = draft.map_err(|_| {
            Fault::new(codes::TOO_BIG, FaultKind::Invalid, op, "the change exceeds 64 KiB")
                .hint("nothing was changed; own fewer record sets of this zone in one unit")
        })?;
        let serial = soa.serial;
        let tried = self.exchange_update(draft, op, until).await?;
        self.refused = (tried == Tried::Moved).then_some(serial);
        Ok(tried)
    }

    /// A change sent by a process that died may still wait in a socket. It names the SOA of
    /// its time as a prerequisite. If it was applied, the serial moved and a duplicate is
    /// refused; if not, moving the serial by one here refuses it for good.
    async fn close_off(&mut self, op: &str, until: Instant) -> Outcome<()> {
        let mut named = true;
        for _ in 0..REBASE_MAX {
            let before = self.state(&[], op, until).await?.serial;
            let reserve = self.channel.signature_len();
            let draft = message::bump(&self.apex, self.soa(op)?, named, reserve).map_err(|e| {
                Fault::new(codes::TOO_BIG, FaultKind::Bug, op, e).hint("report this")
            })?;
            // A failed prerequisite means that the serial moved by itself after it was
            // read; one more round then shows where it stands.
            let tried = self.exchange_update(draft, op, until).await?;
            let after = self.state(&[], op, until).await?.serial;
            if after == before && tried == Tried::Moved {
                // It takes no SOA for a prerequisite (see `change`), nor from whom came before
                // us: what such a one sent is waited for.
                named = false;
                wait_out(op, until).await?;
            }
            if after != before {
                tracing::info!(zone = %self.apex, serial = after, "{op}");
                return Ok(());
            }
        }
        Err(Fault::new(codes::BUSY, FaultKind::Busy, op, "the serial does not move")
            .hint("check that the server takes a SOA record with a higher serial by UPDATE"))
    }
}
