//! Gates and triggers.

use super::side;
use crate::check::custom_origin;
use crate::file::{
    ActionFile, AgainstFile, BeforeFile, GateFile, GateNoDataFile, Measure, NoDataFile, PolicyFile,
    ScopeFile, TriggerFile,
};
use crate::{Problem, defaults};
use segue_model::gate::{
    Against, Before, Bound, GateNoData, GateSpec, NoData, Reference, Scope, Trigger, TriggerAction,
};
use segue_model::plan::{Policy, UnitPlan};
use segue_model::{Side, What};

/// Puts the defaults, the policy's numbers and what is written together.
pub(super) fn gates(
    unit: &UnitPlan,
    policy: &PolicyFile,
    files: Vec<GateFile>,
    problems: &mut Vec<Problem>,
) -> Vec<GateSpec> {
    let mut gates = defaults::gates(unit);
    for gate in &mut gates {
        of_policy(gate, policy);
    }
    if files.is_empty() {
        return gates;
    }
    let mut every = defaults::every_gate();
    for gate in &mut every {
        of_policy(gate, policy);
    }
    for file in files {
        let at = format!("gate[{}]", file.name);
        let mut problem = |key: String, (text, remedy): (&str, &str)| {
            let (text, remedy) = (text.to_owned(), remedy.to_owned());
            problems.push(Problem { code: "SG0731", key, text, remedy });
        };
        let former = every.iter().find(|gate| gate.name == file.name);
        if let Some(key) = twice(&file, policy) {
            problem(
                format!("policy.{key}"),
                ("the policy and a gate of this name both give the number", "write one of them"),
            );
        }
        if file.off {
            if former.is_none() {
                let text = ("no default gate has this name", "take it away, or correct the name");
                problem(format!("{at}.off"), text);
            }
            gates.retain(|gate| gate.name != file.name);
            continue;
        }
        match gate(&file, former) {
            Ok(gate) => match gates.iter_mut().find(|kept| kept.name == file.name) {
                // The same name twice in the file is found by the check.
                Some(kept) if former.is_some() => *kept = gate,
                _ => gates.push(gate),
            },
            Err(text) => problem(at, text),
        }
    }
    gates
}

/// The numbers of a policy are those of the default gates.
#[allow(clippy::cast_precision_loss)] // A week has 604,800 seconds.
fn of_policy(gate: &mut GateSpec, policy: &PolicyFile) {
    let max = match gate.name.as_str() {
        "database_lag" | "database_lag_back" => policy.database_lag_max_ms,
        "files_lag" => policy.files_lag_max_ms,
        "verified" => policy.verified_within_s.map(|s| s as f64),
        _ => None,
    };
    gate.bound.max = max.or(gate.bound.max);
    if gate.name == "certificates" {
        let silent = defaults::policy();
        let said = Policy {
            stable_for_s: policy.stable_for_s.unwrap_or(silent.stable_for_s),
            straggler_days: policy.straggler_days.unwrap_or(silent.straggler_days),
            ..silent
        };
        gate.bound.min = Some(said.certificate_days() as f64);
    }
    if let ("all_traffic", Some(for_s)) = (gate.name.as_str(), policy.all_traffic_for_s) {
        gate.for_ms = for_s.saturating_mul(1000);
    }
}

/// Returns the key of the policy that gives the same number as the gate.
fn twice(file: &GateFile, policy: &PolicyFile) -> Option<&'static str> {
    match file.name.as_str() {
        "database_lag" | "database_lag_back" if file.max.is_some() => {
            policy.database_lag_max_ms.map(|_| "database_lag_max_ms")
        }
        "files_lag" if file.max.is_some() => policy.files_lag_max_ms.map(|_| "files_lag_max_ms"),
        "verified" if file.max.is_some() => policy.verified_within_s.map(|_| "verified_within_s"),
        "all_traffic" if file.for_ms.is_some() => {
            policy.all_traffic_for_s.map(|_| "all_traffic_for_s")
        }
        _ => None,
    }
}

type Wrong = (&'static str, &'static str);

