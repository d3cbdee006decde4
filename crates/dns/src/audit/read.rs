//! Where an audit gets its knowledge from: a transfer, a zone file, or questions.

use super::servers::{self, Asked};
use super::{Audit, TRANSFER_MAX};
use crate::codes;
use crate::driver::{Whole, driver};
use crate::exchange::{Trouble, ask};
use crate::message;
use crate::sets::{self, Owner, RecordSet, SetKey};
use crate::transfer::transfer;
use crate::zone::Contents;
use crate::zonefile::{self, Remark};
use domain::base::Rtype;
use segue_model::plan::{TsigKey, ZonePlan};
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// A TSIG key as a plan names it.
pub type Key = TsigKey;

/// Most octets of a zone file and of each file that it includes.
const FILE_MAX: u64 = 1 << 30;

/// Types that are asked for where a zone cannot be read as a whole.
const ASKED_TYPES: [Rtype; 14] = [
    Rtype::A,
    Rtype::AAAA,
    Rtype::NS,
    Rtype::MX,
    Rtype::TXT,
    Rtype::CNAME,
    Rtype::SRV,
    Rtype::CAA,
    Rtype::NAPTR,
    Rtype::TLSA,
    Rtype::DNSKEY,
    Rtype::HTTPS,
    Rtype::SVCB,
    Rtype::DS,
];

/// Names that most hosted zones have, below the zone.
const ASKED_NAMES: [&str; 24] = [
    "www",
    "mail",
    "smtp",
    "imap",
    "pop",
    "pop3",
    "webmail",
    "autodiscover",
    "autoconfig",
    "ftp",
    "cpanel",
    "whm",
    "webdisk",
    "ns1",
    "ns2",
    "mx",
    "shop",
    "blog",
    "api",
    "_dmarc",
    "default._domainkey",
    "_acme-challenge",
    "*",
    "localhost",
];

/// From where the records come.
#[derive(Debug, Clone)]
pub enum From {
    /// A transfer from a server, signed with a key or allowed by address.
    Transfer {
        /// The server.
        server: SocketAddr,
        /// The key.
        key: Option<Key>,
    },
    /// A zone file; what it includes is looked for beside it.
    File(PathBuf),
    /// Questions to a server, for names that most zones have and those named here.
    Questions {
        /// The server.
        server: SocketAddr,
        /// Further names, in full.
        names: Vec<String>,
    },
    /// What a provider of a plan has, read as its changes are: by its API, its zone file, its
    /// program or a transfer.
    Provider(Box<ZonePlan>),
}

/// What an audit is about.
#[derive(Debug, Clone)]
pub struct Question {
    /// The zone's name.
    pub zone: String,
    /// From where its records come.
    pub from: From,
    /// Addresses that will be left.
    pub sources: Vec<IpAddr>,
    /// The name by which CAA records know the authority in use, such as `letsencrypt.org`.
    pub ca: Option<String>,
    /// Authoritative servers to compare; those of the zone's NS that have an address in the
    /// zone are found without.
    pub servers: Vec<SocketAddr>,
    /// Servers of the parent zone.
    pub parents: Vec<SocketAddr>,
}

/// Reads a zone and everything that is said of it elsewhere. Changes nothing.
///
/// # Errors
/// `SG0301` the zone's name or file, `SG0302` the key, `SG0303` to `SG0307` as a transfer.
/// A server that does not answer is no error: it is part of the audit.
pub async fn audit(question: &Question) -> Outcome<Audit> {
    let until = Instant::now() + TRANSFER_MAX;
    let bad_name = |cause: String| {
        let op = format!("read the name `{}`", question.zone);
        Fault::new(codes::PLAN, FaultKind::Invalid, op, cause).hint("write the zone's name in full")
    };
    let apex = sets::owner(&question.zone).map_err(bad_name)?;
    let read = read(&apex, &question.from, until).await?;
    let (sources, ca) = (&question.sources, question.ca.as_deref());
    let mut audit = Audit::of(&apex, &read.contents, read.made_up, sources, ca);
    audit.read = read.from;
    if let From::Provider(plan) = &question.from {
        audit.provider.clone_from(&plan.provider);
    }
    audit.whole = read.unseen.is_empty();
    audit.unknown.extend(read.unseen);
    audit = audit.noted(&read.notes);
    if question.sources.is_empty() {
        audit.unknown.push("which records lead to the source: no source address was named".into());
    }
    let asked = Asked { apex: &apex, contents: &read.contents, whole: audit.whole };
    servers::look(&mut audit, &asked, &question.servers).await;
    servers::look_up(&mut audit, &asked, &question.parents).await;
    Ok(audit)
}

/// A zone as it was read.
struct Read {
    contents: Contents,
    from: String,
    notes: Vec<Remark>,
    /// What was not seen.
    unseen: Vec<String>,
    /// Names that are answered for by what is no record.
    made_up: BTreeSet<Owner>,
}

impl Read {
    fn whole(contents: Contents, from: String) -> Self {
        Self { contents, from, notes: Vec::new(), unseen: Vec::new(), made_up: BTreeSet::new() }
    }
}

