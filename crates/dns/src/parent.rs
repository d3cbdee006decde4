//! What the parent zone holds of a zone's own sets: the delegation, and glue of its name servers.
//!
//! Resolvers may keep the parent's copy for the parent's TTL, which nobody lowers from here.

use crate::audit::{question, target};
use crate::codes;
use crate::message;
use crate::sets::{Owner, RecordSet, SetKey};
use crate::zone::{Declared, Zone};
use domain::base::Rtype;
use domain::base::name::ToName;
use segue_model::Finding;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for one server of the parent.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Owned sets that the parent holds too. Stands in the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AtParent {
    /// By owner and type: the TTL there, seconds.
    pub(crate) ttls: BTreeMap<String, u32>,
    /// Why it is not known what the parent holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<String>,
}

impl AtParent {
    /// Returns how long a set is kept at resolvers: the longer of its own and the parent's TTL.
    pub(crate) fn kept_s(&self, set: &RecordSet, own_s: u32) -> u32 {
        own_s.max(self.ttls.get(&set.key.to_string()).copied().unwrap_or(0))
    }

    /// Tells what it costs.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let held = self.ttls.iter().map(|(key, ttl_s)| {
            Finding::warn(
                codes::TTL,
                format!("the parent holds `{key}` for {ttl_s} s, not ours to lower"),
                "have it changed at the parent too; until that and this time after it, keep the \
                 former name servers answering",
            )
        });
        let unknown = self.unknown.iter().map(|why| {
            Finding::warn(
                codes::TTL,
                format!("how long resolvers keep what the parent holds is not known: {why}"),
                "write addresses of the parent zone's servers as `parents` into the [[zone]]",
            )
        });
        held.chain(unknown).collect()
    }
}

/// Whether the parent may hold a set: always the zone's own NS, and addresses of these.
fn may_be_held(declared: &Declared, key: &SetKey, names: &BTreeSet<Owner>) -> bool {
    let own_ns = key.rtype == Rtype::NS && key.name == declared.apex;
    own_ns || matches!(key.rtype, Rtype::A | Rtype::AAAA) && names.contains(&key.name)
}

/// Returns the names to which NS records lead.
fn named(ns: &RecordSet) -> BTreeSet<Owner> {
    ns.data.iter().filter_map(|data| target(Rtype::NS, data)).collect()
}

impl Zone {
    /// Asks the parent's servers for the owned sets that they hold; the first that answers tells.
    /// With the zone's `ns` it is also known whether an owned address may be glue.
    pub(crate) async fn at_parent(&self, ns: Option<&RecordSet>, until: Instant) -> AtParent {
        let Ok(declared) = self.declared() else { return AtParent::default() };
        let names = ns.map(named).unwrap_or_default();
        let certain = declared.keys.iter().any(|key| may_be_held(declared, key, &names));
        let addresses = || declared.keys.iter().any(|key| key.rtype != Rtype::NS);
        if !certain && (self.plan.parents.is_empty() || !addresses()) {
            return AtParent::default();
        }
        let mut causes = Vec::new();
        for server in &self.plan.parents {
            match held(*server, declared, until.min(Instant::now() + ANSWER_MAX)).await {
                Ok(ttls) => return AtParent { ttls, unknown: None },
                Err(cause) => causes.push(format!("{server}: {cause}")),
            }
        }
        let unknown = match causes.is_empty() {
            true => "no server of the parent is named".to_owned(),
            false => causes.join("; "),
        };
        AtParent { ttls: BTreeMap::new(), unknown: Some(unknown) }
    }
}

async fn held(
    server: SocketAddr,
    declared: &Declared,
    until: Instant,
) -> Result<BTreeMap<String, u32>, String> {
    let apex = &declared.apex;
    let referral = question(server, apex, Rtype::NS, until).await;
    let referral = referral.map_err(|trouble| trouble.fault("ask", server).cause)?;
    let key = SetKey { name: apex.to_canonical_name(), rtype: Rtype::NS };
    let delegation = message::read_set(&referral, &key)?;
    if !delegation.exists() {
        return Err("it knows no delegation of the zone".to_owned());
    }
    let names = named(&delegation);
    let mut ttls = BTreeMap::new();
    for key in declared.keys.iter().filter(|key| may_be_held(declared, key, &names)) {
        let set = match key.rtype {
            Rtype::NS => delegation.clone(),
            _ => message::read_glue(&referral, key),
        };
        if set.exists() {
            ttls.insert(key.to_string(), set.ttl);
        }
    }
    Ok(ttls)
}