fn gate(file: &GateFile, former: Option<&GateSpec>) -> Result<GateSpec, Wrong> {
    let what = match (file.what, former) {
        (Some(measure), _) => what(measure, file.side.map(side))?,
        (None, Some(former)) if file.side.is_none() => former.bound.what,
        (None, Some(_)) => return Err(("a side is named, but no measure", "add `what`")),
        (None, None) => {
            return Err(("no default gate has this name, and no measure is named", "add `what`"));
        }
    };
    let same = former.filter(|former| former.bound.what == what);
    let limits = match (file.max, file.min) {
        (None, None) => same.map_or((None, None), |gate| (gate.bound.max, gate.bound.min)),
        written => written,
    };
    Ok(GateSpec {
        name: file.name.clone(),
        before: match file.before {
            Some(BeforeFile::Seed) => Before::Seed,
            Some(BeforeFile::Arm) => Before::Arm,
            Some(BeforeFile::Hold) => Before::Hold,
            Some(BeforeFile::Settle) => Before::Settle,
            None => former.map_or(Before::Arm, |gate| gate.before),
        },
        bound: Bound {
            what,
            from: origin(what, file.of.as_deref())?,
            max: limits.0,
            min: limits.1,
            fresh_for_ms: file
                .fresh_for_ms
                .or(same.map(|gate| gate.bound.fresh_for_ms))
                .unwrap_or(15_000),
        },
        for_ms: file.for_ms.or(same.map(|gate| gate.for_ms)).unwrap_or(0),
        no_data: match file.no_data {
            Some(GateNoDataFile::Wait) => GateNoData::Wait,
            Some(GateNoDataFile::Fail) => GateNoData::Fail,
            None => former.map_or(GateNoData::Wait, |gate| gate.no_data),
        },
        failback: file.failback.unwrap_or_else(|| former.is_some_and(|gate| gate.failback)),
    })
}

pub(super) fn trigger(file: TriggerFile, problems: &mut Vec<Problem>) -> Option<Trigger> {
    let at = format!("trigger[{}]", file.name);
    let mut problem = |code, key: String, (text, remedy): Wrong| {
        problems.push(Problem { code, key, text: text.to_owned(), remedy: remedy.to_owned() });
    };
    let what = match what(file.what, file.side.map(side)) {
        Ok(what) => what,
        Err(wrong) => {
            problem("SG0727", format!("{at}.side"), wrong);
            return None;
        }
    };
    let from = match origin(what, file.of.as_deref()) {
        Ok(from) => from,
        Err(wrong) => {
            problem("SG0727", format!("{at}.of"), wrong);
            return None;
        }
    };
    if file.against.is_none() && (file.slack.is_some() || file.min_clients.is_some()) {
        let wrong =
            ("nothing is compared, so `slack` and `min_clients` mean nothing", "add `against`");
        problem("SG0726", at, wrong);
    }
    Some(Trigger {
        name: file.name,
        bound: Bound { what, from, max: file.max, min: file.min, fresh_for_ms: file.fresh_for_ms },
        against: file.against.map(|with| Against {
            with: match with {
                AgainstFile::OtherSide => Reference::OtherSide,
                AgainstFile::Before => Reference::Before,
            },
            slack: file.slack.unwrap_or(0.0),
            min_clients: file.min_clients.unwrap_or(0),
        }),
        for_ms: file.for_ms,
        after_ms: file.after_ms,
        min_samples: file.min_samples,
        min_count: file.min_count,
        no_data: match file.no_data {
            NoDataFile::Ignore => NoData::Ignore,
            NoDataFile::Violates => NoData::Violates,
            NoDataFile::Ask => NoData::Ask,
        },
        action: match file.action {
            ActionFile::Alert => TriggerAction::Alert,
            ActionFile::StepBack => TriggerAction::StepBack,
            ActionFile::FailBack => TriggerAction::FailBack,
            ActionFile::HoldAndAsk => TriggerAction::HoldAndAsk,
        },
        scope: match file.scope {
            ScopeFile::Unit => Scope::Unit,
            ScopeFile::Wave => Scope::Wave,
            ScopeFile::Mail => Scope::Mail,
        },
    })
}

