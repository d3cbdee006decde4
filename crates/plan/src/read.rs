//! From text to plan.

mod cdns;
mod fronts;
mod gates;
mod measures;
mod moves;
mod zones;

pub use moves::read_moves;

use crate::check::without_web_server;
use crate::file::{
    AddressesFile, BackendCheckFile, BackendFile, BackendTlsFile, BackendsFile, CommandsFile,
    DatabaseFile, GateFile, PlanFile, PolicyFile, ProbeFile, RehearsalSiteFile, ServerFile,
    SideFile, SplitFile, TriggerFile,
};
use crate::{PlanError, Problem, check, defaults};
use segue_model::plan::{
    Backend, BackendCheck, BackendTls, DatabasePlan, DatabaseServer, Plan, Policy, ProbePlan,
    SecretRef, SitePlan, SplitPlan, TlsVerify, TreePlan, UnitPlan, WorkerCommands, WorkerPlan,
};
use segue_model::{Side, Sides, UnitName};
use std::sync::Arc;

/// Reads and checks a plan file of one unit; `name` stands in messages only.
///
/// # Errors
/// `SG0701` if the text is not a plan file, `SG0702` with every [`Problem`] found if
/// [`check`] refuses what it says.
pub fn parse(text: &str, name: &str) -> Result<Plan, PlanError> {
    let (mut plan, mut problems) = read(text, name)?;
    problems.extend(check(&plan));
    // Only a plan of many units has the strategy that this is for.
    Arc::make_mut(&mut plan.policy).maintenance_budget_ms = None;
    if problems.is_empty() {
        Ok(plan)
    } else {
        Err(PlanError::Refused { name: name.to_owned(), problems })
    }
}

/// Reads a plan file without judging what it says, except for what has no form in the
/// model: gates and triggers whose measure and side do not fit, and the like.
pub(crate) fn read(text: &str, name: &str) -> Result<(Plan, Vec<Problem>), PlanError> {
    let file: PlanFile = toml::from_str(text).map_err(|error| unreadable(&error, text, name))?;
    let mut problems = Vec::new();
    let plan = plan(file, None, &mut problems);
    Ok((plan, problems))
}

/// What the units of a plan have in common.
pub(crate) struct Common {
    /// The plan's name.
    pub(crate) name: String,
    /// The policy without triggers.
    pub(crate) policy: PolicyFile,
    /// The gates that change or add to the defaults of each unit.
    pub(crate) gates: Vec<GateFile>,
    /// The triggers; none means the defaults of each unit.
    pub(crate) triggers: Option<Vec<TriggerFile>>,
}

/// Makes a plan of a unit's file; `common` stands in for what the file does not say.
pub(crate) fn plan(file: PlanFile, common: Option<&Common>, problems: &mut Vec<Problem>) -> Plan {
    let name = UnitName(file.unit.name);
    let unit = UnitPlan {
        name: name.clone(),
        sites: site(&name, file.unit.hosts, file.backend, file.probe, problems)
            .map(|site| SitePlan { rehearsal: stand_in(file.rehearsal.site), ..site })
            .into_iter()
            .collect(),
        requests_per_day: file.unit.requests_per_day,
        created: file.unit.created,
        fronts: file.front.into_iter().map(|front| fronts::front(front, problems)).collect(),
        databases: file.database.map(database).into_iter().collect(),
        trees: file
            .tree
            .into_iter()
            .map(|tree| TreePlan {
                name: tree.name,
                roots: Sides { source: tree.source, target: tree.target },
                exclude: tree.exclude,
            })
            .collect(),
        zones: file.zone.into_iter().flat_map(|zone| zones::zone(zone, problems)).collect(),
        cdns: file.cdn.into_iter().filter_map(|cdn| cdns::cdn(cdn, problems)).collect(),
        workers: file
            .worker
            .into_iter()
            .map(|worker| WorkerPlan {
                name: worker.name,
                sides: Sides { source: commands(worker.source), target: commands(worker.target) },
            })
            .collect(),
        measures: measures::measures(&name, file.measure, problems),
    };
    let of_file = file.trigger.or_else(|| common.and_then(|common| common.triggers.clone()));
    let triggers = match of_file {
        None => defaults::triggers(&unit),
        Some(list) => list.into_iter().filter_map(|t| gates::trigger(t, problems)).collect(),
    };
    let said = file.policy.or_else(|| common.map(|common| common.policy.clone()));
    let said = said.unwrap_or_default();
    let gates = file.gate.or_else(|| common.map(|common| common.gates.clone()));
    let gates = gates::gates(&unit, &said, gates.unwrap_or_default(), problems);
    let policy = Policy { triggers, gates, ..policy(said) };
    let name = common.map_or(file.name, |common| common.name.clone());
    Plan { name, unit, policy: Arc::new(policy) }
}

