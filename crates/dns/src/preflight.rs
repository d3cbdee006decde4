//! Checks of plan, key, servers and content before anything is touched.

use crate::audit::TRANSFER_MAX;
use crate::codes;
use crate::guards::guards;
use crate::sets::{Owner, RecordSet, SetKey};
use crate::zone::{Contents, Declared, Zone};
use domain::base::{Rtype, name::ToName};
use futures_util::future::join_all;
use segue_model::{Fault, Finding, Side};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for one server's answers.
const SERVER_MAX: Duration = Duration::from_secs(3);
/// Lowered TTLs above this make a way back slow for resolvers, seconds.
const LOWERED_HIGH_S: u32 = 60;

/// Types that sign or describe a signed zone.
const SIGNING: [Rtype; 5] =
    [Rtype::DNSKEY, Rtype::RRSIG, Rtype::NSEC, Rtype::NSEC3, Rtype::NSEC3PARAM];

impl Zone {
    /// Checks whether the plan can be carried out in this zone. Changes nothing.
    ///
    /// Plan data, key, zone transfer, signatures, the owned sets against the plan's
    /// source data, aliases and delegations in their way, every server's answers, TTLs.
    /// Whether updates are allowed cannot be asked without making one; this is said too.
    pub async fn preflight(&self) -> Vec<Finding> {
        let declared = match self.declared() {
            Ok(declared) => declared,
            Err(fault) => return vec![refused(fault)],
        };
        let mut findings = self.check_plan(declared);
        let contents = match self.contents(TRANSFER_MAX).await {
            Ok(contents) => contents,
            Err(fault) => {
                findings.push(refused(fault));
                return findings;
            }
        };
        findings.extend(self.check_signed(&contents).await);
        for key in &declared.keys {
            findings.extend(check_surroundings(declared, &contents, key));
        }
        findings.extend(self.check_source(declared, &contents));
        findings.extend(self.check_servers(declared, &contents).await);
        findings.extend(self.check_listed(declared, &contents));
        findings.extend(self.check_ttls(declared, &contents));
        findings.extend(self.check_promises());
        let ns = SetKey { name: declared.apex.clone(), rtype: Rtype::NS };
        let until = Instant::now() + SERVER_MAX;
        findings.extend(self.at_parent(Some(&contents.set(&ns)), until).await.findings());
        findings.extend(guards(declared, &contents, &self.plan.allow));
        findings.push(Finding::warn(
            codes::RIGHT_UNKNOWN,
            format!(
                "whether zone `{}` may be changed at {} shows with the first change",
                self.plan.label(),
                self.driver.place()
            ),
            "the first change only lowers TTLs; check the rights of key or login beforehand",
        ));
        findings
    }

