//! The three effects of a zone: TTLs lowered, data published, TTLs restored.
//!
//! All are one [`Change`] read in `prepare` and kept in the journal; they differ only in
//! what shall stand there afterwards.

use crate::change::{Change, Served, now_ms};
use crate::codes;
use crate::driver::State;
use crate::parent::AtParent;
use crate::sets::RecordSet;
use crate::zone::Zone;
use async_trait::async_trait;
use domain::base::Rtype;
use segue_model::{Fault, FaultKind, Side, Way};
use segue_port::{Call, Effect, Observed, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What an effect does to the owned sets.
enum Aim {
    /// TTLs down to the plan's lowered TTL.
    LowerTtls,
    /// The data of the side to which the write side moves.
    Publish,
    /// The TTLs that stand in the output of `lower_ttls`.
    RestoreTtls(Value),
}

struct ZoneEffect {
    zone: Arc<Zone>,
    aim: Aim,
}

/// What stands in the journal before the first `run`.
#[derive(Debug, Serialize, Deserialize)]
struct Prepared {
    #[serde(flatten)]
    change: Change,
    /// The longest time a resolver may keep the absence of a set, seconds.
    negative_ttl_s: u32,
    /// What the parent holds of the sets.
    #[serde(default)]
    at_parent: AtParent,
}

impl Zone {
    /// Returns the effect that lowers the TTLs of the owned sets (phase prepare).
    ///
    /// A TTL that is lower already stays. Output: `former` (the exact sets before),
    /// `lowered_at` (wall clock at the last server, ms), `safe_after_wall_ms` and
    /// `safe_after_boot_ms` (from then on no honest resolver holds an answer with a
    /// former TTL), `serial`, `servers`.
    pub fn lower_ttls(self: &Arc<Self>) -> Arc<dyn Effect> {
        Arc::new(ZoneEffect { zone: self.clone(), aim: Aim::LowerTtls })
    }

    /// Returns the effect that publishes the data of the side that `Way::to` names, with
    /// the lowered TTL (phases cutover and failback).
    ///
    /// Output: `former`, `wanted`, `negative_ttl_s` (how long the absence of a set may be
    /// kept), `published_at`, `safe_after_wall_ms` and `safe_after_boot_ms` (from then on no
    /// honest resolver holds the former answer), `serial`, `servers`.
    pub fn publish(self: &Arc<Self>) -> Arc<dyn Effect> {
        Arc::new(ZoneEffect { zone: self.clone(), aim: Aim::Publish })
    }

    /// Returns the effect that gives the owned sets their TTLs back and leaves their data
    /// (phase settle). `former` is the output of `lower_ttls`, or its `former` alone.
    ///
    /// A set that did not exist then gets the TTL of another owned set of its name, else
    /// the lowest former TTL.
    pub fn restore_ttls(self: &Arc<Self>, former: Value) -> Arc<dyn Effect> {
        Arc::new(ZoneEffect { zone: self.clone(), aim: Aim::RestoreTtls(former) })
    }
}

/// Returns from when on, by the wall clock in milliseconds, no honest resolver holds the
/// former answer; `None` if the output does not say.
pub fn safe_after_gate_value(output: &Value) -> Option<u64> {
    output.get("safe_after_wall_ms").and_then(Value::as_u64)
}

impl ZoneEffect {
    fn op(&self) -> String {
        let (zone, count) = (self.zone.name(), self.zone.plan.records.len());
        let sets = if count == 1 { "1 record set".into() } else { format!("{count} record sets") };
        match self.aim {
            Aim::LowerTtls => {
                let plan = &self.zone.plan;
                let ttls: BTreeSet<u32> =
                    plan.records.iter().map(|set| plan.lowered_ttl_of(&set.rtype)).collect();
                let ttls: Vec<String> = ttls.iter().map(|ttl| format!("{ttl} s")).collect();
                format!("lower the TTLs of {sets} of zone `{zone}` to {}", ttls.join(" and "))
            }
            Aim::Publish => format!("publish {sets} of zone `{zone}`"),
            Aim::RestoreTtls(_) => format!("restore the TTLs of {sets} of zone `{zone}`"),
        }
    }

    fn unreadable(&self, cause: impl std::fmt::Display) -> Fault {
        Fault::new(
            codes::PREPARED,
            FaultKind::Bug,
            format!("{} from the journal", self.op()),
            cause,
        )
        .hint("the journal was written by another version; take that one to go on")
    }

    fn prepared(&self, call: &Call) -> Outcome<Prepared> {
        Prepared::deserialize(&call.prepared).map_err(|e| self.unreadable(e))
    }

    /// Works out what shall stand there, from what stands there now.
    fn wanted(&self, current: &[RecordSet], way: Way) -> Outcome<Vec<RecordSet>> {
        match &self.aim {
            Aim::LowerTtls => Ok(self.zone.lowered(current)),
            Aim::Publish => self.zone.published(current, way.to()),
            Aim::RestoreTtls(former) => {
                let former = former.get("former").unwrap_or(former);
                let former =
                    Vec::<RecordSet>::deserialize(former).map_err(|e| self.unreadable(e))?;
                Ok(current.iter().map(|set| restored(set, &former)).collect())
            }
        }
    }

    /// Sees to it that lowering the TTLs of a signed zone changes at least one: a new signature
    /// over a new TTL is the proof that its servers sign what changes, and one over the former
    /// TTL still holds for whoever validates.
    async fn provable(
        &self,
        former: &[RecordSet],
        mut wanted: Vec<RecordSet>,
        until: Instant,
    ) -> Vec<RecordSet> {
        let lowers = matches!(self.aim, Aim::LowerTtls) && wanted == former;
        let least = self.zone.capabilities().ttl_min_s.max(1);
        if lowers
            && let Some(set) = wanted.iter_mut().find(|set| set.ttl > least)
            && self.zone.is_signed(until).await == Some(true)
        {
            set.ttl -= 1;
        }
        wanted
    }

    /// Works out the SOA's minimum, now and afterwards; none where it stays.
    ///
    /// It decides how long resolvers keep that a name does not exist, so it is lowered with the
    /// TTLs if the unit has a set that comes or goes.
    fn minimum(&self, current: &[RecordSet], now: Option<u32>) -> Outcome<Option<(u32, u32)>> {
        let Some(now) = now else { return Ok(None) };
        let wanted = match &self.aim {
            Aim::Publish => return Ok(None),
            Aim::RestoreTtls(former) => {
                let former = former.get("former_minimum_s").and_then(Value::as_u64);
                let former = former.and_then(|former| u32::try_from(former).ok());
                // One that somebody set meanwhile stays.
                former.filter(|former| now == (*former).min(self.zone.lowered_ttl_of(Rtype::A)))
            }
            Aim::LowerTtls => {
                let data = &self.zone.declared()?.data;
                let comes_or_goes = |set: &&RecordSet| !set.exists();
                let sides = data.get(Side::Source).iter().chain(data.get(Side::Target));
                let mut sets = sides.chain(current).filter(comes_or_goes);
                let lowered = self.zone.lowered_ttl_of(Rtype::A);
                sets.next().map(|_| now.min(lowered))
            }
        };
        Ok(wanted.filter(|wanted| *wanted != now).map(|wanted| (now, wanted)))
    }

    /// Refuses sets whose data is of neither side: somebody edited them.
    fn check_planned(&self, current: &[RecordSet]) -> Outcome<()> {
        let declared = self.zone.declared()?;
        if declared.side_of(current).is_some() {
            return Ok(());
        }
        let source = declared.data.get(Side::Source);
        let odd = source.iter().zip(current).find(|(planned, found)| planned.data != found.data);
        let odd = odd.map(|(planned, found)| format!("planned `{planned}`, found `{found}`"));
        Err(Fault::new(
            codes::CONFLICT,
            FaultKind::Conflict,
            self.op(),
            format!(
                "the owned record sets are neither the plan's source nor its target data: {}",
                odd.unwrap_or_default()
            ),
        )
        .hint("nothing was changed; put the set right by hand or correct the plan"))
    }

    async fn carry_out(&self, change: &Change, op: &str, until: Instant) -> Outcome<ReadBack> {
        let serial = self.zone.apply(change, op, until).await?;
        let servers = self.zone.read_back(&change.wanted, op, until).await?;
        Ok(ReadBack { serial, servers })
    }

    /// Builds the output from what was read back.
    fn output(&self, prepared: &Prepared, seen: &ReadBack) -> Value {
        let change = &prepared.change;
        let (wall, boot) = now_ms();
        let last_wall = seen.servers.iter().map(|s| s.at_ms).max().unwrap_or(wall);
        let last_boot = seen.servers.iter().map(|s| s.at_boot_ms).max().unwrap_or(boot);
        let changed = change.former.iter().zip(&change.wanted).filter(|(a, b)| a != b);
        let kept = changed.map(|(former, _)| match former.exists() {
            true => prepared.at_parent.kept_s(former, former.ttl),
            false => prepared.at_parent.kept_s(former, prepared.negative_ttl_s),
        });
        // A lower minimum counts once no resolver holds a former one.
        let absent = change.minimum.filter(|_| change.former.iter().any(|set| !set.exists()));
        let kept = kept.chain(absent.map(|_| prepared.negative_ttl_s));
        let kept_ms = u64::from(kept.max().unwrap_or(0)) * 1000;
        let at = match self.aim {
            Aim::LowerTtls => "lowered_at",
            Aim::Publish => "published_at",
            Aim::RestoreTtls(_) => "restored_at",
        };
        let mut output = json!({
            "former": change.former,
            "former_minimum_s": change.minimum.map(|(former, _)| former),
            at: last_wall,
            "safe_after_wall_ms": last_wall + kept_ms,
            "safe_after_boot_ms": last_boot + kept_ms,
            "at_parent": prepared.at_parent,
            "serial": seen.serial,
            "servers": seen.servers,
        });
        if matches!(self.aim, Aim::Publish) {
            output["wanted"] = json!(change.wanted);
            output["negative_ttl_s"] = json!(prepared.negative_ttl_s);
        }
        output
    }
}

/// Returns when to give up: a little before the caller does, so that the fault that names
/// the server reaches it.
fn deadline(call: &Call) -> Instant {
    let margin = (call.time_allowed / 10).min(Duration::from_millis(100));
    Instant::now() + (call.time_allowed - margin)
}

/// What the read-back of a change saw.
struct ReadBack {
    serial: Option<u32>,
    servers: Vec<Served>,
}

fn restored(set: &RecordSet, former: &[RecordSet]) -> RecordSet {
    let existing = || former.iter().filter(|f| f.exists());
    let own = existing().find(|f| f.key == set.key);
    let ttl = own
        .or_else(|| existing().find(|f| f.key.name == set.key.name))
        .or_else(|| existing().min_by_key(|f| f.ttl))
        .map_or(set.ttl, |f| f.ttl);
    set.with_ttl(ttl)
}

#[async_trait]
impl Effect for ZoneEffect {
    fn what(&self) -> String {
        self.op()
    }

    fn by_hand(&self) -> String {
        let plan = &self.zone.plan;
        let data: Vec<String> = plan
            .records
            .iter()
            .map(|r| format!("{} {} [{}]", r.name, r.rtype, r.data.source.join(", ")))
            .collect();
        let how = self.zone.driver.by_hand();
        match self.aim {
            Aim::Publish => format!("{how} (source data of the plan: {})", data.join("; ")),
            Aim::LowerTtls | Aim::RestoreTtls(_) => how,
        }
    }

    async fn prepare(&self, call: &Call) -> Outcome<Value> {
        let until = deadline(call);
        let State { sets: former, negative_ttl_s, minimum_s, .. } =
            self.zone.state(&self.op(), until).await?;
        self.check_planned(&former)?;
        let wanted = self.wanted(&former, call.authority.way())?;
        let wanted = self.provable(&former, wanted, until).await;
        let minimum = self.minimum(&former, minimum_s)?;
        let at_parent = self.zone.at_parent(None, until).await;
        let change = Change { former, wanted, minimum };
        let prepared = Prepared { change, negative_ttl_s, at_parent };
        serde_json::to_value(prepared).map_err(|e| self.unreadable(e))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let until = deadline(call);
        let prepared = self.prepared(call)?;
        let seen = self.carry_out(&prepared.change, &self.op(), until).await?;
        Ok(self.output(&prepared, &seen))
    }

    /// Asks the primary first, then waits for the others like `run`: a server that stays
    /// behind is a fault (`SG0312`), never a change in force. Sends NOTIFY, which changes
    /// no content.
    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let until = deadline(call);
        let (op, prepared) = (self.op(), self.prepared(call)?);
        let mut session = self.zone.driver.open(&op, until).await?;
        let state = session.state(&self.zone.declared()?.keys, &op, until).await?;
        let change = &prepared.change;
        let serial = state.serial;
        if change.is_done(&state) {
            // Whoever wrote it may have died before anybody was told.
            session.again(&op, until).await?;
            let servers = self.zone.read_back(&change.wanted, &op, until).await?;
            let seen = ReadBack { serial, servers };
            return Ok(Observed::Applied(self.output(&prepared, &seen)));
        }
        let current = state.sets;
        if current == change.former || current == change.wanted {
            return Ok(Observed::NotApplied);
        }
        let found: Vec<String> = current.iter().map(ToString::to_string).collect();
        Ok(Observed::Unknown(format!(
            "the provider has neither the former nor the wanted record sets: {}",
            found.join("; ")
        )))
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        let until = deadline(call);
        let inverse = self.prepared(call)?.change.inverse();
        self.carry_out(&inverse, &format!("undo: {}", self.op()), until).await?;
        Ok(())
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        let until = deadline(call);
        let op = format!("close off what was sent before: {}", self.op());
        self.zone.close_off(&op, until).await
    }
}