pub(crate) fn unreadable(error: &toml::de::Error, text: &str, name: &str) -> PlanError {
    let offset = error.span().map_or(0, |span| span.start);
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    PlanError::Unreadable {
        name: name.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        cause: without_value(error.message()),
    }
}

/// Cuts a quoted value out of a message about a wrong type: it may be a secret that
/// stands where a table belongs.
fn without_value(message: &str) -> String {
    let message = message.trim().replace('\n', ", ");
    match (message.find(": string \""), message.rfind("\", expected")) {
        (Some(from), Some(to)) if from < to => {
            format!("{}: text{}", &message[..from], &message[to + 1..])
        }
        _ => message,
    }
}

fn side(side: SideFile) -> Side {
    match side {
        SideFile::Source => Side::Source,
        SideFile::Target => Side::Target,
    }
}

/// Makes the site of a unit; what belongs to a site is refused without one.
fn site(
    name: &UnitName,
    hosts: Vec<String>,
    backends: Option<BackendsFile>,
    probe: Option<ProbeFile>,
    problems: &mut Vec<Problem>,
) -> Option<SitePlan> {
    let Some(backends) = backends else {
        let named = [("unit.hosts", !hosts.is_empty()), ("probe", probe.is_some())];
        for (key, _) in named.into_iter().filter(|(_, named)| *named) {
            problems.push(without_web_server(key));
        }
        return None;
    };
    Some(SitePlan {
        name: name.clone(),
        hosts,
        answer_timeout_s: backends.answer_timeout_s,
        backends: Sides {
            source: backend("backend.source", backends.source, problems)?,
            target: backend("backend.target", backends.target, problems)?,
        },
        probe: probe.map(|probe| ProbePlan {
            path: probe.path,
            marker: probe.marker,
            per_second: probe.per_second,
        }),
        rehearsal: None,
    })
}

fn stand_in(file: Option<RehearsalSiteFile>) -> Option<Sides<Vec<String>>> {
    file.map(|site| Sides { source: site.source, target: site.target })
}

/// Makes a web server, or several; none if none is named.
fn backend(at: &str, file: BackendFile, problems: &mut Vec<Problem>) -> Option<Backend> {
    let mut addresses = match file.address {
        AddressesFile::One(address) => vec![address],
        AddressesFile::Several(addresses) => addresses,
    };
    if addresses.is_empty() {
        problems.push(Problem {
            code: "SG0750",
            key: format!("{at}.address"),
            text: "the list names no web server".into(),
            remedy: "write the address of each, or of the only one".into(),
        });
        return None;
    }
    if addresses.len() == 1 && file.check.is_some() {
        problems.push(Problem {
            code: "SG0750",
            key: format!("{at}.check"),
            text: "one server alone is not looked at: its requests have nowhere else to go".into(),
            remedy: "take `check` away, or name the other servers in `address`".into(),
        });
    }
    let tls = file.tls.map(|file| tls(at, file, problems));
    if (tls.is_some() || file.proxy_out) != file.probe_address.is_some() {
        problems.push(Problem {
            code: "SG0752",
            key: format!("{at}.probe_address"),
            text: "the run's own probes ask in clear and without the PROXY protocol: beside `tls` \
                   or `proxy_out` they need an address of their own, and only then"
                .into(),
            remedy: "name an address of the same application in clear, or take it away".into(),
        });
    }
    Some(Backend {
        tls,
        probe_address: file.probe_address,
        passthrough: file.passthrough,
        acme_tls: file.acme_tls,
        proxy_out: file.proxy_out,
        address: addresses.remove(0),
        beside: addresses,
        check: match file.check {
            None | Some(BackendCheckFile::Connect) => BackendCheck::Connect,
            Some(BackendCheckFile::Path) => BackendCheck::Path,
        },
        health_path: file.health_path,
        access_log: file.access_log,
        concurrency: file.concurrency,
    })
}