    fn check_plan(&self, declared: &Declared) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut refuse = |code, text: String, remedy: &str| {
            findings.push(Finding::refuse(code, text, remedy));
        };
        let plan = &self.plan;
        if plan.servers.is_empty() || plan.records.is_empty() {
            refuse(
                codes::PLAN,
                format!("zone `{}` names no server or no record set", plan.label()),
                "list every authoritative address and at least one owned set",
            );
        }
        for (place, key) in declared.keys.iter().enumerate() {
            if !key.name.ends_with(&declared.apex) {
                refuse(
                    codes::PLAN,
                    format!("`{key}` is not in zone `{}`", plan.label()),
                    "move it to the zone it belongs to",
                );
            }
            if declared.keys[..place].contains(key) {
                refuse(codes::PLAN, format!("`{key}` stands there twice"), "join both entries");
            }
            let data = |side: Side| &declared.data.get(side)[place];
            if !data(Side::Source).exists() && !data(Side::Target).exists() {
                refuse(codes::PLAN, format!("`{key}` has no data on either side"), "take it out");
            }
            let own_ns = self.driver.capabilities().own_ns;
            let emptied = !data(Side::Source).exists() || !data(Side::Target).exists();
            if let Some(why) = not_ours(declared, key, own_ns, emptied) {
                refuse(codes::NOT_OURS, format!("`{key}`: {why}"), "take it out of this unit");
            }
        }
        for side in [Side::Source, Side::Target] {
            findings.extend(check_aliases(side, declared.data.get(side)));
        }
        findings
    }

    /// Whoever validates drops what is changed and not signed anew.
    async fn check_signed(&self, contents: &Contents) -> Option<Finding> {
        let signing = contents.sets().find(|set| SIGNING.contains(&set.key.rtype));
        let until = Instant::now() + SERVER_MAX;
        let signed = match signing {
            Some(set) => format!("`{}` exists", set.key),
            None if self.is_signed(until).await == Some(true) => "its servers show keys".to_owned(),
            None => return None,
        };
        let text = format!("zone `{}` is signed ({signed})", self.plan.label());
        let promised = self.driver.capabilities();
        if !promised.signs {
            return Some(Finding::refuse(
                codes::SIGNED,
                format!("{text}, and `{}` signs nothing", promised.driver),
                "use a way of the provider that signs what changes (`update`, its API), or take the \
                 DS away at the parent, wait its TTL, and unsign the zone first",
            ));
        }
        // Where they do not hold now, nobody can tell whether what changes is signed.
        let keys = &self.declared().ok()?.keys;
        let sets: Vec<RecordSet> = keys.iter().map(|key| contents.set(key)).collect();
        for server in &self.plan.servers {
            let until = Instant::now() + SERVER_MAX;
            if let Err(why) = self.signed_at(*server, &sets, until).await {
                return Some(Finding::refuse(
                    codes::SIGNED,
                    format!("{text}, and at {server} its present signatures do not hold: {why}"),
                    "mend the signing first, or take the DS away at the parent, wait its TTL, and \
                     unsign the zone",
                ));
            }
        }
        Some(Finding::warn(
            codes::SIGNED,
            format!("{text}: each changed set is read back with a signature that holds"),
            "whether its servers sign by themselves shows with the first change, which only lowers \
             TTLs and which a validating resolver takes either way",
        ))
    }

    fn check_source(&self, declared: &Declared, contents: &Contents) -> Vec<Finding> {
        let planned = declared.data.get(Side::Source).iter();
        let differing = planned.map(|planned| (planned, contents.set(&planned.key)));
        let differing = differing.filter(|(planned, found)| planned.data != found.data);
        differing
            .map(|(planned, found)| {
                Finding::refuse(
                    codes::NOT_AS_PLANNED,
                    format!("the plan's source data is `{planned}`, the zone has `{found}`"),
                    "correct the plan, or the zone, so that both agree",
                )
            })
            .collect()
    }

    async fn check_servers(&self, declared: &Declared, contents: &Contents) -> Vec<Finding> {
        let wanted: Vec<RecordSet> = declared.keys.iter().map(|key| contents.set(key)).collect();
        let check = async |server: SocketAddr| match self
            .served(server, Instant::now() + SERVER_MAX)
            .await
        {
            Err(fault) => Some(refused(fault)),
            Ok(current) => {
                let (expected, found) = wanted.iter().zip(&current).find(|(a, b)| a != b)?;
                Some(Finding::refuse(
                    codes::SERVERS_DIFFER,
                    format!("{server} serves `{found}`, the primary transfers `{expected}`"),
                    "mend the transfer to that server; a wildcard over an owned name must go, too",
                ))
            }
        };
        let findings = join_all(self.plan.servers.iter().map(|server| check(*server))).await;
        findings.into_iter().flatten().collect()
    }

    /// Looks for name servers in the zone whose addresses the plan does not list.
    fn check_listed(&self, declared: &Declared, contents: &Contents) -> Vec<Finding> {
        let ns = SetKey { name: declared.apex.clone(), rtype: Rtype::NS };
        let mut findings = Vec::new();
        for name in contents.set(&ns).texts() {
            let Ok(name) = crate::sets::owner(&name) else { continue };
            for rtype in [Rtype::A, Rtype::AAAA] {
                let glue = contents.set(&SetKey { name: name.clone(), rtype });
                for address in glue.texts() {
                    let listed = |s: &SocketAddr| s.ip().to_string() == address;
                    if !self.plan.servers.iter().any(listed) {
                        findings.push(Finding::warn(
                            codes::SERVER_UNLISTED,
                            format!("name server `{name}` at {address} is not in the plan"),
                            "list it under `servers`, or its content is not read back",
                        ));
                    }
                }
            }
        }
        findings
    }

    fn check_ttls(&self, declared: &Declared, contents: &Contents) -> Vec<Finding> {
        let lowered = |set: &RecordSet| self.lowered_ttl_of(set.key.rtype);
        let mut findings = Vec::new();
        let sets = || declared.keys.iter().map(|key| contents.set(key));
        let table: Vec<String> = sets()
            .filter(|set| set.ttl > lowered(set))
            .map(|set| format!("{} {} s to {} s", set.key, set.ttl, lowered(&set)))
            .collect();
        if !table.is_empty() {
            findings.push(Finding::warn(
                codes::TTL,
                format!("TTLs that must run out first: {}", table.join(", ")),
                "lower them early: the cutover waits for the longest of them",
            ));
        }
        let addresses = self.lowered_ttl_of(Rtype::A);
        if addresses > LOWERED_HIGH_S {
            findings.push(Finding::warn(
                codes::TTL,
                format!("the lowered TTL of zone `{}` is {addresses} s", self.plan.label()),
                "resolvers keep an answer that long, also after a way back: take 60 s or less",
            ));
        }
        let negative = contents.soa.negative_ttl;
        if sets().any(|set| !set.exists() && negative > lowered(&set)) {
            findings.push(Finding::warn(
                codes::TTL,
                format!("resolvers keep for {negative} s that an owned set does not exist"),
                "lower the SOA's minimum before the cutover, or create the names early",
            ));
        }
        findings
    }
}

