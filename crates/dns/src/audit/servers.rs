//! What every authoritative server serves, and what the parent zone says.

use super::Audit;
use super::read::question;
use super::signing::ZoneKey;
use crate::exchange::{Trouble, ask};
use crate::message::{self, Soa};
use crate::sets::{Owner, RecordSet, SetKey};
use crate::zone::Contents;
use domain::base::Rtype;
use domain::rdata::AllRecordData;
use futures_util::future::join_all;
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time for one server's answers.
const SERVER_MAX: Duration = Duration::from_secs(20);
/// Sets that are asked for at once, and at most at one server.
const AT_ONCE: usize = 64;
const SETS_MAX: usize = 5_000;
/// Differences that are told of one server.
const TOLD_MAX: usize = 20;
/// Port of name servers.
const PORT: u16 = 53;

/// The zone against which servers are compared.
pub(super) struct Asked<'a> {
    pub(super) apex: &'a Owner,
    pub(super) contents: &'a Contents,
    /// Whether every record of it is known.
    pub(super) whole: bool,
}

/// One authoritative server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerView {
    /// Its address.
    pub address: SocketAddr,
    /// Its serial; `None` if it did not answer.
    pub serial: Option<u32>,
    /// Sets that were compared.
    pub compared: usize,
    /// How many of them it serves differently.
    pub differing: usize,
    /// Some of them, or why it could not be asked.
    pub findings: Vec<String>,
}

/// What the parent zone says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parent {
    /// The server that was asked.
    pub address: SocketAddr,
    /// Name servers that it names.
    pub names: Vec<String>,
    /// TTL of the delegation, seconds: not the zone's to lower.
    pub ttl_s: u32,
    /// What differs between parent and zone.
    pub findings: Vec<String>,
}

/// Compares every server that is named, or has an address in the zone.
pub(super) async fn look(audit: &mut Audit, asked: &Asked<'_>, named: &[SocketAddr]) {
    let mut servers: BTreeSet<SocketAddr> = named.iter().copied().collect();
    if named.is_empty() {
        let (found, unknown) = own_servers(asked);
        servers.extend(found);
        audit.unknown.extend(unknown);
    }
    audit.servers = join_all(servers.into_iter().map(|server| view(server, asked))).await;
}

/// Returns the addresses of name servers that the zone itself holds, and the names it does not.
fn own_servers(asked: &Asked<'_>) -> (Vec<SocketAddr>, Vec<String>) {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for name in name_servers(asked) {
        let before = found.len();
        for rtype in [Rtype::A, Rtype::AAAA] {
            let set = asked.contents.set(&SetKey { name: name.clone(), rtype });
            let addresses = set.texts().into_iter().filter_map(|text| text.parse::<IpAddr>().ok());
            found.extend(addresses.map(|address| SocketAddr::new(address, PORT)));
        }
        if found.len() == before {
            unknown
                .push(format!("what name server `{name}` serves: its address is not in the zone"));
        }
    }
    (found, unknown)
}

fn name_servers(asked: &Asked<'_>) -> Vec<Owner> {
    let ns = asked.contents.set(&SetKey { name: asked.apex.clone(), rtype: Rtype::NS });
    ns.data.iter().filter_map(|data| super::records::target(Rtype::NS, data)).collect()
}

/// Says where a server does not serve what the zone holds; empty if it serves all of it.
pub(crate) async fn differing(
    server: SocketAddr,
    apex: &Owner,
    contents: &Contents,
) -> Vec<String> {
    view(server, &Asked { apex, contents, whole: true }).await.findings
}

async fn view(server: SocketAddr, asked: &Asked<'_>) -> ServerView {
    let until = Instant::now() + SERVER_MAX;
    let mut view = ServerView {
        address: server,
        serial: None,
        compared: 0,
        differing: 0,
        findings: Vec::new(),
    };
    let fault = |trouble: Trouble| trouble.fault("ask", server).cause;
    match start(asked.apex, server, until).await {
        Ok(soa) => view.serial = Some(soa.serial),
        Err(trouble) => {
            view.findings.push(fault(trouble));
            return view;
        }
    }
    let is_cut = |key: &&SetKey| key.rtype == Rtype::NS && key.name != *asked.apex;
    let cuts: Vec<&SetKey> = asked.contents.sets.keys().filter(is_cut).collect();
    let visible = |set: &&RecordSet| visible(&cuts, set);
    let wanted: Vec<&RecordSet> = asked.contents.sets().filter(visible).take(SETS_MAX).collect();
    let keys: Vec<SetKey> = wanted.iter().map(|set| set.key.clone()).collect();
    match ask_sets(server, &keys, until).await {
        Err(trouble) => view.findings.push(fault(trouble)),
        Ok(found) => {
            view.compared = found.len();
            for (wanted, found) in wanted.iter().zip(&found).filter(|(a, b)| **a != *b) {
                view.differing += 1;
                if view.findings.len() < TOLD_MAX {
                    view.findings.push(format!("read `{wanted}`, it serves `{found}`"));
                }
            }
        }
    }
    if asked.contents.sets.len() > SETS_MAX {
        view.findings.push(format!("only the first {SETS_MAX} sets were compared"));
    }
    view
}

