//! What a plan will do, in order, before any of it is done.

use crate::active::Active;
use segue_engine::Table;
use segue_migration::fleet::Meeting;
use segue_migration::tables::{self, Remembered};
use segue_model::fleet::Strategy;
use segue_model::plan::{FrontPlan, Plan, TlsVerify};
use segue_model::{Fault, Fleet, RunId, Side, Way};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// So many units of a wave are named.
const UNITS_SHOWN: usize = 8;

/// A table as people read it.
#[derive(Debug, Clone, Serialize)]
pub struct Outline {
    /// `sync`, `prepare`, `cutover`, `failback`, `settle`.
    pub phase: String,
    /// Longest pause it may cost, if it has one, milliseconds.
    pub budget_ms: Option<u64>,
    /// Its steps in order.
    pub steps: Vec<StepOutline>,
}

/// A step as people read it.
#[derive(Debug, Clone, Serialize)]
pub struct StepOutline {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub title: String,
    /// What it changes.
    pub what: String,
    /// Gates before it.
    pub gates: Vec<String>,
    /// Whether from its intent on the way back is another table.
    pub no_return: bool,
    /// How a person undoes it without Segue.
    pub by_hand: String,
}

impl Outline {
    /// Returns the table as text; with `sheet` the by-hand undo of every step too.
    pub fn text(&self, sheet: bool) -> String {
        let budget = self.budget_ms.map_or(String::new(), |ms| format!(" (pause at most {ms} ms)"));
        let mut text = format!("{}{budget}\n", self.phase);
        for (place, step) in self.steps.iter().enumerate() {
            if step.no_return {
                text.push_str("      ---- from here on the way back is another table ----\n");
            }
            let _ = writeln!(text, "  {:>2}. {:<13} {}", place + 1, step.name, step.title);
            if !step.what.is_empty() {
                let _ = writeln!(text, "        {}", step.what);
            }
            for gate in &step.gates {
                let _ = writeln!(text, "        gate: {gate}");
            }
            if sheet && !step.by_hand.is_empty() {
                for line in step.by_hand.lines() {
                    let _ = writeln!(text, "        by hand: {line}");
                }
            }
        }
        text
    }
}

/// Returns the units, joints and waves of a plan of many as text.
pub fn fleet(fleet: &Fleet) -> String {
    let mut text = strategy(fleet);
    for joint in &fleet.joints {
        let members: Vec<&str> = joint.members.iter().map(|member| member.as_str()).collect();
        let _ = writeln!(
            text,
            "joined as `{}`: {} (they share {})",
            joint.unit,
            members.join(", "),
            joint.because.join(", ")
        );
    }
    for (number, wave) in (1..).zip(&fleet.waves) {
        let names: Vec<&str> =
            wave.units.iter().take(UNITS_SHOWN).map(|unit| unit.as_str()).collect();
        let more = wave.units.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let canaries = match wave.canaries {
            0 => String::new(),
            n => format!(", the first {n} alone"),
        };
        let _ = writeln!(
            text,
            "wave {number} `{}`: {} units{canaries}: {}{more}",
            wave.name,
            wave.units.len(),
            names.join(", ")
        );
    }
    text
}

/// Says what the plan's strategy means.
fn strategy(fleet: &Fleet) -> String {
    let roles: Vec<&str> = fleet.people.approvals.iter().map(|a| a.role.as_str()).collect();
    match fleet.schedule.strategy {
        Strategy::Waves => String::new(),
        Strategy::AllAtOnce => format!(
            "strategy: all units in one go, and none starts unless every one can; stricter gates: a rehearsal of every unit, comparisons at most 900 s old, half the lag allowed, agreement as {}\n",
            roles.join(", ")
        ),
        Strategy::MaintenanceWindow => {
            let longest = fleet.units.iter().filter_map(|p| p.policy.maintenance_budget_ms).max();
            format!(
                "strategy: maintenance window; all units are held together, compared in full inside the pause, and switched only if every one is equal; pause at most {} s\n",
                longest.unwrap_or(0) / 1_000
            )
        }
    }
}

/// Returns every table of a plan in order.
///
/// # Errors
/// If a driver cannot be built from the plan.
pub fn tables(plan: &Plan) -> Result<Vec<Outline>, Fault> {
    let families = Active::families(plan, &RunId::from("outline"), &std::env::temp_dir())?;
    let remembered = Remembered::default();
    // Without a split in the plan there is none to show.
    let splits = plan.policy.split.is_some();
    let split = [tables::split, tables::unsplit].into_iter().filter(|_| splits);
    let mut all = vec![tables::sync(&families), tables::prepare(&families)];
    all.extend(split.map(|table| table(&families)));
    all.extend([
        match plan.policy.maintenance_budget_ms {
            None => tables::cutover(&families, Way::Forward, &remembered),
            Some(_) => tables::window(&families, &remembered, &Meeting::nobody()),
        },
        tables::cutover(&families, Way::Back, &remembered),
        tables::settle(&families, &Value::Null, None),
    ]);
    Ok(all.iter().map(outline).collect())
}

