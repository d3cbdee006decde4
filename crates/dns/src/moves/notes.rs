//! What nobody can see later: the former TTLs, since when something is so, what both providers
//! had in common, and every change with its exact inverse.
//!
//! **Invariant.** What stands here was on disk before the change it is about was sent.

use super::look::Look;
use super::merge::Base;
use super::situation::{Fact, facts};
use super::{Wish, keys};
use crate::change::{Change, now_ms};
use crate::codes;
use crate::sets::{RecordSet, owner};
use domain::base::Rtype;
use rustix::fs::{FlockOperation, flock};
use segue_model::plan::ZoneMove;
use segue_model::{Fault, FaultKind, Side};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The notes of one zone.
#[derive(Debug)]
pub struct Notes {
    /// Where they are kept; none while somebody only looks and there are none yet.
    place: Option<Place>,
    kept: Kept,
    /// What both sides had alike.
    base: Option<Base>,
}

#[derive(Debug)]
struct Place {
    folder: PathBuf,
    stem: String,
    /// Held while the notes are written.
    lock: Option<File>,
}

/// What is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    zone: String,
    /// The side to which the zone goes now.
    to: Side,
    /// Wall clock when it began, milliseconds.
    began_ms: u64,
    /// Whether the parent vouched for the zone then; none before the first look.
    vouched: Option<bool>,
    /// The zone's own NS set as it was then.
    former_ns: Option<RecordSet>,
    /// The highest TTLs seen, seconds.
    ttls: Ttls,
    /// Since when a fact has been so, wall clock in milliseconds.
    since: BTreeMap<Fact, u64>,
}

/// The highest TTLs seen since the move began, seconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Ttls {
    /// Of the zone's own NS set.
    pub(super) ns: u32,
    /// Of the zone's keys.
    pub(super) keys: u32,
    /// Of anything in the zone.
    pub(super) zone: u32,
    /// Of the parent's NS set.
    pub(super) parent_ns: u32,
    /// Of the parent's DS set, or of its absence.
    pub(super) ds: u32,
}

/// One change as it is written before it is made.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    at_ms: u64,
    stage: &'a str,
    side: Side,
    #[serde(flatten)]
    change: &'a Change,
}

/// How long a DS is taken for absent where the parent does not tell, seconds: the longest that
/// resolvers keep an absence (RFC 2308 section 5 advises one to three hours).
const ABSENT_DS_S: u32 = 10_800;

impl Notes {
    /// Opens the notes of a zone; a wish to go on makes them, and keeps others out.
    pub(super) fn open(folder: &Path, plan: &ZoneMove, wish: Wish) -> Outcome<Self> {
        let place = Place::new(folder, &plan.zone, wish)?;
        let fresh = || Kept {
            zone: plan.zone.clone(),
            to: Side::Target,
            began_ms: now_ms().0,
            vouched: None,
            former_ns: None,
            ttls: Ttls::default(),
            since: BTreeMap::new(),
        };
        let mut kept: Kept = place.read("json")?.unwrap_or_else(fresh);
        let base = place.read("base.json")?;
        match wish {
            Wish::Forward => kept.turn(Side::Target),
            Wish::Back => kept.turn(Side::Source),
            Wish::Look => {}
        }
        Ok(Self { place: Some(place), kept, base })
    }

    /// Notes that are kept nowhere.
    #[cfg(test)]
    pub(super) fn nowhere(plan: &ZoneMove) -> Self {
        Self {
            place: None,
            kept: Kept {
                zone: plan.zone.clone(),
                to: Side::Target,
                began_ms: 0,
                vouched: None,
                former_ns: None,
                ttls: Ttls::default(),
                since: BTreeMap::new(),
            },
            base: None,
        }
    }

    #[cfg(test)]
    pub(super) fn note(&mut self, fact: Fact, at_ms: u64) {
        self.kept.since.insert(fact, at_ms);
    }

    #[cfg(test)]
    pub(super) fn turn(&mut self, to: Side) {
        self.kept.turn(to);
    }

    /// The side to which the zone goes.
    pub(super) fn to(&self) -> Side {
        self.kept.to
    }

    /// Whether the parent vouched for the zone when the move began.
    pub(super) fn vouched(&self) -> bool {
        self.kept.vouched.unwrap_or(false)
    }

    /// What both sides had alike.
    pub(super) fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// The highest TTLs.
    pub(super) fn ttls(&self) -> Ttls {
        self.kept.ttls
    }

    /// The TTL of the zone's own NS set before the move.
    pub(super) fn former_ns_ttl(&self) -> Option<u32> {
        self.kept.former_ns.as_ref().map(|set| set.ttl)
    }

    /// Since when a fact has been so; none if it is not, or was not noted.
    pub(super) fn since(&self, fact: Fact) -> Option<u64> {
        self.kept.since.get(&fact).copied()
    }