/// Returns the origin that `of` names.
fn origin(what: What, of: Option<&str>) -> Result<Option<String>, Wrong> {
    match (what, of) {
        (What::Custom, Some(name)) => Ok(Some(custom_origin(name))),
        (What::Custom, None) => {
            Err(("it is not said which measure of the plan's own is meant", "add `of`"))
        }
        (_, Some(_)) => Err(("only `custom` measures have a name", "take `of` away")),
        (_, None) => Ok(None),
    }
}

fn what(measure: Measure, side: Option<Side>) -> Result<What, (&'static str, &'static str)> {
    let of_side: fn(Side) -> What = match measure {
        Measure::DatabaseLagMs => What::DatabaseLagMs,
        Measure::FilesLagMs => What::FilesLagMs,
        Measure::RequestsPerSecond => What::RequestsPerSecond,
        Measure::FailedPerSecond => What::FailedPerSecond,
        Measure::ResponseP50Ms => What::ResponseP50Ms,
        Measure::ResponseP95Ms => What::ResponseP95Ms,
        Measure::BackendHealthy => What::BackendHealthy,
        Measure::DatabaseReadable => What::DatabaseReadable,
        Measure::ClockOffsetMs => What::ClockOffsetMs,
        Measure::ClientErrorPercent => What::ClientErrorPercent,
        Measure::ClientsPerSecond => What::ClientsPerSecond,
        Measure::AppErrorsPerSecond => What::AppErrorsPerSecond,
        Measure::CpuPercent => What::CpuPercent,
        Measure::RamPercent => What::RamPercent,
        Measure::DatabaseDifferences => return of_both(What::DatabaseDifferences, side),
        Measure::FilesDifferences => return of_both(What::FilesDifferences, side),
        Measure::FrontsReady => return of_both(What::FrontsReady, side),
        Measure::DirectRequests => return of_both(What::DirectRequests, side),
        Measure::ProbeFailed => return of_both(What::ProbeFailed, side),
        Measure::ProbeMaxMs => return of_both(What::ProbeMaxMs, side),
        Measure::ProbeCount => return of_both(What::ProbeCount, side),
        Measure::ZoneServersEqual => return of_both(What::ZoneServersEqual, side),
        Measure::ZoneTtlMaxS => return of_both(What::ZoneTtlMaxS, side),
        Measure::StragglersPerSecond => return of_both(What::StragglersPerSecond, side),
        Measure::TargetDiskFreeBytes => return of_both(What::TargetDiskFreeBytes, side),
        Measure::TargetRoomRatio => return of_both(What::TargetRoomRatio, side),
        Measure::CountDifference => return of_both(What::CountDifference, side),
        Measure::VerifiedAgeS => return of_both(What::VerifiedAgeS, side),
        Measure::LoginKept => return of_both(What::LoginKept, side),
        Measure::MirrorDifferentPercent => return of_both(What::MirrorDifferentPercent, side),
        Measure::CertificateDays => return of_both(What::CertificateDays, side),
        Measure::SafeAfterLeftS => return of_both(What::SafeAfterLeftS, side),
        Measure::CanarySeen => return of_both(What::CanarySeen, side),
        Measure::TargetArrivalPercent => return of_both(What::TargetArrivalPercent, side),
        Measure::ProbeInterruptionMs => return of_both(What::ProbeInterruptionMs, side),
        Measure::MailBouncePercent => return of_both(What::MailBouncePercent, side),
        Measure::MailboxDeltaBytes => return of_both(What::MailboxDeltaBytes, side),
        Measure::ResolversFailing => return of_both(What::ResolversFailing, side),
        Measure::ResolversAtTargetPercent => return of_both(What::ResolversAtTargetPercent, side),
        Measure::Custom => return of_both(What::Custom, side),
    };
    side.map(of_side).ok_or((
        "this is measured on each side, and no side is named",
        "add `side = \"source\"` or `side = \"target\"`",
    ))
}

fn of_both(what: What, side: Option<Side>) -> Result<What, (&'static str, &'static str)> {
    match side {
        None => Ok(what),
        Some(_) => Err(("this is measured once, not on a side", "take `side` away")),
    }
}
