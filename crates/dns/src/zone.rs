//! A zone: what the plan declares of it, and how it is read.

use crate::codes;
use crate::driver::{Capabilities, Driver, State, driver};
use crate::exchange::{Trouble, ask};
use crate::message::{self, Soa};
use crate::sets::{self, Owner, RecordSet, SetKey};
use crate::signed;
use crate::transfer::transfer;
use domain::base::Rtype;
use domain::tsig::{Algorithm, Key, KeyName};
use domain::utils::base64;
use secrecy::ExposeSecret;
use segue_model::plan::{TsigKey, ZonePlan};
use segue_model::{Fault, FaultKind, RunId, Side, Sides, UnitName};
use segue_port::Outcome;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// What a [`Zone`] is built from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The zone of the plan.
    pub plan: ZonePlan,
    /// The run, for the log.
    pub run: RunId,
    /// The unit that owns the record sets.
    pub unit: UnitName,
}

/// A zone and the record sets that the unit owns in it.
#[derive(Debug)]
pub struct Zone {
    pub(crate) plan: ZonePlan,
    pub(crate) driver: Box<dyn Driver>,
    run: RunId,
    unit: UnitName,
    declared: OnceLock<Result<Declared, Fault>>,
}

/// The plan's record sets, parsed. The order is the plan's, everywhere.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The zone's name.
    pub(crate) apex: Owner,
    /// The owned sets.
    pub(crate) keys: Vec<SetKey>,
    /// Their data by side; the TTL is the lowered one.
    pub(crate) data: Sides<Vec<RecordSet>>,
}

impl Declared {
    fn parse(plan: &ZonePlan, ttl_min_s: u32) -> Outcome<Self> {
        let bad = |what: String, cause: String| {
            Fault::new(codes::PLAN, FaultKind::Invalid, what, cause).hint("correct the plan file")
        };
        let named =
            |text: &str| sets::owner(text).map_err(|e| bad(format!("read the name `{text}`"), e));
        let apex = named(&plan.zone)?;
        let mut keys = Vec::new();
        let mut data = Sides { source: Vec::new(), target: Vec::new() };
        for set in &plan.records {
            let rtype = Rtype::from_str(&set.rtype).map_err(|_| {
                bad(format!("read the type of `{}`", set.name), format!("`{}`", set.rtype))
            })?;
            let key = SetKey { name: named(&set.name)?, rtype };
            let lowered = plan.lowered_ttl_of(&set.rtype).max(ttl_min_s);
            for side in [Side::Source, Side::Target] {
                let parsed = sets::parse(&key, lowered, set.data.get(side))?;
                data.get_mut(side).push(parsed);
            }
            keys.push(key);
        }
        Ok(Self { apex, keys, data })
    }

    /// Returns the side whose data these sets have, whatever their TTLs; the source if both.
    pub(crate) fn side_of(&self, current: &[RecordSet]) -> Option<Side> {
        [Side::Source, Side::Target].into_iter().find(|side| {
            let declared = self.data.get(*side);
            declared.len() == current.len()
                && declared.iter().zip(current).all(|(a, b)| a.data == b.data)
        })
    }
}

/// Every record of a zone at one moment, as the primary transfers it.
#[derive(Debug, Clone)]
pub struct Contents {
    pub(crate) soa: Soa,
    pub(crate) sets: BTreeMap<SetKey, RecordSet>,
}

impl Contents {
    /// Returns the zone's serial.
    pub fn serial(&self) -> u32 {
        self.soa.serial
    }

    /// Returns how many records it has besides the SOA.
    pub(crate) fn records(&self) -> u64 {
        self.sets.values().map(|set| set.data.len() as u64).sum()
    }

    /// Returns every record set except the SOA, by name and type.
    pub fn sets(&self) -> impl Iterator<Item = &RecordSet> {
        self.sets.values()
    }

