//! The questions before the steps.

use super::{Limits, at_least, at_most};
use crate::check::{Asker, unmeasured};
use segue_model::gate::{Before, Bound, GateNoData, GateSpec};
use segue_model::plan::UnitPlan;
use segue_model::{Side, What};
use std::sync::LazyLock;

/// Returns the gates of a plan that names none: those whose measure the unit has.
pub(crate) fn gates(unit: &UnitPlan) -> Vec<GateSpec> {
    let has = |gate: &&GateSpec| unmeasured(unit, &gate.bound, Asker::Gate).is_none();
    ALL.iter().filter(has).cloned().collect()
}

static ALL: LazyLock<Vec<GateSpec>> = LazyLock::new(all);

/// Returns every default gate.
///
/// How old a sample may be follows how often it is taken: lag ten times a second and only
/// while its stream runs, fronts and health once or twice a second, counts and room every
/// few seconds.
pub(crate) fn all() -> Vec<GateSpec> {
    use Side::{Source, Target};
    let lag = |name, side, max| GateSpec {
        failback: true,
        ..arm(name, What::DatabaseLagMs(side), at_most(max), 1000)
    };
    vec![
        // A copy needs room, and the same again for what grows while it is followed.
        GateSpec {
            before: Before::Seed,
            ..arm("room", What::TargetRoomRatio, at_least(1.2), 30_000)
        },
        both(arm("fronts_ready", What::FrontsReady, at_least(1.0), 2500)),
        both(arm("target_up", What::BackendHealthy(Target), at_least(1.0), 2500)),
        lag("database_lag", Source, 1000.0),
        // The way back runs and is close, before anything moves.
        lag("database_lag_back", Target, 1000.0),
        both(arm("source_readable", What::DatabaseReadable(Source), at_least(1.0), 2500)),
        both(arm("target_readable", What::DatabaseReadable(Target), at_least(1.0), 2500)),
        both(arm("files_lag", What::FilesLagMs(Source), at_most(60_000.0), 2500)),
        // A failback must not wait for what only a planned cutover owes.
        GateSpec { for_ms: 60_000, ..arm("all_traffic", What::DirectRequests, at_most(0.0), 2500) },
        GateSpec {
            no_data: GateNoData::Wait,
            ..arm("verified", What::VerifiedAgeS, at_most(3600.0), 1000)
        },
        // Until everything that still leads here is over, and a month to spare; as long as the
        // policy has the unit watched and kept warm.
        GateSpec {
            no_data: GateNoData::Wait,
            ..arm("certificates", What::CertificateDays, at_least(41.0), 120_000)
        },
        arm("safe_after", What::SafeAfterLeftS, at_most(0.0), 1000),
        arm("clock_source", What::ClockOffsetMs(Source), at_most(100.0), 15_000),
        arm("clock_target", What::ClockOffsetMs(Target), at_most(100.0), 15_000),
        arm("counts", What::CountDifference, at_most(0.0), 30_000),
        arm("canary", What::CanarySeen, at_least(1.0), 10_000),
        arm("mailbox_delta", What::MailboxDeltaBytes, at_most(100e6), 30_000),
        // A drain of this lag fits into any budget. The gate waits outside the pause.
        GateSpec { before: Before::Hold, ..lag("fence_lag", Source, 100.0) },
    ]
}

fn arm(name: &str, what: What, (max, min): Limits, fresh_for_ms: u64) -> GateSpec {
    GateSpec {
        name: name.to_owned(),
        before: Before::Arm,
        bound: Bound { what, from: None, max, min, fresh_for_ms },
        for_ms: 0,
        no_data: GateNoData::Wait,
        failback: false,
    }
}

fn both(gate: GateSpec) -> GateSpec {
    GateSpec { failback: true, ..gate }
}
