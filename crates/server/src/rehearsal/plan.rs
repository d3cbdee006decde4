//! The plan that a room executes: the very same addresses, tables, gates and triggers.
//!
//! Changed are Segue's own paths, what would act outside (commands), and waits that are long
//! only because the world is: resolvers of strangers do not hold a stand-in's records.

use super::readings::{Reading, Readings};
use segue_model::gate::Bound;
use segue_model::plan::{BackendCheck, CustomPlan, HostFigures, Plan, UnitPlan};
use segue_model::{Side, Sides, What};
use segue_standins::room::MEMORY;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest TTL that an owned record has in the room before it is lowered, seconds.
pub(super) const TTL_S: u32 = 5;
/// Longest time for which a gate must have passed in the room, milliseconds.
const GATE_FOR_MS: u64 = 5_000;
/// Longest wait for a gate in the room, seconds.
const GATE_WAIT_S: u64 = 180;
/// An asked trigger counts from so long after the cutover on, milliseconds.
const AFTER_MS: u64 = 2_000;

/// A plan for a room, and what is different from the unit's own.
pub(super) struct ForRoom {
    pub(super) plan: Plan,
    pub(super) readings: Readings,
    pub(super) not_rehearsed: Vec<String>,
    pub(super) shortened: Vec<String>,
    /// Files of the room, and the paths in whose place they stand.
    pub(super) instead: Vec<(PathBuf, PathBuf)>,
}

/// Returns where the copy of a tree stands.
pub(super) fn tree_copy(home: &Path, place: usize, side: Side) -> PathBuf {
    home.join("trees").join(place.to_string()).join(side.as_str()).join("root")
}

/// Makes the plan for a room of which `faults` are asked.
pub(super) fn for_room(plan: &Plan, home: &Path, faults: &[String]) -> ForRoom {
    let mut room = ForRoom {
        plan: plan.clone(),
        readings: Readings::default(),
        not_rehearsed: Vec::new(),
        shortened: Vec::new(),
        instead: Vec::new(),
    };
    paths(&mut room, home);
    substitutes(&mut room);
    commands(&mut room);
    waits(&mut room, faults);
    room
}

fn paths(room: &mut ForRoom, home: &Path) {
    let unit = &mut room.plan.unit;
    for front in &mut unit.fronts {
        front.control = Path::new(MEMORY).join(format!("front-{}.sock", front.name));
        front.state = Path::new(MEMORY).join(format!("front-{}.json", front.name));
    }
    for (place, tree) in unit.trees.iter_mut().enumerate() {
        let copies = Sides::from_fn(|side| tree_copy(home, place, side));
        for side in [Side::Source, Side::Target] {
            room.instead.push((copies.get(side).clone(), tree.roots.get(side).clone()));
        }
        tree.roots = copies;
    }
    // A log that several sites share stays one.
    let mut logs: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut log = |name: String, path: &mut PathBuf| {
        let own = logs.entry(path.clone()).or_insert_with(|| {
            let own = home.join("logs").join(name);
            room.instead.push((own.clone(), path.clone()));
            own
        });
        path.clone_from(own);
    };
    for (place, site) in unit.sites.iter_mut().enumerate() {
        let backends = &mut site.backends;
        for (name, side) in [("source", &mut backends.source), ("target", &mut backends.target)] {
            if let Some(path) = &mut side.access_log {
                log(format!("access-{name}-{place}.log"), path);
            }
        }
    }
    for (place, logs) in unit.measures.application_logs.iter_mut().enumerate() {
        let sides = [("source", &mut logs.files.source), ("target", &mut logs.files.target)];
        for (name, path) in sides {
            if let Some(path) = path {
                log(format!("application-{name}-{place}.log"), path);
            }
        }
    }
    for (place, path) in unit.measures.mail_logs.iter_mut().enumerate() {
        log(format!("mail-{place}.log"), path);
    }
}

/// Days that certificates outside the room are taken to be valid for.
const LONG_DAYS: f64 = 365.0;

/// Puts what the room has in the place of what it has not.
fn substitutes(room: &mut ForRoom) {
    let unit = &mut room.plan.unit;
    for port in unit.fronts.iter_mut().flat_map(|front| &mut front.ports) {
        if let Some(to) = port.redirect.take() {
            port.take_over = true;
            room.not_rehearsed
                .push(format!("redirect of {} to port {to}: it is taken over", port.listen));
        }
        if std::mem::take(&mut port.join) {
            let listen = port.listen;
            port.tls.iter_mut().for_each(|tls| tls.strangers = None);
            room.not_rehearsed
                .push(format!("joining the server at {listen}: it is elsewhere only"));
        }
    }
    for cdn in std::mem::take(&mut unit.cdns) {
        room.not_rehearsed.push(format!("origin of CDN `{}`: its API is outside", cdn.name));
    }
}

