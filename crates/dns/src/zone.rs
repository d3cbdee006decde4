//! A zone: what the plan declares of it, and how it is read.

use crate::codes;
use crate::exchange::{Signed, Trouble, ask};
use crate::message::{self, Soa};
use crate::sets::{self, Owner, RecordSet, SetKey};
use crate::transfer::transfer;
use domain::base::Rtype;
use domain::tsig::{Algorithm, Key, KeyName};
use domain::utils::base64;
use secrecy::ExposeSecret;
use segue_model::plan::{TsigKey, ZonePlan};
use segue_model::{Fault, FaultKind, RunId, Side, Sides, UnitName};
use segue_port::Outcome;
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
    fn parse(plan: &ZonePlan) -> Outcome<Self> {
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
            for side in [Side::Source, Side::Target] {
                let parsed = sets::parse(&key, plan.lowered_ttl_s, set.data.get(side))?;
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
        Arc::new(Self { plan, run, unit, declared: OnceLock::new() })
    }

    /// Returns the zone's name as the plan writes it.
    pub fn name(&self) -> &str {
        &self.plan.zone
    }

    pub(crate) fn declared(&self) -> Outcome<&Declared> {
        let parsed = self.declared.get_or_init(|| Declared::parse(&self.plan));
        parsed.as_ref().map_err(Clone::clone)
    }

    /// Logs a change with run, unit and zone.
    pub(crate) fn log(&self, what: &str, serial: u32) {
        let Self { run, unit, plan, .. } = self;
        tracing::info!(%run, %unit, zone = %plan.zone, serial, "{what}");
    }

    /// Reads the key at the moment of use.
    pub(crate) fn key(&self) -> Outcome<Key> {
        read_key(&self.plan.key)
    }

    /// Connects to the primary with the key.
    pub(crate) async fn open(&self, op: &str, until: Instant) -> Outcome<Signed> {
        let key = self.key()?;
        let primary = self.plan.primary;
        Signed::connect(primary, key, until).await.map_err(|t| t.fault(op, primary))
    }

    /// Reads SOA and owned sets from the primary, in the view the key sees.
    ///
    /// The SOA comes first: an UPDATE that names it as prerequisite is refused if
    /// anything changed between the two reads.
    pub(crate) async fn primary_state(
        &self,
        channel: &mut Signed,
        until: Instant,
    ) -> Outcome<(Soa, Vec<RecordSet>)> {
        let op = format!("read the owned sets of zone `{}`", self.plan.zone);
        let declared = self.declared()?;
        let read = async {
            let draft = message::query(&declared.apex, Rtype::SOA).map_err(unbuilt)?;
            let answer = channel.call(draft, until).await?;
            let soa = message::read_soa(&answer, &declared.apex).map_err(Trouble::Answer)?;
            let answers = channel.call_all(queries(&declared.keys)?, until).await?;
            Ok((soa, read_sets(&answers, &declared.keys)?))
        };
        read.await.map_err(|trouble: Trouble| trouble.fault(&op, self.plan.primary))
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
        let op = format!("read the owned sets of zone `{}`", self.plan.zone);
        let keys = &self.declared()?.keys;
        let read = async {
            let answers = ask(server, queries(keys)?, until).await?;
            read_sets(&answers, keys)
        };
        read.await.map_err(|trouble| trouble.fault(&op, server))
    }

    /// Reads the whole zone from the primary by AXFR, signed.
    ///
    /// # Errors
    /// `SG0307` if the server refuses the transfer or it breaks off; `SG0302`, `SG0303`,
    /// `SG0304`, `SG0305` as for every exchange.
    pub async fn contents(&self, time_allowed: std::time::Duration) -> Outcome<Contents> {
        self.contents_of(self.plan.primary, time_allowed).await
    }

    /// Reads the whole zone from one of its servers by AXFR, signed.
    ///
    /// # Errors
    /// As [`Zone::contents`].
    pub(crate) async fn contents_of(
        &self,
        server: SocketAddr,
        time_allowed: std::time::Duration,
    ) -> Outcome<Contents> {
        let until = Instant::now() + time_allowed;
        transfer(&self.declared()?.apex, server, Some(&self.plan.key), until).await
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

fn queries(keys: &[SetKey]) -> Result<Vec<message::Draft>, Trouble> {
    keys.iter().map(|key| message::query(&key.name, key.rtype).map_err(unbuilt)).collect()
}

fn read_sets(answers: &[message::Answer], keys: &[SetKey]) -> Result<Vec<RecordSet>, Trouble> {
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
fn unbuilt(cause: impl std::fmt::Display) -> Trouble {
    Trouble::Answer(format!("the question cannot be built: {cause}"))
}
