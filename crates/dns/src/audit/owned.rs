//! What a plan's zone needs to know of the records that move, and of those that stay.

use super::records::target;
use crate::codes;
use crate::sets::RecordSet;
use crate::zone::{Contents, Zone};
use domain::base::Rtype;
use segue_model::{Finding, Side};
use segue_port::Outcome;
use serde::Serialize;
use std::time::Duration;

/// Longest time a zone transfer may take.
pub(crate) const TRANSFER_MAX: Duration = Duration::from_secs(60);

/// The owned sets as they are, and what else depends on what moves.
#[derive(Debug, Clone, Serialize)]
pub struct OwnedAudit {
    /// The zone.
    pub zone: String,
    /// Its serial.
    pub serial: u32,
    /// How long resolvers keep that something does not exist, seconds.
    pub negative_ttl_s: u32,
    /// The owned sets.
    pub sets: Vec<SetAudit>,
    /// Aliases (CNAME) to owned names: they move along.
    pub aliases: Vec<String>,
    /// Records outside the plan that point at the source, or follow an owned name.
    pub findings: Vec<Finding>,
}

/// One owned set as the primary holds it.
#[derive(Debug, Clone, Serialize)]
pub struct SetAudit {
    /// Owner name.
    pub name: String,
    /// Record type.
    pub rtype: String,
    /// TTL in seconds; `None` if the set does not exist.
    pub ttl_s: Option<u32>,
    /// Record data in presentation format.
    pub data: Vec<String>,
}

impl Zone {
    /// Reads the zone and tells TTLs, aliases and records that the plan leaves behind.
    ///
    /// # Errors
    /// As a zone transfer: `SG0301` to `SG0307`.
    pub async fn audit(&self) -> Outcome<OwnedAudit> {
        let contents = self.contents(TRANSFER_MAX).await?;
        let declared = self.declared()?;
        let sets = declared.keys.iter().map(|key| contents.set(key)).map(|set| SetAudit {
            name: set.key.name.to_string(),
            rtype: set.key.rtype.to_string(),
            ttl_s: set.exists().then_some(set.ttl),
            data: set.texts(),
        });
        let sets = sets.collect();
        let (aliases, findings) = self.dependents(&contents)?;
        Ok(OwnedAudit {
            zone: self.plan.label().into_owned(),
            serial: contents.soa.serial,
            negative_ttl_s: contents.soa.negative_ttl,
            sets,
            aliases,
            findings,
        })
    }

    /// Finds what is not owned but points at a source address or at an owned name.
    fn dependents(&self, contents: &Contents) -> Outcome<(Vec<String>, Vec<Finding>)> {
        let declared = self.declared()?;
        let sources = declared.data.get(Side::Source);
        let addresses: Vec<String> = sources
            .iter()
            .filter(|set| matches!(set.key.rtype, Rtype::A | Rtype::AAAA))
            .flat_map(RecordSet::texts)
            .collect();
        let (mut aliases, mut findings) = (Vec::new(), Vec::new());
        for set in contents.sets().filter(|set| !declared.keys.contains(&set.key)) {
            for data in &set.data {
                let text = data.text(set.key.rtype);
                if let Some(address) = addresses.iter().find(|a| mentions(set.key.rtype, &text, a))
                {
                    findings.push(Finding::warn(
                        codes::UNOWNED,
                        format!("`{} {text}` names source address {address}", set.key),
                        "own the record in the plan, or make sure that it may stay behind",
                    ));
                }
                let Some(target) = target(set.key.rtype, data) else { continue };
                if !declared.keys.iter().any(|key| key.name == target) {
                    continue;
                }
                if set.key.rtype == Rtype::CNAME {
                    aliases.push(set.key.name.to_string());
                } else {
                    findings.push(Finding::warn(
                        codes::UNOWNED,
                        format!("`{} {text}` follows an owned name: it moves along", set.key),
                        "give the service a name of its own if it must stay at the source",
                    ));
                }
            }
        }
        Ok((aliases, findings))
    }
}

/// Tells whether record data is, or in a text contains, an address.
fn mentions(rtype: Rtype, text: &str, address: &str) -> bool {
    match rtype {
        Rtype::A | Rtype::AAAA => text == address,
        Rtype::TXT => text
            .split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'))
            .any(|word| word == address || word.ends_with(&format!(":{address}"))),
        _ => false,
    }
}