impl Zone {
    /// Tells what the provider cannot promise, and what its lowest TTL costs.
    fn check_promises(&self) -> Vec<Finding> {
        let promised = self.driver.capabilities();
        let mut findings: Vec<Finding> = promised
            .open_questions(&self.plan.label())
            .into_iter()
            .map(|open| {
                let text = format!("nobody can promise {open}");
                Finding::warn(codes::PROMISES, text, promised.remark)
            })
            .collect();
        if promised.ttl_min_s > self.plan.lowered_ttl_s {
            findings.push(Finding::warn(
                codes::PROMISES,
                format!(
                    "the plan lowers TTLs to {} s, {} has {} s at least",
                    self.plan.lowered_ttl_s, promised.driver, promised.ttl_min_s
                ),
                "a way back takes that much longer at resolvers",
            ));
        }
        findings
    }
}

fn refused(fault: Fault) -> Finding {
    Finding::refuse(&fault.code, format!("{}: {}", fault.op, fault.cause), fault.hint)
}

/// Says why this driver must not change a set, if so; whether the zone's own name servers are
/// meant is asked by a guard.
fn not_ours(
    declared: &Declared,
    key: &SetKey,
    own_ns: bool,
    emptied: bool,
) -> Option<&'static str> {
    let signing = SIGNING.contains(&key.rtype)
        || matches!(key.rtype, Rtype::DS | Rtype::CDS | Rtype::CDNSKEY);
    if key.name == declared.apex && key.rtype == Rtype::NS && !own_ns {
        Some("the zone's own name servers are the provider's")
    } else if key.name == declared.apex && key.rtype == Rtype::NS && emptied {
        Some("the zone would be left without name servers")
    } else if key.name == declared.apex && key.rtype == Rtype::CNAME {
        Some("a zone's own name cannot be an alias")
    } else if key.rtype == Rtype::SOA {
        Some("the SOA belongs to the server")
    } else if signing {
        Some("keys and signatures are not moved by this driver")
    } else {
        None
    }
}

/// Refuses an alias with two targets or with other owned data beside it, on one side.
fn check_aliases(side: Side, sets: &[RecordSet]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let aliases = sets.iter().filter(|s| s.key.rtype == Rtype::CNAME && s.exists());
    for alias in aliases {
        let beside = |s: &&RecordSet| {
            s.exists() && s.key.name == alias.key.name && s.key.rtype != Rtype::CNAME
        };
        if alias.data.len() > 1 || sets.iter().any(|s| beside(&s)) {
            findings.push(Finding::refuse(
                codes::CNAME,
                format!("at the {side} `{}` would be more than one alias", alias.key),
                "a CNAME stands alone at its name, with one target",
            ));
        }
    }
    findings
}

/// Looks for foreign aliases and delegations that would swallow an owned set.
fn check_surroundings(declared: &Declared, contents: &Contents, key: &SetKey) -> Vec<Finding> {
    let mut findings = Vec::new();
    let foreign = contents.sets().filter(|set| !declared.keys.contains(&set.key));
    for set in foreign {
        let here = set.key.name == key.name;
        let alias = here && (set.key.rtype == Rtype::CNAME || key.rtype == Rtype::CNAME);
        if alias {
            findings.push(Finding::refuse(
                codes::CNAME,
                format!("`{}` stands beside the owned `{key}`", set.key),
                "a CNAME cannot stand beside other records: own both, or take one away",
            ));
        }
    }
    if let Some(cut) = delegation_above(declared, contents, key) {
        findings.push(Finding::refuse(
            codes::NOT_OURS,
            format!("`{key}` lies at or below the delegation `{cut}`"),
            "own it in the zone to which that name is delegated",
        ));
    }
    findings
}

fn delegation_above(declared: &Declared, contents: &Contents, key: &SetKey) -> Option<Owner> {
    let cuts = contents.sets().filter(|s| s.key.rtype == Rtype::NS && s.key.name != declared.apex);
    let covers = |cut: &&RecordSet| {
        key.name.ends_with(&cut.key.name) && !(cut.key.name == key.name && key.rtype == Rtype::NS)
    };
    let cut = cuts.into_iter().find(covers)?;
    Some(cut.key.name.to_canonical_name())
}