    pub(crate) fn set(&self, key: &SetKey) -> RecordSet {
        self.sets.get(key).cloned().unwrap_or_else(|| RecordSet::absent(key.clone()))
    }
}

impl Zone {
    /// Builds the zone. Nothing is read, sent or checked yet.
    pub fn new(settings: Settings) -> Arc<Self> {
        let Settings { plan, run, unit } = settings;
        let driver = driver(&plan.zone, &plan.authority, &plan.servers);
        Arc::new(Self { plan, driver, run, unit, declared: OnceLock::new() })
    }

    /// Returns the zone's name as the plan writes it, with its provider's if there are several.
    pub fn name(&self) -> Cow<'_, str> {
        self.plan.label()
    }

    /// Returns what can be promised of changes here.
    pub fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }

    pub(crate) fn declared(&self) -> Outcome<&Declared> {
        let ttl_min_s = self.driver.capabilities().ttl_min_s;
        let parsed = self.declared.get_or_init(|| Declared::parse(&self.plan, ttl_min_s));
        parsed.as_ref().map_err(Clone::clone)
    }

    /// Returns the TTL of an owned set while the unit may move, seconds: no lower than the
    /// provider allows.
    pub(crate) fn lowered_ttl_of(&self, rtype: Rtype) -> u32 {
        let ttl_min_s = self.driver.capabilities().ttl_min_s;
        self.plan.lowered_ttl_of(&rtype.to_string()).max(ttl_min_s)
    }

    /// Logs a change with run, unit and zone.
    pub(crate) fn log(&self, what: &str, serial: Option<u32>) {
        let Self { run, unit, plan, .. } = self;
        tracing::info!(%run, %unit, zone = %plan.label(), serial, "{what}");
    }

    /// Reads the owned sets at the provider.
    pub(crate) async fn state(&self, op: &str, until: Instant) -> Outcome<State> {
        let keys = &self.declared()?.keys;
        self.driver.open(op, until).await?.state(keys, op, until).await
    }

    /// Reads the owned sets from one server as a resolver would: unsigned, RD off, AA.
    ///
    /// # Errors
    /// No answer, an error, or an answer without authority.
    pub(crate) async fn served(
        &self,
        server: SocketAddr,
        until: Instant,
    ) -> Outcome<Vec<RecordSet>> {
        self.serves(server, &self.declared()?.keys, until).await
    }

    /// Reads some sets from one server in the same way.
    ///
    /// # Errors
    /// As [`Zone::served`].
    pub(crate) async fn serves(
        &self,
        server: SocketAddr,
        keys: &[SetKey],
        until: Instant,
    ) -> Outcome<Vec<RecordSet>> {
        let op = format!("read record sets of zone `{}`", self.plan.label());
        let read = async {
            let answers = ask(server, queries(keys)?, until).await?;
            read_sets(&answers, keys)
        };
        read.await.map_err(|trouble| trouble.fault(&op, server))
    }

    /// Reads the zone's keys from one server; without data if it is not signed.
    pub(crate) async fn keys_at(&self, server: SocketAddr, until: Instant) -> Outcome<RecordSet> {
        let op = format!("read the keys of zone `{}`", self.plan.label());
        let key = SetKey { name: self.declared()?.apex.clone(), rtype: Rtype::DNSKEY };
        let keys = std::slice::from_ref(&key);
        let read = async {
            let answers = ask(server, queries(keys)?, until).await?;
            Ok(read_sets(&answers, keys)?.pop())
        };
        let set = read.await.map_err(|trouble: Trouble| trouble.fault(&op, server))?;
        Ok(set.unwrap_or_else(|| RecordSet::absent(key)))
    }

    /// Says whether a server gives every one of these sets with a signature that holds.
    ///
    /// # Errors
    /// Says which does not, and why.
    pub(crate) async fn signed_at(
        &self,
        server: SocketAddr,
        sets: &[RecordSet],
        until: Instant,
    ) -> Result<(), String> {
        let apex = &self.declared().map_err(|fault| fault.to_string())?.apex;
        let told = |trouble: Trouble| trouble.fault("ask for signatures", server).cause;
        let keys = self.keys_at(server, until).await.map_err(|fault| fault.cause)?;
        let sets: Vec<&RecordSet> = sets.iter().filter(|set| set.exists()).collect();
        let drafts = sets.iter().map(|set| {
            message::query_signed(&set.key.name, set.key.rtype).map_err(|e| told(unbuilt(e)))
        });
        let drafts = drafts.collect::<Result<Vec<_>, String>>()?;
        let answers = ask(server, drafts, until).await.map_err(told)?;
        let now_s = crate::change::now_ms().0 / 1000;
        for (set, answer) in sets.iter().zip(&answers) {
            // A delegation is the parent's, and is not signed.
            if set.key.rtype == Rtype::NS && set.key.name != *apex {
                continue;
            }
            let signatures = message::read_signatures(answer, &set.key);
            signed::verified(apex, set, &signatures, &keys, now_s)?;
        }
        Ok(())
    }

    /// Reads the whole zone at its provider.
    ///
    /// # Errors
    /// `SG0307` if a server refuses the transfer or it breaks off; `SG0302`, `SG0303`,
    /// `SG0304`, `SG0305` as for every exchange; `SG0318` as for every call of an API.
    pub async fn contents(&self, time_allowed: std::time::Duration) -> Outcome<Contents> {
        self.driver.contents(Instant::now() + time_allowed).await
    }

    /// Reads the whole zone from one of its servers by AXFR, signed where there is a key.
    ///
    /// # Errors
    /// As [`Zone::contents`].
    pub(crate) async fn contents_of(
        &self,
        server: SocketAddr,
        time_allowed: std::time::Duration,
    ) -> Outcome<Contents> {
        let until = Instant::now() + time_allowed;
        let key = self.plan.authority.update().map(|(_, key)| key);
        transfer(&self.declared()?.apex, server, key, until).await
    }
}

