//! What is the case now: at both providers, at every name server, at the parent, at resolvers.

use super::READING;
use super::keys::at;
use super::merge::is_common;
use super::parent::{self, Delegation, Unresolved};
use crate::audit::differing;
use crate::change::now_ms;
use crate::driver::Unshown;
use crate::exchange::ask;
use crate::message;
use crate::sets::{Owner, RecordSet, SetKey};
use crate::zone::{Contents, Zone};
use domain::base::Rtype;
use futures_util::future::join_all;
use segue_model::plan::ZoneMove;
use segue_model::{Side, Sides};
use segue_port::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Sets of a zone that are compared at one server in one look.
const COMPARED_MAX: usize = 4_000;
/// Longest wait for one server's answers.
const SERVER_MAX: Duration = Duration::from_secs(20);

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Look {
    /// Wall clock, milliseconds.
    pub(super) at_ms: u64,
    /// Each provider.
    pub(super) sides: Sides<ProviderLook>,
    /// What each of the parent's servers says; empty if none could be asked.
    pub(super) parents: Vec<Delegation>,
    /// Whether one of them could not be asked.
    pub(super) parent_silent: bool,
    /// Addresses of every name server's name.
    pub(super) addresses: BTreeMap<Owner, BTreeSet<IpAddr>>,
    /// What each resolver makes of the zone.
    pub(super) resolvers: Vec<(SocketAddr, Belief)>,
    /// What could not be learned.
    pub(super) unknown: Vec<String>,
}

/// What a resolver that answers makes of the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Belief {
    /// It has proved the answer (AD).
    Proved,
    /// It answers, and proves nothing.
    Answers,
    /// It gives an error.
    Fails(String),
}

/// A provider.
#[derive(Debug)]
pub(super) struct ProviderLook {
    /// Every record that it keeps.
    pub(super) contents: Contents,
    /// What it answers for without a record that could be copied.
    pub(super) unshown: Vec<MadeUp>,
    /// Each of its name servers.
    pub(super) servers: Vec<ServerLook>,
}

/// Data that a provider makes up when it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MadeUp {
    /// The name.
    pub(super) name: Owner,
    /// The types for which it is made up.
    pub(super) types: Vec<Rtype>,
    /// What it is, for people.
    pub(super) text: String,
}

impl MadeUp {
    /// Says whether a set is made up.
    pub(super) fn covers(&self, key: &SetKey) -> bool {
        self.name == key.name && self.types.contains(&key.rtype)
    }

    fn of(unshown: Unshown) -> Self {
        /// What aliases and rules of a provider lead to.
        const ADDRESSES: [Rtype; 3] = [Rtype::A, Rtype::AAAA, Rtype::CNAME];
        let types = match Rtype::from_str(&unshown.rtype) {
            Ok(rtype) if !ADDRESSES.contains(&rtype) => vec![rtype],
            _ => ADDRESSES.to_vec(),
        };
        let text = format!("`{} {}` is {}", unshown.name, unshown.rtype, unshown.what);
        Self { name: unshown.name, types, text }
    }
}

/// A name server.
#[derive(Debug)]
pub(super) struct ServerLook {
    /// Its address.
    pub(super) address: SocketAddr,
    /// Why it does not serve what its provider keeps; empty if it does.
    pub(super) wrong: Vec<String>,
    /// It has another serial than its provider had when that was read: it follows in a moment.
    pub(super) behind: bool,
    /// The zone's own sets as it serves them.
    pub(super) own: OwnSets,
}

/// The zone's own sets at one server, with their signatures.
#[derive(Debug)]
pub(super) struct OwnSets {
    /// Its start of authority.
    pub(super) soa: RecordSet,
    /// Its name servers.
    pub(super) ns: RecordSet,
    /// Its keys.
    pub(super) keys: RecordSet,
    /// Signatures of the start of authority.
    pub(super) soa_signatures: RecordSet,
    /// Signatures of the keys.
    pub(super) key_signatures: RecordSet,
}

/// Looks at everything.
///
/// # Errors
/// If a provider's records cannot be read: without them nothing can be told.
pub(super) async fn look(plan: &ZoneMove, zones: &Sides<Arc<Zone>>) -> Outcome<Look> {
    let apex = zones.source.declared()?.apex.clone();
    let mut unknown = Vec::new();
    let (source, target) = tokio::join!(provider(&zones.source), provider(&zones.target));
    let sides = Sides { source: source?, target: target? };
    let before = unknown.len();
    let parents = parent::look(plan, &apex, &mut unknown).await;
    let parent_silent = unknown.len() > before;
    let names: BTreeSet<Owner> = [Side::Source, Side::Target]
        .iter()
        .flat_map(|side| &plan.providers.get(*side).name_servers)
        .filter_map(|name| crate::sets::owner(name).ok())
        .collect();
    let found = names.into_iter().map(|name| async {
        let found = parent::addresses(&plan.resolvers, &name).await;
        (name, found)
    });
    let addresses = join_all(found).await.into_iter().collect();
    let asked =
        plan.resolvers.iter().map(|resolver| async { (*resolver, belief(*resolver, &apex).await) });
    let mut resolvers = Vec::new();
    for (resolver, belief) in join_all(asked).await {
        match belief {
            Ok(belief) => resolvers.push((resolver, belief)),
            Err(cause) => unknown.push(format!("whether the zone is believed: {cause}")),
        }
    }
    Ok(Look { at_ms: now_ms().0, sides, parents, parent_silent, addresses, resolvers, unknown })
}

