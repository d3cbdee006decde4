//! Which part of a plan a measure needs.

use segue_model::gate::Bound;
use segue_model::plan::{FrontPlan, UnitPlan};
use segue_model::{Side, What};

/// Who asks for a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A gate.
    Gate,
    /// A trigger.
    Trigger,
}

/// Says what is missing, and how to get it.
pub(crate) type Missing = (String, String);

/// Returns why nothing measures what `bound` asks for, if nothing does.
pub(crate) fn unmeasured(unit: &UnitPlan, bound: &Bound, asker: Asker) -> Option<Missing> {
    let what = bound.what;
    let side = what.side();
    let measures = &unit.measures;
    if let Some(missing) = uncounted(unit, what) {
        return Some(missing);
    }
    let (there, part, section) = match what {
        What::DatabaseLagMs(_)
        | What::DatabaseDifferences
        | What::DatabaseReadable(_)
        | What::ClockOffsetMs(_) => (!unit.databases.is_empty(), "database", "[database]"),
        What::FilesLagMs(_)
        | What::FilesDifferences
        | What::TargetDiskFreeBytes
        | What::TargetRoomRatio => (!unit.trees.is_empty(), "tree", "a [[tree]]"),
        What::CountDifference => (
            !unit.databases.is_empty() || !unit.zones.is_empty(),
            "database and no zone",
            "[database] or a [[zone]]",
        ),
        What::ProbeFailed | What::ProbeMaxMs | What::ProbeCount | What::ProbeInterruptionMs => {
            (unit.sites.iter().any(|site| site.probe.is_some()), "probe", "[probe]")
        }
        What::ZoneServersEqual | What::ZoneTtlMaxS => {
            (!unit.zones.is_empty(), "zone", "a [[zone]]")
        }
        What::DirectRequests => (
            unit.backends(Side::Source).any(|web| web.access_log.is_some()),
            "access log of the source",
            "`backend.source.access_log`",
        ),
        What::CanarySeen => (
            unit.backends(Side::Target).any(|web| web.access_log.is_some()),
            "access log of the target",
            "`backend.target.access_log`",
        ),
        What::AppErrorsPerSecond(_) => {
            let mut logs = measures.application_logs.iter();
            let there = side.is_some_and(|side| logs.any(|log| log.files.get(side).is_some()));
            (there, "application log of that side", "it to [measure.application_log]")
        }
        What::CpuPercent(_) | What::RamPercent(_) => {
            let there = measures.hosts.iter().any(|host| Some(host.side) == side);
            (there, "host of that side to read", "a [[measure.host]]")
        }
        What::MailBouncePercent => {
            (!measures.mail_logs.is_empty(), "mail log", "`measure.mail_log`")
        }
        What::ResolversFailing | What::ResolversAtTargetPercent => {
            (!measures.resolvers.is_empty(), "resolver", "[measure.resolvers]")
        }
        What::Custom => {
            let name = |from: &str| measures.custom.iter().any(|c| custom_origin(&c.name) == from);
            let there = bound.from.as_deref().is_some_and(name);
            (there, "measure of this name", "a [[measure.custom]] and name it with `of`")
        }
        What::VerifiedAgeS => {
            let copies = !unit.databases.is_empty() || !unit.trees.is_empty();
            return before_only(what, asker).or_else(|| {
                (!copies).then(|| none("copy to compare", "[database] or a [[tree]]"))
            });
        }
        What::LoginKept => (
            unit.measures.sessions.iter().any(|sessions| sessions.login.is_some()),
            "login to try",
            "`cookie`, `path` and `marker` to [measure.sessions]",
        ),
        What::MirrorDifferentPercent => {
            (measures.mirror.is_some(), "copy of requests", "`paths` to [measure.mirror]")
        }
        What::CertificateDays => (
            !unit.certified().is_empty() || !unit.certified_by_name().is_empty(),
            "TLS port and no certificate to look at",
            "`kind = \"tls\"` to a [[front.port]]",
        ),
        What::SafeAfterLeftS => {
            return before_only(what, asker)
                .or_else(|| unit.zones.is_empty().then(|| none("zone", "a [[zone]]")));
        }
        What::MailboxDeltaBytes => {
            let text = format!("{what} is never measured: no plan moves mailboxes yet");
            return Some((text, "take it away until mailboxes are part of a plan".into()));
        }
        What::FrontsReady
        | What::RequestsPerSecond(_)
        | What::FailedPerSecond(_)
        | What::ResponseP50Ms(_)
        | What::ResponseP95Ms(_)
        | What::ClientErrorPercent(_)
        | What::ClientsPerSecond(_)
        | What::TargetArrivalPercent
        | What::BackendHealthy(_)
        | What::StragglersPerSecond => {
            (!unit.sites.is_empty(), "web server", "[backend.source] and [backend.target]")
        }
    };
    (!there).then(|| {
        let (text, remedy) = none(part, section);
        (format!("{what} is never measured: {text}"), remedy)
    })
}

/// What an operator's own proxy as a front does not count.
fn uncounted(unit: &UnitPlan, what: What) -> Option<Missing> {
    let (mute, missing): (fn(&FrontPlan) -> bool, _) = match what {
        What::RequestsPerSecond(_)
        | What::FailedPerSecond(_)
        | What::ResponseP50Ms(_)
        | What::ResponseP95Ms(_)
        | What::ClientErrorPercent(_)
        | What::TargetArrivalPercent
        | What::StragglersPerSecond => {
            (|front| !front.abilities().counts, "requests by side and second")
        }
        What::ClientsPerSecond(_) => (|front| front.proxy.is_some(), "clients"),
        _ => return None,
    };
    let front = unit.fronts.iter().find(|front| mute(front))?;
    let (name, kind) = (&front.name, front.proxy.as_ref().map_or("front", |proxy| proxy.as_str()));
    Some((
        format!("{what} is never measured: front `{name}` is {kind}, which counts no {missing}"),
        "take it away, or put a front of Segue's own there".into(),
    ))
}

/// The origin of the samples of a measure of the plan's own.
pub(crate) fn custom_origin(name: &str) -> String {
    format!("custom:{name}")
}

fn none(part: &str, section: &str) -> Missing {
    (format!("the plan has no {part}"), format!("add {section}, or take it away"))
}

/// What the journal says, and no sampler: only a gate can ask it.
fn before_only(what: What, asker: Asker) -> Option<Missing> {
    (asker == Asker::Trigger).then(|| {
        let text = format!("{what} is asked before a step, and never measured after one");
        (text, "make it a [[gate]], or take it away".into())
    })
}