fn outline(table: &Table) -> Outline {
    Outline {
        phase: table.phase.as_str().to_owned(),
        budget_ms: table.budget.as_ref().map(|budget| budget.limit_ms),
        steps: table
            .steps
            .iter()
            .map(|step| StepOutline {
                name: step.name.to_string(),
                title: step.title.clone(),
                what: step.effect.what(),
                gates: step.gates.iter().map(|gate| gate.asks()).collect(),
                no_return: step.no_return,
                by_hand: step.effect.by_hand(),
            })
            .collect(),
    }
}

pub use segue_traffic::Fragment;

/// Returns what the servers around the fronts of a plan need in their configuration.
pub fn fragments(fleet: &Fleet) -> Vec<Fragment> {
    let units: Vec<_> = fleet.units.iter().map(|plan| &plan.unit).collect();
    segue_traffic::fragments(&units)
}

/// Returns what becomes of those who are logged in, in one sentence for each site. Reads what the
/// plan says of sessions.
pub fn logins(plan: &Plan) -> Vec<String> {
    segue_probe::logins(&plan.unit)
        .iter()
        .map(|one| match one.trial() {
            Some(trial) => format!("{}; {trial}", one.sentence()),
            None => one.sentence(),
        })
        .collect()
}

/// Returns what nobody can prove because of the way to the web servers.
fn of_web_servers(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for site in plan.unit.sites.iter().filter(|s| s.backends.source.passthrough.is_some()) {
        lines.push(format!(
            "that no request for {} failed: TLS to it goes through unread, so no zero-failure \
             promise",
            site.hosts.join(", ")
        ));
    }
    let backends = plan.unit.sites.iter().flat_map(|s| [&s.backends.source, &s.backends.target]);
    for backend in backends {
        if backend.tls.as_ref().is_some_and(|tls| tls.verify == TlsVerify::Off) {
            lines.push(format!(
                "that nobody stands between the fronts and web server {}: its certificate is not \
                 looked at",
                backend.address
            ));
        }
    }
    lines
}

/// Returns what nobody can prove because of ports at which bytes are passed.
fn of_ports(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for (port, tcp) in plan.unit.fronts.iter().flat_map(FrontPlan::tcp) {
        let listen = port.listen;
        lines.push(format!(
            "that clients of {listen} notice nothing: what is open there when a hold begins is \
             ended, and connects anew"
        ));
        if tcp.by_name {
            lines.push(format!(
                "whose clients of {listen} are that ask for no host, or for one of no unit: they \
                 go to the server of the front's own side"
            ));
        }
    }
    lines
}

/// Returns what nobody can prove for this plan, in sentences.
pub fn not_provable(plan: &Plan) -> Vec<String> {
    let mut lines = vec!["how long resolvers outside keep an answer beyond its TTL".to_owned()];
    if !plan.unit.trees.is_empty() {
        lines.push(
            "that nobody writes files around the fronts during the pause: files have no fence"
                .into(),
        );
    }
    if plan.unit.backends(Side::Source).any(|web| web.access_log.is_none()) {
        lines.push(
            "that every request passes a front: the source's access log is not in the plan".into(),
        );
    }
    if let Some(why) = plan.unit.uncounted(Side::Source)
        && plan.unit.backends(Side::Source).any(|web| web.access_log.is_some())
    {
        lines.push(format!(
            "that every request passes a front, if the source's log shows visitors and not the \
             address of each connection: {why}"
        ));
    }
    if plan.unit.sites.iter().any(|site| site.probe.is_none()) {
        lines.push("that users were not interrupted: the plan has no probe".into());
    }
    let sessions = segue_probe::logins(&plan.unit);
    lines.extend(
        sessions
            .iter()
            .filter(|one| one.logins == segue_probe::Logins::Unknown)
            .map(|one| format!("that users of `{}` stay logged in: {}", one.site, one.because)),
    );
    lines.extend(of_web_servers(plan));
    lines.extend(of_ports(plan));
    for front in &plan.unit.fronts {
        let (can, name) = (front.abilities(), &front.name);
        if !can.lossless {
            lines.push(format!(
                "that no request failed: what reloads of front `{name}` lose is not seen"
            ));
        }
        if !can.counts {
            lines
                .push(format!("what users met at front `{name}`: it counts no requests of a site"));
        }
        if front.side == Side::Source && !can.knows_stragglers {
            lines.push(format!(
                "that nobody comes to the former address: front `{name}` does not know, so the gate \
                 `no-stragglers` has to be waived"
            ));
        }
    }
    for zone in &plan.unit.zones {
        let promised = segue_dns::capabilities_of(&zone.authority);
        lines.extend(promised.open_questions(&zone.label()));
        if zone.records.iter().any(|set| zone.is_apex_ns(set)) {
            lines.push(format!(
                "that resolvers follow the new NS of zone `{}`: the delegation at its parent is \
                 not changed by it",
                zone.label()
            ));
        }
    }
    lines
}