async fn provider(zone: &Zone) -> Outcome<ProviderLook> {
    let whole = zone.driver.whole(Instant::now() + READING).await?;
    let contents = whole.contents;
    let unshown = whole.unshown.into_iter().filter(|unshown| unshown.answered);
    let unshown = unshown.map(MadeUp::of).collect();
    let apex = &zone.declared()?.apex;
    let servers = zone.plan.servers.iter().map(|server| view(*server, apex, &contents));
    let servers = join_all(servers).await;
    Ok(ProviderLook { contents, unshown, servers })
}

/// Compares what a server serves with what its provider keeps, but for what signing makes. Of a
/// large zone a part each time.
async fn compared(address: SocketAddr, apex: &Owner, contents: &Contents) -> Vec<String> {
    let own_ns = at(apex, Rtype::NS);
    let counts = |key: &&SetKey| is_common(apex, key) || **key == own_ns;
    let all = contents.sets.keys().filter(counts).count();
    let first = if all > COMPARED_MAX { now_ms().0 as usize % all } else { 0 };
    let keys = contents.sets.keys().filter(counts).cycle().skip(first).take(all.min(COMPARED_MAX));
    let sets = keys.map(|key| (key.clone(), contents.set(key))).collect();
    differing(address, apex, &Contents { soa: contents.soa.clone(), sets }).await
}

async fn view(address: SocketAddr, apex: &Owner, contents: &Contents) -> ServerLook {
    let until = Instant::now() + SERVER_MAX;
    let (own, wrong) = tokio::join!(own(address, apex, until), compared(address, apex, contents));
    match own {
        Ok(own) => {
            let soa = own.soa.data.first().and_then(|data| message::Soa::of(own.soa.ttl, data));
            let behind = soa.is_some_and(|soa| soa.serial != contents.soa.serial);
            ServerLook { address, wrong, behind, own }
        }
        Err(cause) => {
            let absent = |rtype| RecordSet::absent(at(apex, rtype));
            let own = OwnSets {
                soa: absent(Rtype::SOA),
                ns: absent(Rtype::NS),
                keys: absent(Rtype::DNSKEY),
                soa_signatures: absent(Rtype::RRSIG),
                key_signatures: absent(Rtype::RRSIG),
            };
            ServerLook { address, wrong: vec![cause], behind: false, own }
        }
    }
}

pub(super) async fn own(
    server: SocketAddr,
    apex: &Owner,
    until: Instant,
) -> Result<OwnSets, String> {
    let types = [Rtype::SOA, Rtype::NS, Rtype::DNSKEY];
    let drafts: Result<Vec<_>, _> =
        types.iter().map(|rtype| message::query_signed(apex, *rtype)).collect();
    let answers = ask(server, drafts.map_err(|e| e.to_string())?, until).await;
    let answers = answers.map_err(|trouble| trouble.fault("ask", server).cause)?;
    let [soa, ns, keys]: [message::Answer; 3] =
        answers.try_into().map_err(|_| "it left a question open".to_owned())?;
    let signatures = |answer, rtype| message::read_signatures(answer, &at(apex, rtype));
    Ok(OwnSets {
        soa_signatures: signatures(&soa, Rtype::SOA),
        key_signatures: signatures(&keys, Rtype::DNSKEY),
        soa: message::read_set(&soa, &at(apex, Rtype::SOA))?,
        ns: message::read_set(&ns, &at(apex, Rtype::NS))?,
        keys: message::read_set(&keys, &at(apex, Rtype::DNSKEY))?,
    })
}

/// Asks for a name that nobody asked for before, so that the resolver has to find and prove the
/// answer now.
async fn belief(resolver: SocketAddr, apex: &Owner) -> Result<Belief, String> {
    let (ms, boot) = now_ms();
    let name = format!("_segue-{:x}.{}", ms ^ (boot << 20), apex.fmt_with_dot());
    let name = match crate::sets::owner(&name) {
        Ok(name) => name,
        Err(_) => apex.clone(),
    };
    match parent::resolve(resolver, &name, Rtype::TXT).await {
        Ok(answer) if answer.header().ad() => Ok(Belief::Proved),
        Ok(_) => Ok(Belief::Answers),
        Err(Unresolved::Error(cause)) => Ok(Belief::Fails(cause)),
        Err(Unresolved::Silence(cause)) => Err(cause),
    }
}