/// Takes out what is not plain about the way to the web servers.
fn web_servers(room: &mut ForRoom) {
    let unit = &mut room.plan.unit;
    for site in &mut unit.sites {
        for side in [&mut site.backends.source, &mut site.backends.target] {
            for server in std::mem::take(&mut side.beside) {
                room.not_rehearsed
                    .push(format!("web server {server}: the first one stands for all"));
            }
            side.check = BackendCheck::Connect;
            if let Some(server) = side.acme_tls.take() {
                room.not_rehearsed
                    .push(format!("questions of certificate authorities by TLS to {server}"));
            }
            if let Some(server) = side.passthrough.take() {
                room.not_rehearsed.push(format!("TLS that goes unread to {server}"));
            }
            if std::mem::take(&mut side.proxy_out) {
                side.probe_address = None;
                room.not_rehearsed
                    .push(format!("the PROXY protocol to web server {}", side.address));
            }
            if side.tls.take().is_some() {
                side.probe_address = None;
                let line = format!("TLS to web server {}: it is reached in clear", side.address);
                room.not_rehearsed.push(line);
            }
        }
    }
    for port in unit.fronts.iter_mut().flat_map(|front| &mut front.ports) {
        if std::mem::take(&mut port.proxy_in) {
            room.not_rehearsed.push(format!("the PROXY protocol at port {}", port.listen));
        }
    }
}

/// Takes out what would act or measure outside.
fn commands(room: &mut ForRoom) {
    let plan = room.plan.clone();
    web_servers(room);
    let unit = &mut room.plan.unit;
    for site in unit.sites.iter().skip(1) {
        room.not_rehearsed
            .push(format!("visitors of site `{}`: they come to the first site", site.name));
    }
    // These ports go, and the gate on what is shown at them stays.
    for address in unit.certified_by_name() {
        let from = format!("certificates:by-name@{address}");
        room.readings.given.push(Reading { what: What::CertificateDays, from, value: LONG_DAYS });
    }
    for front in &mut unit.fronts {
        for port in front.ports.extract_if(.., |port| port.tcp.is_some()) {
            room.not_rehearsed
                .push(format!("port {}: no server of its kind is there", port.listen));
        }
    }
    unit.fronts.retain(|front| !front.ports.is_empty());
    for worker in std::mem::take(&mut unit.workers) {
        room.not_rehearsed.push(format!("worker `{}`: its commands act outside", worker.name));
    }
    for resolvers in &mut unit.measures.resolvers {
        if !std::mem::take(&mut resolvers.flush).is_empty() {
            room.not_rehearsed.push("flush of resolvers: its commands act outside".into());
        }
    }
    for zone in &mut unit.zones {
        if !std::mem::take(&mut zone.query_logs).is_empty() {
            let label = zone.label().into_owned();
            room.not_rehearsed.push(format!("query logs of zone `{label}`: nobody writes them"));
        }
    }
    for front in &mut unit.fronts {
        if let Some(proxy) = front.proxy.take() {
            let (kind, name) = (proxy.as_str(), &front.name);
            room.not_rehearsed
                .push(format!("{kind} as front `{name}`: a front of Segue's own stands for it"));
        }
        (front.metrics, front.access_log) = (None, None);
    }
    if unit.measures.mirror.take().is_some() {
        room.not_rehearsed.push("copies of requests: the room's visitors are few".into());
    }
    for (name, address) in std::mem::take(&mut unit.measures.certificates.also) {
        room.not_rehearsed.push(format!("the certificate of `{name}` at {address}: it is outside"));
        let (what, value) = (What::CertificateDays, LONG_DAYS);
        room.readings.given.push(Reading {
            what,
            from: format!("certificates:{name}@{address}"),
            value,
        });
    }
    for sessions in std::mem::take(&mut unit.measures.sessions) {
        if sessions.login.is_some() {
            room.not_rehearsed
                .push(format!("the login of `{}`: a stand-in does not know it", sessions.name));
            for front in &unit.fronts {
                let from = format!("login:{}@{}", sessions.name, front.name);
                room.readings.given.push(Reading { what: What::LoginKept, from, value: 1.0 });
            }
        }
    }
    for host in &unit.measures.hosts {
        if matches!(host.figures, HostFigures::Command(_)) {
            room.not_rehearsed
                .push(format!("figures of the {}'s host: a command measures them", host.side));
            for (what, value) in
                [(What::CpuPercent(host.side), 5.0), (What::RamPercent(host.side), 20.0)]
            {
                room.readings.given.push(Reading {
                    what,
                    from: format!("host:{}", host.side),
                    value,
                });
            }
        }
    }
    unit.measures.hosts.retain(|host| matches!(host.figures, HostFigures::Proc(_)));
    for CustomPlan { name, .. } in std::mem::take(&mut unit.measures.custom) {
        room.not_rehearsed.push(format!("measure `{name}`: the room gives a quiet value"));
        let from = format!("custom:{name}");
        let value = quiet(&plan, &from);
        room.readings.given.push(Reading { what: What::Custom, from, value });
    }
}

