//! Answers and faults in the control protocol's words.

use super::super::driver::{Held, Sight, Unit, Waited, wall_ms};
use super::super::record::{Kept, Record};
use super::boot_ms;
use segue_front::control::{HoldId, HoldRecord, HoldStatus, Reply, Running, SiteRoute, UnitStatus};
use segue_model::{Fault, FaultKind, Side, UnitName};
use std::collections::BTreeMap;

/// Most requests that are named.
const NAMED_MAX: usize = 10;

impl Sight {
    pub(super) fn is_held(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.holds_at(wall_ms()))
    }
}

pub(super) fn done(record: &Record) -> Reply {
    Reply::Done { generation: record.generation }
}

pub(super) fn busy(mut running: Vec<Running>) -> Reply {
    running.sort_by_key(|one| std::cmp::Reverse(one.age_ms));
    let count = running.len();
    running.truncate(NAMED_MAX);
    Reply::Busy { running, count }
}

pub(super) fn known<'a>(record: &'a Record, unit: &UnitName, op: &str) -> Result<&'a Kept, Fault> {
    record.units.get(unit).ok_or_else(|| {
        let cause = format!("unit `{unit}` has no route here");
        Fault::new("SG0113", FaultKind::NotFound, op, cause).hint("set the unit's route first")
    })
}

pub(super) fn conflict(op: &str, cause: &str, hint: &str) -> Fault {
    Fault::new("SG0116", FaultKind::Conflict, op, cause).hint(hint)
}

pub(super) fn no_such_hold(hold_id: &HoldId, op: &str) -> Fault {
    let cause = format!("hold `{hold_id}` is not in force");
    Fault::new("SG0114", FaultKind::NotFound, op, cause)
        .hint("ask the front which hold is in force")
}

/// Host names as the proxies compare them: lower case, without a dot at the end.
pub(super) fn canonical(sites: &[SiteRoute]) -> Vec<SiteRoute> {
    let host = |host: &String| host.trim_end_matches('.').to_ascii_lowercase();
    let site = |site: &SiteRoute| SiteRoute {
        hosts: site.hosts.iter().map(host).collect(),
        backends: site.backends.clone(),
        reach: site.reach.clone(),
    };
    sites.iter().map(site).collect()
}

pub(super) fn hosts(sites: &[SiteRoute]) -> Vec<&String> {
    sites.iter().flat_map(|site| &site.hosts).collect()
}

/// Each host goes into a line of its own, in files and commands of the proxy.
pub(super) fn check_hosts(
    units: &BTreeMap<UnitName, Kept>,
    name: &UnitName,
    sites: &[SiteRoute],
    op: &str,
) -> Result<(), Fault> {
    let invalid = |cause: String| {
        Fault::new("SG0115", FaultKind::Invalid, op, cause)
            .hint("give every unit host names of its own, of letters, digits, hyphens and dots")
    };
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if sites.is_empty() || sites.iter().any(|site| site.hosts.is_empty()) {
        return Err(invalid("a unit needs host names".to_owned()));
    }
    for host in hosts(sites) {
        if !plain(host) {
            return Err(invalid(format!("`{host}` is no host name that a proxy is told")));
        }
        let other = units.iter().find(|(n, kept)| *n != name && hosts(&kept.sites).contains(&host));
        if let Some((other, _)) = other {
            return Err(invalid(format!("host `{host}` belongs to unit `{other}`")));
        }
    }
    if !plain(name.as_str()) {
        return Err(invalid(format!("`{name}` is no name that a proxy is told")));
    }
    Ok(())
}

pub(super) fn began(unit: &UnitName, held: &Held) -> HoldRecord {
    HoldRecord {
        unit: unit.clone(),
        hold_id: held.id.clone(),
        began_ms: boot_ms(),
        released_ms: None,
        released_to: None,
        held_count: 0,
        held_max_ms: 0.0,
        refused_503: 0,
        closed_streams: 0,
        lapsed: false,
    }
}

pub(super) fn ended(record: &mut Record, id: &HoldId, to: Option<Side>, waited: Waited) {
    let hold = record.holds.iter_mut().rev().find(|hold| &hold.hold_id == id);
    if let Some(hold) = hold.filter(|hold| hold.released_ms.is_none()) {
        hold.released_ms = Some(boot_ms());
        (hold.released_to, hold.lapsed) = (to, to.is_none());
        hold.held_count = waited.count;
        (hold.held_max_ms, hold.refused_503) = (waited.longest_ms, waited.refused);
    }
}

pub(super) fn status(name: &UnitName, kept: &Kept, sight: &Sight) -> UnitStatus {
    let now = wall_ms();
    let hold = match sight.held.as_ref().filter(|held| held.holds_at(now)) {
        None => HoldStatus::Open,
        Some(Held { id, until_ms: None, .. }) => HoldStatus::Sealed { hold_id: id.clone() },
        Some(Held { id, until_ms: Some(until), .. }) => {
            HoldStatus::Leased { hold_id: id.clone(), left_ms: until.saturating_sub(now) }
        }
    };
    UnitStatus {
        unit: name.clone(),
        sites: kept.sites.clone(),
        write_side: sight.side.unwrap_or(kept.side),
        hold,
        in_flight: sight.running,
        streams: sight.streams,
        held: sight.waiting,
        out: Vec::new(),
        split: None,
        mirror: None,
        policy: segue_front::control::HoldPolicy::default(),
    }
}

impl Kept {
    /// Returns who is asked about.
    pub(super) fn unit<'a>(&'a self, name: &'a UnitName) -> Unit<'a> {
        Unit { name, sites: &self.sites }
    }
}