/// Reads a key at the moment of use.
pub(crate) fn read_key(key: &TsigKey) -> Outcome<Key> {
    let op = format!("use TSIG key `{}`", key.name);
    let bad = |cause: String| {
        Fault::new(codes::KEY, FaultKind::Invalid, op.clone(), cause)
            .hint("compare name, algorithm and secret with the output of `tsig-keygen`")
    };
    let algorithm = Algorithm::from_str(&key.algorithm)
        .map_err(|_| bad(format!("unknown algorithm `{}`", key.algorithm)))?;
    let name = KeyName::from_str(&key.name).map_err(|e| bad(e.to_string()))?;
    let secret = segue_doors::secrets::read(&key.secret)?;
    // The decoder's error quotes nothing of its input.
    let secret: Vec<u8> = base64::decode(secret.expose_secret().trim())
        .map_err(|e| bad(format!("the secret is not base64: {e}")))?;
    Key::new(algorithm, &secret, name, None, None).map_err(|e| bad(e.to_string()))
}

pub(crate) fn queries(keys: &[SetKey]) -> Result<Vec<message::Draft>, Trouble> {
    keys.iter().map(|key| message::query(&key.name, key.rtype).map_err(unbuilt)).collect()
}

pub(crate) fn read_sets(
    answers: &[message::Answer],
    keys: &[SetKey],
) -> Result<Vec<RecordSet>, Trouble> {
    answers
        .iter()
        .zip(keys)
        .map(|(answer, key)| {
            message::read_set(answer, key)
                .map_err(|cause| Trouble::Answer(format!("asked for `{key}`: {cause}")))
        })
        .collect()
}

/// A message that could not be built was not sent.
pub(crate) fn unbuilt(cause: impl std::fmt::Display) -> Trouble {
    Trouble::Answer(format!("the question cannot be built: {cause}"))
}