/// Returns a value that keeps every bound on a measure of the plan's own.
fn quiet(plan: &Plan, from: &str) -> f64 {
    let own = |bound: &&Bound| bound.what == What::Custom && bound.from.as_deref() == Some(from);
    let gates = plan.policy.gates.iter().map(|gate| &gate.bound);
    let bounds: Vec<&Bound> =
        plan.policy.triggers.iter().map(|t| &t.bound).chain(gates).filter(own).collect();
    let least = bounds.iter().filter_map(|bound| bound.min).reduce(f64::max);
    let most = bounds.iter().filter_map(|bound| bound.max).reduce(f64::min);
    match (least, most) {
        (Some(least), Some(most)) => f64::midpoint(least, most),
        (Some(least), None) => least + least.abs().max(1.0),
        (None, Some(most)) => most - most.abs().max(1.0) / 2.0,
        (None, None) => 0.0,
    }
}

fn waits(room: &mut ForRoom, faults: &[String]) {
    let policy = Arc::make_mut(&mut room.plan.policy);
    for gate in &mut policy.gates {
        if gate.for_ms > GATE_FOR_MS {
            room.shortened.push(format!(
                "gate `{}` must have passed for {} s, in the room {}",
                gate.name,
                gate.for_ms / 1_000,
                GATE_FOR_MS / 1_000
            ));
            gate.for_ms = GATE_FOR_MS;
        }
    }
    policy.gate_wait_s = policy.gate_wait_s.min(GATE_WAIT_S);
    // Nobody is there to confirm.
    policy.commit_timer_s = 0;
    for trigger in policy.triggers.iter_mut().filter(|trigger| faults.contains(&trigger.name)) {
        if trigger.after_ms > AFTER_MS {
            room.shortened.push(format!(
                "trigger `{}` counts {} s after the cutover, in the room {}",
                trigger.name,
                trigger.after_ms / 1_000,
                AFTER_MS / 1_000
            ));
            trigger.after_ms = AFTER_MS;
        }
    }
}

/// Returns every address that a unit's plan names.
pub(super) fn addresses(unit: &UnitPlan) -> std::collections::BTreeSet<std::net::IpAddr> {
    let fronts = unit.fronts.iter();
    let fronts = fronts.flat_map(|f| f.ports.iter().map(|p| p.listen.ip()).chain(f.egress));
    let webs = [Side::Source, Side::Target].into_iter().flat_map(|side| unit.backends(side));
    let webs = webs.map(|web| web.address.ip());
    let databases = unit
        .databases
        .iter()
        .flat_map(|d| [d.servers.source.address.ip(), d.servers.target.address.ip()]);
    let names = unit.zones.iter().flat_map(|zone| {
        let primary = zone.authority.update().map(|(primary, _)| primary);
        zone.servers.iter().copied().chain(primary).map(|server| server.ip())
    });
    let resolvers = unit.measures.resolvers.iter().flat_map(|r| r.addresses.iter().map(|a| a.ip()));
    fronts.chain(webs).chain(databases).chain(names).chain(resolvers).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_model::plan::{PortKind, PortPlan, TcpPlan};

    #[test]
    fn a_port_by_name_that_is_not_in_the_room_keeps_no_gate_on_certificates_waiting() {
        let mut plan = segue_plan::parse(segue_plan::template(), "template.toml").unwrap();
        let certificates = |room: &ForRoom| {
            let given = room.readings.given.iter();
            let own = given.filter(|one| one.what == What::CertificateDays);
            own.map(|one| (one.from.clone(), one.value)).collect::<Vec<_>>()
        };
        assert_eq!(certificates(&for_room(&plan, Path::new("/room"), &[])), []);
        let mail = "192.0.2.10:993".parse().unwrap();
        let backends = Sides { source: mail, target: mail };
        let tcp = Some(TcpPlan { backends, proxy_out: false, by_name: true });
        let port = PortPlan { kind: PortKind::Tcp, tcp, ..PortPlan::http(mail, false) };
        plan.unit.fronts[0].ports.push(port);
        let room = for_room(&plan, Path::new("/room"), &[]);
        assert!(room.plan.unit.fronts.iter().all(|front| front.tcp().next().is_none()));
        let expected = ("certificates:by-name@192.0.2.10:993".to_owned(), LONG_DAYS);
        assert_eq!(certificates(&room), [expected]);
    }
}