/// Whether a server answers for a set by its name: not for glue, which stands in referrals,
/// and not for the proofs of signing, which every server makes for itself.
fn visible(cuts: &[&SetKey], set: &RecordSet) -> bool {
    let signing = matches!(set.key.rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3);
    let below_cut = cuts.iter().any(|cut| {
        set.key.name.ends_with(&cut.name) && set.key != **cut && set.key.rtype != Rtype::DS
    });
    !signing && !below_cut
}

/// Asks a server for its start of authority.
pub(crate) async fn start(
    apex: &Owner,
    server: SocketAddr,
    until: Instant,
) -> Result<Soa, Trouble> {
    let answer = question(server, apex, Rtype::SOA, until).await?;
    message::read_soa(&answer, apex).map_err(Trouble::Answer)
}

/// Asks a server for sets, some at a time.
pub(super) async fn ask_sets(
    server: SocketAddr,
    keys: &[SetKey],
    until: Instant,
) -> Result<Vec<RecordSet>, Trouble> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(AT_ONCE) {
        let drafts: Result<Vec<_>, _> =
            keys.iter().map(|key| message::query(&key.name, key.rtype)).collect();
        let drafts = drafts.map_err(|e| Trouble::Answer(e.to_string()))?;
        for (answer, key) in ask(server, drafts, until).await?.iter().zip(keys) {
            let set = message::read_set(answer, key);
            found
                .push(set.map_err(|cause| Trouble::Answer(format!("asked for `{key}`: {cause}")))?);
        }
    }
    Ok(found)
}

/// Compares delegation, glue and DS at the parent with the zone.
pub(super) async fn look_up(audit: &mut Audit, asked: &Asked<'_>, parents: &[SocketAddr]) {
    let mut causes = Vec::new();
    for server in parents {
        match parent(*server, asked).await {
            Ok((parent, ds)) => {
                audit.signing.with_ds(ds);
                audit.parent = Some(parent);
                return;
            }
            Err(trouble) => {
                causes.push(format!("{server}: {}", trouble.fault("ask", *server).cause))
            }
        }
    }
    let what = "delegation, glue and DS at the parent zone";
    audit.unknown.push(match causes.is_empty() {
        true => format!("{what}: no server of the parent was named"),
        false => format!("{what}: {}", causes.join("; ")),
    });
}

async fn parent(server: SocketAddr, asked: &Asked<'_>) -> Result<(Parent, Vec<ZoneKey>), Trouble> {
    let until = Instant::now() + SERVER_MAX;
    let referral = question(server, asked.apex, Rtype::NS, until).await?;
    let key = SetKey { name: asked.apex.clone(), rtype: Rtype::NS };
    let delegation = message::read_set(&referral, &key).map_err(Trouble::Answer)?;
    let ds = question(server, asked.apex, Rtype::DS, until).await?;
    let key = SetKey { name: asked.apex.clone(), rtype: Rtype::DS };
    let ds = message::read_set(&ds, &key).map_err(Trouble::Answer)?;
    let names: BTreeSet<Owner> =
        delegation.data.iter().filter_map(|data| super::records::target(Rtype::NS, data)).collect();
    let own: BTreeSet<Owner> = name_servers(asked).into_iter().collect();
    let mut findings = Vec::new();
    for name in names.difference(&own) {
        findings.push(format!("the parent names `{name}`, the zone does not"));
    }
    for name in own.difference(&names) {
        findings.push(format!("the zone names `{name}`, the parent does not"));
    }
    findings.extend(glue(asked, &referral, &names));
    let keys = ds.data.iter().filter_map(|data| match super::records::value(Rtype::DS, data)? {
        AllRecordData::Ds(ds) => Some(ZoneKey {
            tag: ds.key_tag(),
            algorithm: ds.algorithm().to_int(),
            entry_point: true,
        }),
        _ => None,
    });
    let names = names.iter().map(ToString::to_string).collect();
    let ttl_s = delegation.ttl;
    Ok((Parent { address: server, names, ttl_s, findings }, keys.collect()))
}

/// Compares glue with the zone's own addresses.
fn glue(asked: &Asked<'_>, referral: &message::Answer, names: &BTreeSet<Owner>) -> Vec<String> {
    let mut findings = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(asked.apex)) {
        for rtype in [Rtype::A, Rtype::AAAA] {
            let key = SetKey { name: name.clone(), rtype };
            let (glue, own) = (message::read_glue(referral, &key), asked.contents.set(&key));
            let texts = |set: &RecordSet| set.texts().join(", ");
            if glue.data != own.data && (asked.whole || own.exists()) {
                findings.push(format!(
                    "glue of `{name}` {rtype} is [{}], the zone has [{}]",
                    texts(&glue),
                    texts(&own)
                ));
            }
        }
    }
    findings
}
