//! The conditions after a cutover.
//!
//! What a user notices by himself (errors, slowness, no answer) goes back. Where the data is
//! in doubt nothing moves and a person is asked. Everything else tells, and moves nothing.

use super::{Limits, at_least, at_most};
use crate::check::{Asker, unmeasured};
use segue_model::gate::{Against, Bound, NoData, Reference, Scope, Trigger, TriggerAction};
use segue_model::plan::UnitPlan;
use segue_model::{Side, What};
use std::sync::LazyLock;

/// Returns the triggers of a plan that names none.
///
/// Only those whose measure the unit has: a trigger that can never fire is worse than
/// none, because somebody relies on it.
pub fn triggers(unit: &UnitPlan) -> Vec<Trigger> {
    let has = |t: &&Trigger| unmeasured(unit, &t.bound, Asker::Trigger).is_none();
    ALL.iter().filter(has).cloned().collect()
}

static ALL: LazyLock<Vec<Trigger>> = LazyLock::new(|| {
    [users(), data(), compared(), copies(), world()].into_iter().flatten().collect()
});

/// What users notice: fail back.
fn users() -> Vec<Trigger> {
    let failing = What::FailedPerSecond(Side::Target);
    vec![
        Trigger { min_count: 10, ..trigger("target_failing", failing, at_most(1.0)) },
        // Less than that, but in every second of half a minute.
        Trigger {
            for_ms: 30_000,
            min_samples: 30,
            ..trigger("target_failing_still", failing, at_most(0.0))
        },
        Trigger {
            min_count: 10,
            ..trigger("target_slow", What::ResponseP95Ms(Side::Target), at_most(2000.0))
        },
        trigger("target_down", What::BackendHealthy(Side::Target), at_least(1.0)),
        trigger("probe_failing", What::ProbeFailed, at_most(0.0)),
        // The measure is a length of time already. Probes that all fail end late, so few
        // observations stand behind a sample.
        Trigger {
            for_ms: 500,
            min_samples: 1,
            min_count: 0,
            ..trigger("probe_interrupted", What::ProbeInterruptionMs, at_most(5000.0))
        },
    ]
}

/// Where going back by itself could lose or spread wrong data: a person is asked.
fn data() -> Vec<Trigger> {
    let ask = |trigger: Trigger| Trigger { action: TriggerAction::HoldAndAsk, ..trigger };
    let late = |name, max| {
        let lag = What::DatabaseLagMs(Side::Target);
        Trigger { for_ms: 10_000, ..trigger(name, lag, at_most(max)) }
    };
    let differ = |name, what| {
        ask(Trigger {
            for_ms: 2000,
            min_samples: 1,
            min_count: 0,
            ..trigger(name, what, at_most(0.0))
        })
    };
    vec![
        ask(Trigger {
            for_ms: 10_000,
            no_data: NoData::Violates,
            ..trigger("data_unreadable", What::DatabaseReadable(Side::Target), at_least(1.0))
        }),
        ask(late("way_back_late", 30_000.0)),
        differ("database_differs", What::DatabaseDifferences),
        differ("files_differ", What::FilesDifferences),
    ]
}

/// Worse than the source: told.
fn compared() -> Vec<Trigger> {
    let against = |with, slack| Some(Against { with, slack, min_clients: 0 });
    // Ten percent, and more than a few milliseconds: shorter answers differ by chance alone.
    // Fronts count by the second, and one or two seconds may have too few requests.
    let slower = |name, what: fn(Side) -> What, with, slack| Trigger {
        for_ms: 10_000,
        min_samples: 8,
        min_count: 10,
        against: against(with, slack),
        ..alert(name, what(Side::Target), at_most(1.1))
    };
    let several = |trigger: Trigger| Trigger {
        against: trigger.against.map(|against| Against { min_clients: 3, ..against }),
        ..trigger
    };
    let before = |name, what: fn(Side) -> What, limits, slack, min_count| Trigger {
        for_ms: 10_000,
        min_samples: 8,
        min_count,
        against: against(Reference::Before, slack),
        ..alert(name, what(Side::Target), limits)
    };
    vec![
        several(slower("slower_p50", What::ResponseP50Ms, Reference::OtherSide, 5.0)),
        several(slower("slower_p95", What::ResponseP95Ms, Reference::OtherSide, 20.0)),
        slower("slower_than_before", What::ResponseP95Ms, Reference::Before, 20.0),
        before("client_errors", What::ClientErrorPercent, at_most(2.0), 5.0, 10),
        // No request at all is the drop itself, so none need stand behind a sample.
        before("traffic_drop", What::RequestsPerSecond, at_least(0.5), 2.0, 0),
        before("app_errors", What::AppErrorsPerSecond, at_most(2.0), 0.5, 0),
    ]
}

