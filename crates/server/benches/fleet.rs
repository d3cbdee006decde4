//! Makes a run of many units of a run of one: what that unit's sync left in its journal is
//! written for every unit of a stored plan, as a controller would write it. `cargo xtask
//! bench engine` follows such a run; nothing here is linked into `segue`.
//!
//! Arguments: the run directory of one unit, the run directory of the many, their plan's hash.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use segue_engine::{Journal, SystemClock};
use segue_model::event::{Event, Record, UnitEntry};
use segue_model::state::Stage;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

#[tokio::main]
async fn main() {
    // `cargo bench` adds a word of its own.
    let mut wanted = std::env::args().skip(1).filter(|word| word != "--bench");
    let (one, many) =
        (PathBuf::from(wanted.next().unwrap()), PathBuf::from(wanted.next().unwrap()));
    let hash = wanted.next().unwrap();
    let template = Journal::read_all(&one).unwrap();
    let (hash, fleet) = segue_server::plans::load(&many, &hash).unwrap();
    let journal = Journal::open(&many, Arc::new(SystemClock)).unwrap();
    for record in &template {
        match &record.event {
            Event::EpochTaken { .. } => drop(journal.append(record.event.clone()).await.unwrap()),
            Event::RunStarted { run, by, .. } => {
                let entry = |plan: &Arc<segue_model::plan::Plan>| UnitEntry {
                    unit: plan.unit.name.clone(),
                    plan_hash: segue_plan::hash(plan),
                    wave: 1,
                };
                let started = Event::RunStarted {
                    run: run.clone(),
                    name: fleet.name.clone(),
                    plan_hash: hash.clone(),
                    units: fleet.units.iter().map(entry).collect(),
                    by: by.clone(),
                };
                journal.append(started).await.unwrap();
            }
            _ => {}
        }
    }
    let began = Instant::now();
    let of_unit: Arc<Vec<Record>> =
        Arc::new(template.into_iter().filter(|record| record.unit.is_some()).collect());
    let mut tasks = tokio::task::JoinSet::new();
    for plan in &fleet.units {
        let (unit, records) = (journal.of(plan.unit.name.clone()), Arc::clone(&of_unit));
        tasks.spawn(async move {
            for record in records.iter() {
                unit.append(record.event.clone()).await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    journal.with(|state| {
        assert!(
            state.units.values().all(|unit| unit.stage == Stage::Synced && unit.open.is_none())
        );
    });
    let events = of_unit.len() * fleet.units.len();
    let a_second = events as f64 / began.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "name": "events", "value": events }));
    println!("{}", serde_json::json!({ "name": "events a second", "value": a_second }));
}
