//! How a provider's records are read and changed: one trait, one file a provider.
//!
//! **Invariant.** A driver knows neither phases nor effects. It reads, and it makes one
//! change from exact former values; whether what it acknowledged is in force is read back
//! by [`crate::zone::Zone`], which believes none of them.

mod capabilities;
mod cloudflare;
mod command;
mod file;
mod powerdns;
mod reread;
mod route53;
mod route53_xml;
mod update;

pub use capabilities::{Capabilities, Late, Swap, capability_table};

use crate::change::Change;
use crate::sets::{Owner, RecordSet, SetKey};
use crate::zone::Contents;
use async_trait::async_trait;
use domain::tsig::Key;
use segue_model::plan::AuthorityPlan;
use segue_port::Outcome;
use std::net::SocketAddr;
use tokio::time::Instant;

/// What a provider has of some record sets at one moment.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// The zone's serial, where the provider has one.
    pub(crate) serial: Option<u32>,
    /// How long resolvers keep that a set does not exist, seconds.
    pub(crate) negative_ttl_s: u32,
    /// The SOA's minimum, which bounds that, where it can be changed, seconds.
    pub(crate) minimum_s: Option<u32>,
    /// The sets that were asked for, in their order.
    pub(crate) sets: Vec<RecordSet>,
}

/// What one try of a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    /// The provider acknowledged it.
    Acknowledged,
    /// The zone is not as it was last read: nothing changed.
    Moved,
}

/// A provider of a zone. Building one reads, sends and checks nothing.
#[async_trait]
pub(crate) trait Driver: std::fmt::Debug + Send + Sync {
    /// Returns what can be promised of its changes.
    fn capabilities(&self) -> Capabilities;

    /// Returns where its records are, for people: `127.0.0.1:53`.
    fn place(&self) -> String;

    /// Says how a person takes a change back.
    fn by_hand(&self) -> String;

    /// Returns the server that has a change first and tells the others by itself.
    fn primary(&self) -> Option<SocketAddr> {
        None
    }

    /// Says whether its name servers listen to NOTIFY.
    fn takes_notify(&self) -> bool {
        true
    }

    /// Says whether keys of another signer can be shown beside the provider's own.
    fn takes_keys(&self) -> bool {
        false
    }

    /// Returns the key with which NOTIFY is signed.
    ///
    /// # Errors
    /// `SG0302` if it cannot be used.
    fn notify_key(&self) -> Outcome<Option<Key>> {
        Ok(None)
    }

    /// Opens a session; connections and keys are taken here.
    async fn open(&self, op: &str, until: Instant) -> Outcome<Box<dyn Session>>;

    /// Reads every record, and names what is answered without being one.
    async fn whole(&self, until: Instant) -> Outcome<Whole>;

    /// Reads every record.
    async fn contents(&self, until: Instant) -> Outcome<Contents> {
        Ok(self.whole(until).await?.contents)
    }
}

/// A zone as a provider has it.
#[derive(Debug)]
pub(crate) struct Whole {
    /// Every record.
    pub(crate) contents: Contents,
    /// What the provider has besides, and no record can show.
    pub(crate) unshown: Vec<Unshown>,
}

impl Whole {
    /// A zone of records and nothing else.
    pub(super) fn of(contents: Contents) -> Self {
        Self { contents, unshown: Vec::new() }
    }
}

/// What a provider has that no record can show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unshown {
    /// Its name.
    pub(crate) name: Owner,
    /// Its type, in the provider's words.
    pub(crate) rtype: String,
    /// What it is.
    pub(crate) what: &'static str,
    /// Whether the name is answered for, by data that the provider makes up.
    pub(crate) answered: bool,
}

/// A few exchanges with a provider.
#[async_trait]
pub(crate) trait Session: Send {
    /// Reads some sets.
    async fn state(&mut self, keys: &[SetKey], op: &str, until: Instant) -> Outcome<State>;

    /// Makes a change of the sets that were read last, from exactly what was read then where
    /// the provider can tell; see [`Swap`].
    async fn change(&mut self, change: &Change, op: &str, until: Instant) -> Outcome<Tried>;

    /// Lets the name servers take what stands there already: a process may have died between
    /// writing it and telling them.
    async fn again(&mut self, _op: &str, _until: Instant) -> Outcome<()> {
        Ok(())
    }

    /// Makes every change that was sent before fail, however late it arrives; where the
    /// provider has no means for it, waits until it cannot be under way any more; see [`Late`].
    async fn close_off(&mut self, op: &str, until: Instant) -> Outcome<()>;
}

/// Builds the driver of a provider.
pub(crate) fn driver(zone: &str, plan: &AuthorityPlan, servers: &[SocketAddr]) -> Box<dyn Driver> {
    let zone = zone.to_owned();
    match plan.clone() {
        AuthorityPlan::Update { primary, key } => Box::new(update::Update { zone, primary, key }),
        AuthorityPlan::Powerdns { url, server, key } => {
            Box::new(powerdns::Powerdns { zone, url, server, key })
        }
        AuthorityPlan::ZoneFile { file, reload } => Box::new(file::ZoneFile { zone, file, reload }),
        AuthorityPlan::Route53 { url, zone_id, access_key, secret_key } => {
            Box::new(route53::Route53 { zone, url, zone_id, access_key, secret_key })
        }
        AuthorityPlan::Cloudflare { url, zone_id, token, batch_max, ttl_min_s } => {
            Box::new(cloudflare::Cloudflare {
                zone,
                url,
                zone_id,
                token,
                batch_max: batch_max as usize,
                ttl_min_s,
                servers: servers.to_vec(),
            })
        }
        AuthorityPlan::Command { command } => {
            Box::new(command::Command { zone, command, servers: servers.to_vec() })
        }
    }
}

/// Returns what can be promised of changes at a provider.
pub fn capabilities_of(plan: &AuthorityPlan) -> Capabilities {
    driver("", plan, &[]).capabilities()
}

/// Picks the sets that are asked for out of a whole zone.
pub(crate) fn pick(contents: &Contents, keys: &[SetKey]) -> State {
    State {
        serial: Some(contents.soa.serial),
        negative_ttl_s: contents.soa.negative_ttl,
        minimum_s: Some(contents.soa.minimum),
        sets: keys.iter().map(|key| contents.set(key)).collect(),
    }
}

/// Parses a zone's name.
pub(crate) fn apex(zone: &str) -> Outcome<Owner> {
    use segue_model::{Fault, FaultKind};
    crate::sets::owner(zone).map_err(|cause| {
        let op = format!("read the name `{zone}`");
        Fault::new(crate::codes::PLAN, FaultKind::Invalid, op, cause).hint("correct the plan file")
    })
}