/// The copies and the clocks they are judged by: told.
fn copies() -> Vec<Trigger> {
    let late = |name, what, max| Trigger { for_ms: 1000, ..alert(name, what, at_most(max)) };
    // Samples come every two to ten seconds, and one of them must always be in its time.
    let slow = |for_ms, trigger: Trigger| Trigger {
        for_ms,
        min_samples: 1,
        bound: Bound { fresh_for_ms: for_ms, ..trigger.bound },
        ..trigger
    };
    vec![
        late("lag", What::DatabaseLagMs(Side::Source), 5000.0),
        late("lag_back", What::DatabaseLagMs(Side::Target), 5000.0),
        late("files_late", What::FilesLagMs(Side::Source), 60_000.0),
        late("files_late_back", What::FilesLagMs(Side::Target), 60_000.0),
        slow(6500, alert("clock_source", What::ClockOffsetMs(Side::Source), at_most(100.0))),
        slow(6500, alert("clock_target", What::ClockOffsetMs(Side::Target), at_most(100.0))),
        Trigger {
            min_count: 0,
            ..slow(12_000, alert("counts_differ", What::CountDifference, at_most(0.0)))
        },
        slow(8000, alert("room_low", What::TargetRoomRatio, at_least(1.2))),
        // Refused until something measures it.
        slow(12_000, alert("mailbox_delta", What::MailboxDeltaBytes, at_most(100e6))),
    ]
}

/// What surrounds the unit: told.
fn world() -> Vec<Trigger> {
    let busy = |name, what: fn(Side) -> What, max| Trigger {
        for_ms: 8000,
        ..alert(name, what(Side::Target), at_most(max))
    };
    let arriving = |name, after_s: u64| Trigger {
        for_ms: 8000,
        min_count: 10,
        after_ms: after_s * 1000,
        ..alert(name, What::TargetArrivalPercent, at_least(95.0))
    };
    let resolvers = |trigger: Trigger| Trigger {
        for_ms: 5000,
        min_samples: 2,
        bound: Bound { fresh_for_ms: 40_000, ..trigger.bound },
        ..trigger
    };
    vec![
        busy("cpu_high", What::CpuPercent, 70.0),
        busy("ram_high", What::RamPercent, 80.0),
        Trigger { min_count: 20, ..alert("bounces", What::MailBouncePercent, at_most(5.0)) },
        Trigger {
            for_ms: 15_000,
            bound: Bound {
                fresh_for_ms: 15_000,
                ..alert("", What::LoginKept, at_least(1.0)).bound
            },
            ..alert("login_lost", What::LoginKept, at_least(1.0))
        },
        alert("canary_lost", What::CanarySeen, at_least(1.0)),
        resolvers(alert("resolvers_failing", What::ResolversFailing, at_most(2.0))),
        resolvers(Trigger {
            after_ms: 900_000,
            ..alert("resolvers_late", What::ResolversAtTargetPercent, at_least(95.0))
        }),
        arriving("arrivals_slow", 300),
        arriving("arrivals_late", 900),
    ]
}

fn trigger(name: &str, what: What, (max, min): Limits) -> Trigger {
    Trigger {
        name: name.to_owned(),
        bound: Bound { what, from: None, max, min, fresh_for_ms: 3000 },
        against: None,
        for_ms: 3000,
        after_ms: 0,
        min_samples: 3,
        min_count: 1,
        no_data: NoData::Ignore,
        action: TriggerAction::FailBack,
        scope: Scope::Unit,
    }
}

fn alert(name: &str, what: What, limits: Limits) -> Trigger {
    Trigger { action: TriggerAction::Alert, ..trigger(name, what, limits) }
}
