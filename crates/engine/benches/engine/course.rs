//! The records of a unit's way, as a run writes them.

use segue_engine::simulator::shape;
use segue_model::event::{Actor, Attempt, Event, Phase};
use segue_model::gate::{Answer, Judged, Standing, Verdict};
use segue_model::{Epoch, StepName};
use serde_json::json;

/// Tables of a unit that went, came back and went again.
const PHASES: [Phase; 5] =
    [Phase::Sync, Phase::Prepare, Phase::Cutover, Phase::Failback, Phase::Cutover];

/// What a unit is watched with between its tables.
const TRIGGERS: [&str; 4] = ["lag", "lag_back", "target_slow", "counts_differ"];

/// Returns `count` records of one unit under `epoch`: its tables, then what is told while it
/// is watched. Every one is legal after those before it.
pub(crate) fn of_unit(epoch: Epoch, count: usize) -> Vec<Event> {
    let mut events = Vec::with_capacity(count);
    for (place, phase) in (1..).zip(PHASES) {
        attempt(phase, place, epoch, &mut events);
    }
    let tables = events.len();
    events.extend((0..count.saturating_sub(tables)).map(watched));
    events.truncate(count);
    events
}

fn attempt(phase: Phase, number: u32, epoch: Epoch, events: &mut Vec<Event>) {
    let attempt = Attempt { phase, number };
    let table = shape(phase);
    let steps: Vec<StepName> = table.steps.iter().map(|step| step.name.clone()).collect();
    let by = Actor::Person("operator".into());
    events.push(Event::AttemptStarted { attempt, by, because: "wave 2".into() });
    events.push(Event::TableFixed { table });
    for step in steps {
        for (gate, verdict) in [("database_lag", Verdict::Wait), ("database_lag", Verdict::Pass)] {
            let because = "database lag source 4.1 ms, allowed at most 1000 ms".into();
            let answer = Answer { gate: gate.into(), verdict, because };
            events.push(Event::GateAnswered { step: step.clone(), answer });
        }
        let prepared = json!({ "before": { "ttl_s": 3600, "records": ["192.0.2.10"] } });
        events.push(Event::StepIntended { step: step.clone(), prepared, epoch });
        let output = json!({ "position": "1-1-204812", "took_ms": 3.25, "rows": 10_422 });
        events.push(Event::StepDone { step, output });
    }
    events.push(Event::AttemptCompleted);
}

/// What the journal is told of a unit that moved: verdicts, the timer, totals.
fn watched(turn: usize) -> Event {
    match turn % 4 {
        0 => Event::CommitTimerTold { left_ms: 3_600_000 - turn as u64 },
        1 => Event::Measured {
            what: "traffic".into(),
            detail: json!({ "requests": turn * 50, "failed": 0, "longest_ms": 81.4 }),
        },
        _ => Event::TriggerJudged {
            judged: Judged {
                trigger: TRIGGERS[turn / 4 % TRIGGERS.len()].into(),
                standing: if turn % 4 == 2 { Standing::NoData } else { Standing::Quiet },
                because: "database_lag_ms(source) from database-lag:source: 3..9 over 1000 ms, \
                          allowed at most 5000"
                    .into(),
            },
        },
    }
}
