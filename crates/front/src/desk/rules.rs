//! Who may change a front, and what a valid change is.

use crate::clock;
use crate::control::{HoldId, HoldRecord, Reach, Request, SiteRoute, SplitRoute};
use crate::gate::{Gate, Hold, Quiet};
use crate::routes::Routes;
use crate::store::{Change, Saved, SavedHold, SavedUnit};
use crate::upstream::Tls;
use segue_model::plan::MirrorPlan;
use segue_model::{Epoch, Fault, FaultKind, RunId, Side, Sides, UnitName};
use std::sync::Arc;

/// Checks that a run may act under an epoch.
///
/// # Errors
/// `SG0110` if another run has the front or none, `SG0111` if a newer epoch acts.
pub(super) fn may_act(saved: &Saved, run: &RunId, epoch: Epoch, op: &str) -> Result<(), Fault> {
    match &saved.head.claim {
        Some(claim) if claim == run => {}
        Some(claim) => {
            let cause = format!("run `{claim}` has this front");
            return Err(Fault::new("SG0110", FaultKind::Conflict, op, cause)
                .hint("finish or withdraw that run, or use another front"));
        }
        None => {
            return Err(Fault::new("SG0110", FaultKind::Conflict, op, "no run has claimed it")
                .hint("claim the front first"));
        }
    }
    if epoch < saved.head.epoch {
        let cause = format!("epoch {epoch} was superseded by {}", saved.head.epoch);
        return Err(Fault::new("SG0111", FaultKind::LeaseLost, op, cause)
            .hint("another controller has taken over: leave the front to it"));
    }
    Ok(())
}

/// Checks who asks and returns what changes: the epoch and generation of the request, and the
/// unit that it is about, if that has a route.
///
/// # Errors
/// Those of [`may_act`]; `SG0112` if the generation is not above the last one.
pub(super) fn next(saved: &Saved, request: &Request) -> Result<Change, Fault> {
    let op = request.what();
    let mut next = Change { head: saved.head.clone(), ..Change::default() };
    if let Request::Claim { run, epoch } = request {
        if saved.head.claim.is_some() {
            may_act(saved, run, *epoch, &op)?;
        }
        next.head.claim = Some(run.clone());
        next.head.epoch = *epoch;
        return Ok(next);
    }
    let Some(mark) = request.mark() else { return Err(refused(&op, "it changes nothing")) };
    may_act(saved, &mark.run, mark.epoch, &op)?;
    let unit = request.changed_unit();
    let last = saved.last_generation(unit);
    if mark.generation <= last {
        let cause = format!("generation {} came after {last}", mark.generation);
        return Err(Fault::new("SG0112", FaultKind::Conflict, op, cause)
            .hint("ask the front for its generation and state, then decide again"));
    }
    next.head.epoch = mark.epoch;
    next.head.generation = next.head.generation.max(mark.generation);
    if let Some((name, route)) = unit.and_then(|unit| saved.units.get_key_value(unit)) {
        let route = SavedUnit { generation: mark.generation, ..route.clone() };
        next.units.insert(name.clone(), route);
    }
    if let Request::Unclaim { .. } = request {
        next.head.claim = None;
        next.head.epoch = Epoch(0);
    }
    Ok(next)
}