    /// Takes what a look shows, and writes it down if the notes are kept.
    ///
    /// # Errors
    /// `SG0331` if they cannot be written.
    pub(super) fn take(&mut self, plan: &ZoneMove, look: &Look) -> Outcome<()> {
        let Ok(apex) = owner(&plan.zone) else { return Ok(()) };
        let kept = &mut self.kept;
        if !look.parents.is_empty() {
            let vouched = look.parents.iter().any(|parent| parent.ds.exists());
            kept.vouched.get_or_insert(vouched);
        }
        if kept.former_ns.is_none() {
            let source = look.sides.source.servers.iter().map(|server| &server.own.ns);
            kept.former_ns = source.filter(|set| set.exists()).max_by_key(|set| set.ttl).cloned();
        }
        kept.ttls.raise(look, &apex);
        let now: Vec<Fact> = facts(plan, look, kept.to);
        // A clock that was set back would make every wait longer than it has to be: safe.
        kept.since.retain(|fact, at| now.contains(fact) && *at <= look.at_ms);
        for fact in now {
            kept.since.entry(fact).or_insert(look.at_ms);
        }
        self.write()
    }

    /// Takes what both sides have alike.
    pub(super) fn keep_base(&mut self, base: Base) -> Outcome<()> {
        if self.base.as_ref() == Some(&base) {
            return Ok(());
        }
        if let Some(place) = &self.place {
            place.write("base.json", &base)?;
        }
        self.base = Some(base);
        Ok(())
    }

    /// Writes a change down that is about to be made.
    pub(super) fn intend(&self, stage: &str, side: Side, change: &Change) -> Outcome<()> {
        let Some(place) = &self.place else { return Ok(()) };
        place.append(&Entry { at_ms: now_ms().0, stage, side, change })
    }

    fn write(&self) -> Outcome<()> {
        match &self.place {
            Some(place) => place.write("json", &self.kept),
            None => Ok(()),
        }
    }
}

impl Kept {
    /// Turns the way round. What was never reached on the former way needs no wait on this one:
    /// nobody has learned of it.
    fn turn(&mut self, to: Side) {
        if self.to == to {
            return;
        }
        self.to = to;
        let reached = std::mem::take(&mut self.since);
        for fact in Fact::ALL {
            match fact.opposite() {
                // It is the same on either way.
                None => {
                    if let Some(at) = reached.get(&fact) {
                        self.since.insert(fact, *at);
                    }
                }
                Some(opposite) if !reached.contains_key(&opposite) => {
                    self.since.insert(fact, 0);
                }
                Some(_) => {}
            }
        }
    }
}

impl Ttls {
    fn raise(&mut self, look: &Look, apex: &crate::sets::Owner) {
        for provider in [&look.sides.source, &look.sides.target] {
            let zone = provider.contents.sets().map(|set| set.ttl).max().unwrap_or(0);
            self.zone = self.zone.max(zone).max(provider.contents.soa.negative_ttl);
            let stored = provider.contents.set(&keys::at(apex, Rtype::NS)).ttl;
            self.ns = self.ns.max(stored);
            for server in &provider.servers {
                self.ns = self.ns.max(server.own.ns.ttl);
                self.keys = self.keys.max(server.own.keys.ttl);
            }
        }
        for parent in &look.parents {
            self.parent_ns = self.parent_ns.max(parent.ns.ttl);
            let absent = parent.ds_absent_s.unwrap_or(ABSENT_DS_S);
            self.ds = self.ds.max(if parent.ds.exists() { parent.ds.ttl } else { absent });
        }
    }
}

impl Place {
    fn new(folder: &Path, zone: &str, wish: Wish) -> Outcome<Self> {
        let mut place = Self { folder: folder.to_owned(), stem: zone.to_owned(), lock: None };
        if wish == Wish::Look {
            return Ok(place);
        }
        fs::create_dir_all(folder).map_err(|e| place.fault("make the folder of", e))?;
        let open =
            OpenOptions::new().create(true).append(true).mode(0o600).open(place.file("lock"));
        let lock = open.map_err(|e| place.fault("open", e))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Fault::new(
                codes::NOTES,
                FaultKind::Busy,
                format!("move zone `{zone}`"),
                "another process works on it",
            )
            .hint("wait until it has ended")
        })?;
        place.lock = Some(lock);
        Ok(place)
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.stem))
    }

    fn fault(&self, what: &str, cause: impl std::fmt::Display) -> Fault {
        let op = format!("{what} the notes {}", self.file("*").display());
        Fault::new(codes::NOTES, FaultKind::Invalid, op, cause).hint(
            "nothing more was changed; see to it that the folder can be written, or take another \
             with --dir",
        )
    }

    fn read<T: for<'d> Deserialize<'d>>(&self, ending: &str) -> Outcome<Option<T>> {
        let text = match fs::read(self.file(ending)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.fault("read", error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|e| self.fault("read", e))
    }

    /// Writes a whole file in place of the former one, durably; only who holds the lock does.
    fn write(&self, ending: &str, value: &impl Serialize) -> Outcome<()> {
        if self.lock.is_none() {
            return Ok(());
        }
        let fault = |e: std::io::Error| self.fault("write", e);
        let text = serde_json::to_vec(value).map_err(|e| self.fault("write", e))?;
        let fresh = self.file(&format!("{ending}.new"));
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh).map_err(fault)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(fault)?;
        fs::rename(&fresh, self.file(ending)).map_err(fault)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(fault)
    }

    /// Adds a line, durably.
    fn append(&self, value: &impl Serialize) -> Outcome<()> {
        let fault = |e: std::io::Error| self.fault("write", e);
        let mut text = serde_json::to_vec(value).map_err(|e| self.fault("write", e))?;
        text.push(b'\n');
        let file = self.file("changes.jsonl");
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).mode(0o600).open(file).map_err(fault)?;
        file.write_all(&text).and_then(|()| file.sync_data()).map_err(fault)
    }
}
