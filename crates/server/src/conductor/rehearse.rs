//! Rehearsals of the run's units: each in a room of its own, one after the other.

use super::{Conductor, together};
use crate::api::{Line, Pick};
use crate::plans;
use crate::progress::Rates;
use crate::rehearsal::{Asked, Said, rehearse};
use crate::unit::{Answer, Unit, refuse};
use segue_model::event::{Actor, Event};
use segue_model::{Fault, FaultKind};
use std::sync::Arc;

/// Exit code of a rehearsal that did not go through.
const DID_NOT_PASS: u8 = 5;

impl Conductor {
    /// Rehearses the units that are picked. The run begins, so that its journal has a place for
    /// what they measured; outside the rooms nothing is touched.
    pub(super) async fn rehearse(
        self: &Arc<Self>,
        hash: &str,
        pick: &Pick,
        asked: &Asked,
        by: Actor,
    ) -> Answer {
        let _one = self.rehearsing.try_lock().map_err(|_| {
            Fault::new("SG0813", FaultKind::Busy, "rehearse", "another rehearsal is under way")
                .hint("`segue watch` shows it; nothing was touched")
        })?;
        if self.journal.with(|state| state.run.is_some()) {
            self.same_plan(hash)?;
        } else {
            let _turn = self.turn.lock().await;
            let (whole, fleet) = plans::load(&self.dir, hash)?;
            self.begin_run(&whole, fleet, by).await?;
        }
        let mut answers = Vec::new();
        for unit in self.pick(pick)? {
            let name = unit.name().clone();
            if unit.state().excluded.is_some() {
                answers.push((name, Ok((0, "excluded".to_owned()))));
                continue;
            }
            let answer = self.rehearse_unit(&unit, asked).await;
            answers.push((name, answer));
        }
        together(answers)
    }

    async fn rehearse_unit(&self, unit: &Arc<Unit>, asked: &Asked) -> Answer {
        let progress = Rates::new(self.lines.clone(), Arc::clone(&self.clock));
        let name = unit.name().clone();
        let mut tell = |said: Said| {
            let line = match said {
                Said::Step { what, number, of } => Line::Progress {
                    what: format!("rehearsal of {name}: {what}"),
                    done: number,
                    total: of,
                    unit: "steps".to_owned(),
                    rate: 0.0,
                    eta_s: None,
                },
                // What the room's journal says is no record of this run.
                Said::Record { .. } => return,
            };
            // Nobody watching is no failure.
            let _ = self.lines.send(line);
        };
        let event = rehearse(&unit.plan, &self.dir, asked, &progress, &mut tell).await?;
        let told = told(&event);
        unit.journal.append(event).await?;
        told.ok_or_else(|| refuse("rehearse", "it left no result"))
    }
}

/// Returns exit code and sentences of a rehearsal's record.
fn told(event: &Event) -> Option<(u8, String)> {
    let Event::UnitRehearsed { passed, pause_ms, took_ms, detail, .. } = event else { return None };
    let number = |value: &serde_json::Value| {
        value.as_f64().map_or_else(|| "unknown".to_owned(), |number| format!("{number:.0}"))
    };
    let pause = pause_ms.map_or_else(|| "unknown".to_owned(), |ms| format!("{ms:.0} ms"));
    let visitors = &detail["visitors"];
    let mut lines = vec![
        format!(
            "rehearsal {}; a forecast, no proof: pause {pause}, cutover with its preparation {:.1} s",
            if *passed { "passed" } else { "DID NOT PASS" },
            std::time::Duration::from_millis(*took_ms).as_secs_f64()
        ),
        format!(
            "  {} requests ({} pages/s, {} writes/s), {} failed, longest write {} ms; egress closed, tried {} ways out",
            number(&visitors["requests"]),
            number(&detail["load"]["gets_per_second"]),
            number(&detail["load"]["writes_per_second"]),
            number(&visitors["failed"]),
            number(&visitors["longest_write_ms"]),
            detail["egress"]["tried"].as_array().map_or(0, Vec::len),
        ),
    ];
    for look in detail["ledger"].as_array().into_iter().flatten() {
        lines.push(format!(
            "  acknowledged writes at the {}: {}, lost {}, doubled {}; files {}, lost {}",
            look[0].as_str().unwrap_or("?"),
            look[1]["acknowledged"],
            look[1]["lost"],
            look[1]["doubled"],
            look[1]["files"],
            look[1]["files_lost"]
        ));
    }
    for fault in detail["faults"].as_array().into_iter().flatten() {
        lines.push(format!(
            "  fault {} ({}): {}; fired after {} ms; {}{}",
            fault["trigger"].as_str().unwrap_or("?"),
            fault["action"].as_str().unwrap_or("?"),
            fault["planted"].as_str().unwrap_or("?"),
            number(&fault["fired_ms"]),
            fault["followed"].as_str().unwrap_or("?"),
            if fault["right"] == true { "" } else { "  <-- WRONG" }
        ));
    }
    for (key, what) in
        [("not_rehearsed", "not rehearsed"), ("shortened", "shortened"), ("problems", "PROBLEM")]
    {
        for text in detail[key].as_array().into_iter().flatten() {
            lines.push(format!("  {what}: {}", text.as_str().unwrap_or("?")));
        }
    }
    Some((if *passed { 0 } else { DID_NOT_PASS }, lines.join("\n")))
}