fn tls(at: &str, file: BackendTlsFile, problems: &mut Vec<Problem>) -> BackendTls {
    let BackendTlsFile { name, roots, pins, verify } = file;
    let mut refuse = |text: &str| {
        problems.push(Problem {
            code: "SG0752",
            key: format!("{at}.tls"),
            text: text.into(),
            remedy:
                "name `roots` by an absolute path, or `pins` of 64 hexadecimal digits, or write \
                     `verify = false`; with none of them the system's roots count"
                    .into(),
        });
    };
    let off = verify == Some(false);
    if [roots.is_some(), !pins.is_empty(), off].into_iter().filter(|said| *said).count() > 1 {
        refuse("it is said in several ways which certificate is taken");
    }
    if roots.as_ref().is_some_and(|file| !file.is_absolute()) {
        refuse("`roots` is no absolute path");
    }
    let digits = |pin: &String| pin.bytes().filter(|byte| *byte != b':').collect::<Vec<_>>();
    let is_pin = |pin: &String| {
        let digits = digits(pin);
        digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit)
    };
    if !pins.iter().all(is_pin) {
        refuse("a pin is no SHA-256");
    }
    let verify = match (off, pins.is_empty()) {
        (true, _) => TlsVerify::Off,
        (false, false) => TlsVerify::Pins { sha256: pins },
        (false, true) => TlsVerify::Roots { file: roots },
    };
    BackendTls { name, verify }
}

fn database(file: DatabaseFile) -> DatabasePlan {
    DatabasePlan {
        schema: file.schema,
        servers: Sides { source: server(file.source), target: server(file.target) },
        logins: file.logins,
    }
}

fn server(file: ServerFile) -> DatabaseServer {
    DatabaseServer {
        address: file.address,
        admin: file.admin,
        password: SecretRef(file.password.0),
    }
}

fn commands(file: CommandsFile) -> WorkerCommands {
    WorkerCommands { stop: file.stop, start: file.start, running: file.running }
}

fn policy(file: PolicyFile) -> Policy {
    let silent = defaults::policy();
    let hold_age_max_ms = file.hold_age_max_ms.unwrap_or(silent.hold_age_max_ms);
    Policy {
        pause_budget_ms: file.pause_budget_ms.unwrap_or(silent.pause_budget_ms),
        failback_budget_ms: file.failback_budget_ms.unwrap_or(hold_age_max_ms),
        seal_reserve_ms: file.seal_reserve_ms.unwrap_or(silent.seal_reserve_ms),
        lease_ms: file.lease_ms.unwrap_or(silent.lease_ms),
        hold_age_max_ms,
        hold_count_max: file.hold_count_max.unwrap_or(silent.hold_count_max),
        quiet_wait_ms: file.quiet_wait_ms.unwrap_or(silent.quiet_wait_ms),
        slow_paths: file.slow_paths.unwrap_or(silent.slow_paths),
        harmless_paths: file.harmless_paths.unwrap_or(silent.harmless_paths),
        hold_bytes_max: file.hold_bytes_max.unwrap_or(silent.hold_bytes_max),
        hold_page: file.hold_page,
        split: file.split.map(split),
        gate_wait_s: file.gate_wait_s.unwrap_or(silent.gate_wait_s),
        commit_timer_s: file.commit_timer_s.unwrap_or(silent.commit_timer_s),
        stable_for_s: file.stable_for_s.unwrap_or(silent.stable_for_s),
        straggler_days: file.straggler_days.unwrap_or(silent.straggler_days),
        maintenance_budget_ms: file.maintenance_budget_s.map(|s| s.saturating_mul(1_000)),
        triggers: silent.triggers,
        gates: silent.gates,
    }
}

fn split(file: SplitFile) -> SplitPlan {
    let silent = defaults::split();
    SplitPlan {
        shares: file.shares.unwrap_or(silent.shares),
        dwell_s: file.dwell_s.unwrap_or(silent.dwell_s),
        longest_s: file.longest_s.unwrap_or(silent.longest_s),
        warm_s: file.warm_s.unwrap_or(silent.warm_s),
        slow_ms: file.slow_ms.unwrap_or(silent.slow_ms),
        false_alarm: file.false_alarm.unwrap_or(silent.false_alarm),
        failing_margin: file.failing_margin.unwrap_or(silent.failing_margin),
        p50_factor: file.p50_factor.unwrap_or(silent.p50_factor),
        p95_factor: file.p95_factor.unwrap_or(silent.p95_factor),
        proof: file.proof.unwrap_or(silent.proof),
        testers: file.testers.unwrap_or(silent.testers),
        cookie: file.cookie.unwrap_or(silent.cookie),
    }
}