/// Checks a split.
///
/// # Errors
/// `SG0115` if its share is no percentage, or it names no path or no cookie.
pub(super) fn check_split(split: &SplitRoute, op: &str) -> Result<(), Fault> {
    let hint = "write what the plan's `[policy.split]` allows";
    if split.percent > 100 {
        return Err(invalid(op, "the share is above 100 %", hint));
    }
    let over = split.percent == 0 && split.testers.is_empty();
    if split.paths.is_empty() && !over {
        return Err(invalid(op, "no path may leave the write side", hint));
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if split.id.is_empty() || split.cookie.is_empty() || !split.cookie.bytes().all(token) {
        return Err(invalid(op, "it has no name, or no cookie that browsers take", hint));
    }
    Ok(())
}

/// Checks which requests are to be copied.
///
/// # Errors
/// `SG0115` if none is, more than all, or a header that is compared is none.
pub(super) fn check_mirror(plan: &MirrorPlan, op: &str) -> Result<(), Fault> {
    let hint = "write what the plan's `[measure.mirror]` allows";
    if !(1..=100).contains(&plan.percent) || plan.at_once == 0 {
        return Err(invalid(op, "no request would be copied, or more than all", hint));
    }
    if plan.paths.is_empty() || plan.paths.iter().any(|path| !path.starts_with('/')) {
        return Err(invalid(op, "no path is named, or one does not begin with `/`", hint));
    }
    let named = |name: &String| http::HeaderName::from_lowercase(name.as_bytes()).is_ok();
    if !plan.headers.iter().all(named) {
        return Err(invalid(op, "a header has no name in lower case", hint));
    }
    Ok(())
}

/// Checks a route. Where there is a port for TCP that asks for no name, a unit may have no host.
///
/// # Errors
/// `SG0115` if it has no host, no room for requests, or a host of another unit.
pub(super) fn check_route(
    routes: &Routes,
    name: &UnitName,
    route: &SavedUnit,
    tcp: bool,
    op: &str,
) -> Result<(), Fault> {
    let nameless =
        |site: &SiteRoute| site.hosts.is_empty() || site.hosts.iter().any(String::is_empty);
    if (route.sites.is_empty() && !tcp) || route.sites.iter().any(nameless) {
        return Err(invalid(op, "a unit needs host names", "name them in the plan"));
    }
    for site in route.sites.iter().filter_map(|site| Some((site, site.reach.as_deref()?))) {
        check_reach(site, op)?;
    }
    if route.concurrency.source == 0 || route.concurrency.target == 0 {
        return Err(invalid(op, "concurrency is 0", "allow at least one request at once"));
    }
    for host in route.hosts() {
        if let Some(other) = routes.owner(host).filter(|other| other != name) {
            let cause = format!("host `{host}` belongs to unit `{other}`");
            return Err(invalid(op, &cause, "give every host to one unit"));
        }
    }
    Ok(())
}

/// Checks the way to a site's servers, where it is not plain.
fn check_reach((site, reach): (&SiteRoute, &Reach), op: &str) -> Result<(), Fault> {
    if reach.answer_ms == Some(0) {
        return Err(invalid(op, "an answer may take no time", "allow some"));
    }
    let Sides { source, target } = &reach.servers;
    if source.passthrough.is_some() != target.passthrough.is_some() {
        let cause = "TLS goes unread to one side and not to the other";
        return Err(invalid(op, cause, "name a server for it at both sides, or at none"));
    }
    for side in [Side::Source, Side::Target] {
        let (servers, first) = (reach.servers.get(side), site.backends.get(side));
        let mut all: Vec<_> = servers.beside.iter().chain([first]).collect();
        all.sort_unstable();
        if all.windows(2).any(|two| two[0] == two[1]) {
            return Err(invalid(op, "a server is named twice", "name each once"));
        }
        let printable = |path: &String| {
            path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !servers.check.iter().all(printable) {
            return Err(invalid(op, "the path of a check is none", "begin it with a slash"));
        }
        if let Some(tls) = &servers.tls {
            Tls::new(tls, site.hosts.first().map_or("", String::as_str))?;
        }
    }
    Ok(())
}

/// Returns the condition under which a hold begins; none for other requests.
pub(super) fn quiet(request: &Request) -> Option<Quiet<'_>> {
    match request {
        Request::Hold { quiet_age_ms, slow_paths, .. } => {
            Some(Quiet { age_us: quiet_age_ms.saturating_mul(1_000), slow_paths })
        }
        _ => None,
    }
}

/// Brings back what a former process left of a hold.
pub(super) fn restore(gate: &Arc<Gate>, unit: &UnitName, saved: &SavedHold, side: Side) {
    if saved.sealed {
        gate.restore_sealed(Hold {
            id: saved.id.clone(),
            lease_ms: saved.lease_ms,
            ends_ms: None,
            age_max_ms: saved.age_max_ms,
            count_max: saved.count_max,
        });
        return;
    }
    gate.restore_lapsed(HoldRecord {
        unit: unit.clone(),
        hold_id: saved.id.clone(),
        began_ms: saved.began_ms,
        released_ms: Some(clock::now_ms()),
        released_to: Some(side),
        held_count: 0,
        held_max_ms: 0.0,
        refused_503: 0,
        closed_streams: 0,
        lapsed: true,
    });
}

pub(super) fn no_such_unit(unit: &UnitName, op: &str) -> Fault {
    let cause = format!("unit `{unit}` has no route here");
    Fault::new("SG0113", FaultKind::NotFound, op, cause).hint("set the unit's route first")
}

pub(super) fn no_such_hold(hold_id: &HoldId, op: &str) -> Fault {
    let cause = format!("hold `{hold_id}` is not in force");
    Fault::new("SG0114", FaultKind::NotFound, op, cause)
        .hint("ask the front which hold is in force")
}

pub(super) fn conflict(op: &str, cause: &str, hint: &str) -> Fault {
    Fault::new("SG0116", FaultKind::Conflict, op, cause).hint(hint)
}

pub(super) fn refused(op: &str, cause: &str) -> Fault {
    Fault::new("SG0103", FaultKind::Invalid, op, cause)
        .hint("use a controller of the front's version")
}

pub(super) fn invalid(op: &str, cause: &str, hint: &str) -> Fault {
    Fault::new("SG0115", FaultKind::Invalid, op, cause).hint(hint)
}