async fn read(apex: &Owner, from: &From, until: Instant) -> Outcome<Read> {
    match from {
        From::Transfer { server, key } => {
            let contents = transfer(apex, *server, key.as_ref(), until).await?;
            let from = format!("transfer from {server}");
            Ok(Read::whole(contents, from))
        }
        From::File(file) => {
            let zone = read_zone_file(apex, file)?;
            let from = format!("zone file {}", file.display());
            Ok(Read { notes: zone.notes, ..Read::whole(zone.contents, from) })
        }
        From::Questions { server, names } => {
            let (contents, count) = by_questions(apex, *server, names, until).await?;
            let unseen = format!(
                "records of names that were not asked for ({count} were); a transfer or the zone \
                 file shows all"
            );
            let from = format!("questions to {server}");
            Ok(Read { unseen: vec![unseen], ..Read::whole(contents, from) })
        }
        From::Provider(plan) => by_provider(apex, plan, until).await,
    }
}

/// Reads what a provider has, by its own way.
async fn by_provider(apex: &Owner, plan: &ZonePlan, until: Instant) -> Outcome<Read> {
    let driver = driver(&plan.zone, &plan.authority, &plan.servers);
    let Whole { mut contents, unshown } = driver.whole(until).await?;
    let told = unshown.iter().map(|set| format!("`{} {}`: {}", set.name, set.rtype, set.what));
    let mut unseen: Vec<String> = told.collect();
    if !driver.capabilities().own_ns {
        // They are the provider's, and no records of the zone there: its servers show them.
        let key = SetKey { name: apex.clone(), rtype: Rtype::NS };
        let mut shown = None;
        for server in &plan.servers {
            let asked = servers::ask_sets(*server, std::slice::from_ref(&key), until).await;
            shown = asked.ok().and_then(|mut sets| sets.pop()).filter(RecordSet::exists);
            if shown.is_some() {
                break;
            }
        }
        match shown {
            Some(set) => drop(contents.sets.insert(key, set)),
            None => unseen.push(format!("`{key}`: none of its servers shows it")),
        }
    }
    let from = format!("`{}` at {}", plan.authority.kind(), driver.place());
    let answered = unshown.iter().filter(|set| set.answered);
    let made_up = answered.map(|set| set.name.clone()).collect();
    Ok(Read { unseen, made_up, ..Read::whole(contents, from) })
}

/// Reads a zone file; what it includes is looked for beside it, unless the path is absolute.
pub(crate) fn read_zone_file(apex: &Owner, file: &Path) -> Outcome<zonefile::ZoneFile> {
    let op = format!("read zone file `{}`", file.display());
    let fault = |cause: String, hint: &str| {
        Fault::new(codes::ZONE_FILE, FaultKind::Invalid, op.clone(), cause).hint(hint)
    };
    let text = load(file).map_err(|cause| fault(cause, "check the path and who may read it"))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut include = |name: &str| load(&folder.join(name));
    let name = file.display().to_string();
    zonefile::read(&apex.to_string(), &name, &text, &mut include).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        fault(lines.join("; "), "mend these lines; `named-checkzone` reads a zone file too")
    })
}

fn load(file: &Path) -> Result<Vec<u8>, String> {
    let about = std::fs::metadata(file).map_err(|e| e.to_string())?;
    if !about.is_file() {
        return Err("it is no file".into());
    }
    if about.len() > FILE_MAX {
        return Err(format!("it has {} octets, more than {FILE_MAX}", about.len()));
    }
    std::fs::read(file).map_err(|e| e.to_string())
}

/// Asks one server for what most zones have.
async fn by_questions(
    apex: &Owner,
    server: SocketAddr,
    names: &[String],
    until: Instant,
) -> Outcome<(Contents, usize)> {
    let op = format!("ask for the records of zone `{apex}`");
    let below = ASKED_NAMES.iter().map(|name| format!("{name}.{}", apex.fmt_with_dot()));
    let mut asked = vec![apex.clone()];
    for name in below.chain(names.iter().cloned()) {
        let name = sets::owner(&name).map_err(|cause| {
            let op = format!("read the name `{name}`");
            Fault::new(codes::PLAN, FaultKind::Invalid, op, cause).hint("write it in full")
        })?;
        if name.ends_with(apex) && !asked.contains(&name) {
            asked.push(name);
        }
    }
    let keys: Vec<SetKey> = asked
        .iter()
        .flat_map(|name| ASKED_TYPES.map(|rtype| SetKey { name: name.clone(), rtype }))
        .collect();
    let start = servers::start(apex, server, until).await;
    let soa = start.map_err(|trouble| trouble.fault(&op, server))?;
    let found = servers::ask_sets(server, &keys, until).await;
    let mut sets: BTreeMap<SetKey, RecordSet> = BTreeMap::new();
    for set in found.map_err(|trouble| trouble.fault(&op, server))? {
        if set.exists() {
            sets.insert(set.key.clone(), set);
        }
    }
    Ok((Contents { soa, sets }, asked.len()))
}

/// Asks one question.
pub(crate) async fn question(
    server: SocketAddr,
    name: &Owner,
    rtype: Rtype,
    until: Instant,
) -> Result<message::Answer, Trouble> {
    let draft = message::query(name, rtype)
        .map_err(|e| Trouble::Answer(format!("the question cannot be built: {e}")))?;
    ask(server, vec![draft], until).await?.pop().ok_or(Trouble::Silence)
}
