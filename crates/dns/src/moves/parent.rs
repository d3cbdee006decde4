//! What the parent zone says of a zone: name servers, glue, DS.

use crate::audit::target;
use crate::exchange::ask;
use crate::message::{self, Answer};
use crate::sets::{Owner, RecordSet, SetKey};
use domain::base::Rtype;
use domain::base::iana::Rcode;
use domain::base::name::ToName;
use futures_util::future::join_all;
use segue_model::plan::ZoneMove;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

/// Port of name servers.
const PORT: u16 = 53;
/// Servers of the parent that are asked: those of a registry have its zone within seconds of
/// each other, and a thousand zones are not to be asked for at each of thirteen.
const SERVERS_MAX: usize = 4;
/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What one server of the parent says.
#[derive(Debug, Clone)]
pub(super) struct Delegation {
    /// The server.
    pub(super) server: SocketAddr,
    /// The NS set, with the parent's TTL.
    pub(super) ns: RecordSet,
    /// The DS set; without data if there is none.
    pub(super) ds: RecordSet,
    /// How long resolvers keep that there is no DS, seconds; none if there is one.
    pub(super) ds_absent_s: Option<u32>,
    /// Addresses that it gives along, of names within the zone.
    pub(super) glue: BTreeSet<(Owner, IpAddr)>,
}

impl Delegation {
    /// Returns the names of the name servers.
    pub(super) fn names(&self) -> BTreeSet<Owner> {
        names(&self.ns)
    }
}

/// Returns the names of an NS set.
pub(super) fn names(ns: &RecordSet) -> BTreeSet<Owner> {
    ns.data.iter().filter_map(|data| target(Rtype::NS, data)).collect()
}

/// Asks the parent's servers; each trouble goes into `unknown`.
pub(super) async fn look(
    plan: &ZoneMove,
    apex: &Owner,
    unknown: &mut Vec<String>,
) -> Vec<Delegation> {
    let servers = match plan.parents.is_empty() {
        false => plan.parents.clone(),
        true => match find(plan, apex).await {
            Ok(servers) => servers,
            Err(cause) => {
                unknown.push(format!("what the parent zone says: {cause}"));
                return Vec::new();
            }
        },
    };
    let asked = servers.iter().take(SERVERS_MAX).map(|server| one(*server, apex));
    let mut told = Vec::new();
    for result in join_all(asked).await {
        match result {
            Ok(delegation) => told.push(delegation),
            Err(cause) => unknown.push(format!("what the parent zone says: {cause}")),
        }
    }
    told
}

async fn one(server: SocketAddr, apex: &Owner) -> Result<Delegation, String> {
    let until = Instant::now() + ANSWER_MAX;
    let told = |cause: String| format!("{server}: {cause}");
    let ns_key = SetKey { name: apex.clone(), rtype: Rtype::NS };
    let ds_key = SetKey { name: apex.clone(), rtype: Rtype::DS };
    // With room for glue.
    let drafts = [Rtype::NS, Rtype::DS].map(|rtype| message::query_signed(apex, rtype));
    let [Ok(ns), Ok(ds)] = drafts else { return Err(told("the question is too long".into())) };
    let answers = ask(server, vec![ns, ds], until).await;
    let answers = answers.map_err(|trouble| trouble.fault("ask the parent", server).cause);
    let [referral, ds] = answers.map_err(told)?.try_into().map_err(|_| told("silence".into()))?;
    if referral.header().aa() {
        return Err(told(
            "it serves the zone itself, and does not show what the parent has; name in `parents` a \
             server of the parent that has not this zone"
                .into(),
        ));
    }
    let ns = message::read_set(&referral, &ns_key).map_err(told)?;
    let ds_absent_s = message::read_negative_ttl(&ds);
    let ds = message::read_set(&ds, &ds_key).map_err(told)?;
    let glue = names(&ns).into_iter().filter(|name| name.ends_with(apex));
    let glue = glue.flat_map(|name| given_along(&referral, &name)).collect();
    Ok(Delegation { server, ns, ds, ds_absent_s, glue })
}

fn given_along(referral: &Answer, name: &Owner) -> Vec<(Owner, IpAddr)> {
    let kinds = [Rtype::A, Rtype::AAAA].into_iter();
    let sets =
        kinds.map(|rtype| message::read_glue(referral, &SetKey { name: name.clone(), rtype }));
    let texts = sets.flat_map(|set| set.texts());
    texts.filter_map(|text| Some((name.clone(), text.parse().ok()?))).collect()
}

/// Finds the servers of the zone above.
async fn find(plan: &ZoneMove, apex: &Owner) -> Result<Vec<SocketAddr>, String> {
    let mut last = "no resolver answers".to_owned();
    for resolver in &plan.resolvers {
        for above in apex.iter_suffixes().skip(1) {
            let above: Owner = above.to_canonical_name();
            let answer = match resolve(*resolver, &above, Rtype::NS).await {
                Ok(answer) => answer,
                Err(Unresolved::Error(cause) | Unresolved::Silence(cause)) => {
                    last = cause;
                    break;
                }
            };
            let key = SetKey { name: above.clone(), rtype: Rtype::NS };
            let ns = names(&message::read_cached(&answer, &key));
            if ns.is_empty() {
                continue;
            }
            let mut servers = Vec::new();
            for name in ns.iter().take(SERVERS_MAX) {
                let found = addresses(std::slice::from_ref(resolver), name).await;
                servers.extend(found.into_iter().map(|address| SocketAddr::new(address, PORT)));
            }
            // One address a server: the others are the same machine's.
            if !servers.is_empty() {
                servers.sort_by_key(SocketAddr::is_ipv6);
                return Ok(servers);
            }
            last = format!("no address of the name servers of `{above}` is found");
        }
    }
    Err(format!("its servers are not found: {last}"))
}

/// Why a resolver gave no answer that can be used.
#[derive(Debug)]
pub(super) enum Unresolved {
    /// It says that it cannot.
    Error(String),
    /// It does not answer.
    Silence(String),
}

/// Asks a resolver.
///
/// # Errors
/// Says why there is no answer that can be used.
pub(super) async fn resolve(
    resolver: SocketAddr,
    name: &Owner,
    rtype: Rtype,
) -> Result<Answer, Unresolved> {
    let until = Instant::now() + ANSWER_MAX;
    let silence = |cause: String| Unresolved::Silence(format!("resolver {resolver}: {cause}"));
    let mut draft = message::query_signed(name, rtype).map_err(|e| silence(e.to_string()))?;
    // It shall find the answer, not know it.
    draft.header_mut().set_rd(true);
    let answer = ask(resolver, vec![draft], until).await;
    let answer = answer.map_err(|trouble| silence(trouble.fault("ask", resolver).cause))?.pop();
    let answer = answer.ok_or_else(|| silence("it does not answer".into()))?;
    match answer.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => Ok(answer),
        rcode => {
            let text = format!("resolver {resolver} answered {rcode} for `{name} {rtype}`");
            Err(Unresolved::Error(text))
        }
    }
}

/// Returns the addresses of a name, from the first resolver that knows any.
pub(super) async fn addresses(resolvers: &[SocketAddr], name: &Owner) -> BTreeSet<IpAddr> {
    for resolver in resolvers {
        let mut found = BTreeSet::new();
        for rtype in [Rtype::A, Rtype::AAAA] {
            if let Ok(answer) = resolve(*resolver, name, rtype).await {
                found.extend(message::read_addresses(&answer).unwrap_or_default());
            }
        }
        if !found.is_empty() {
            return found;
        }
    }
    BTreeSet::new()
}
