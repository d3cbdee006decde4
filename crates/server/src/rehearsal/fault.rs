//! Asked faults: each makes one trigger fire through sampler, board, judge and react, and what
//! it starts must happen.

use super::anomaly::{Anomaly, anomaly};
use super::guide::Guide;
use super::plant::{again, mend, plant};
use super::spec::FaultResult;
use crate::api::{Command, Pick};
use segue_model::event::Event;
use segue_model::gate::{Standing, Trigger, TriggerAction};
use segue_model::plan::Plan;
use segue_model::{Fault, FaultKind, Side};
use segue_port::Outcome;
use serde_json::Value;
use std::time::{Duration, Instant};

/// An alert must be there so long after the time for which its trigger waits, at the latest.
const IN_TIME: Duration = Duration::from_secs(45);
/// What it starts may take so long.
const FOLLOWS: Duration = Duration::from_secs(75);
const LOOK: Duration = Duration::from_millis(150);
/// So often a cutover after a fault is tried.
const FORWARD: u32 = 3;

/// Returns the word for an action.
pub(super) fn word(action: TriggerAction) -> &'static str {
    match action {
        TriggerAction::Alert => "alert",
        TriggerAction::StepBack => "step_back",
        TriggerAction::FailBack => "fail_back",
        TriggerAction::HoldAndAsk => "hold_and_ask",
    }
}

/// Returns how a trigger's anomaly is planted.
pub(super) fn planting(trigger: &Trigger, plan: &Plan) -> Anomaly {
    anomaly(trigger, plan)
}

/// Returns the names of the triggers that shall fire.
pub(super) fn named(plan: &Plan, asked: &[String]) -> Outcome<Vec<String>> {
    let known: Vec<String> = plan.policy.triggers.iter().map(|t| t.name.clone()).collect();
    let mut wanted = Vec::new();
    for name in asked {
        if name == "all" {
            wanted.clone_from(&known);
            break;
        }
        if !known.contains(name) {
            let op = format!("find trigger `{name}`");
            let cause = format!("unit `{}` has: {}", plan.unit.name, known.join(", "));
            return Err(Fault::new("SG0854", FaultKind::NotFound, op, cause)
                .hint("`segue rehearse HASH --list-faults` tells how each is planted"));
        }
        if !wanted.contains(name) {
            wanted.push(name.clone());
        }
    }
    Ok(wanted)
}

/// Plants every asked fault, one after the other.
pub(super) async fn all(guide: &mut Guide<'_>) -> Outcome<()> {
    let plan = guide.world.spec.plan.clone();
    for name in guide.world.spec.faults.clone() {
        let Some(trigger) = plan.policy.triggers.iter().find(|t| t.name == name) else { continue };
        let anomaly = anomaly(trigger, &plan);
        guide.say(&format!("fault `{name}`, {anomaly}"));
        let result = one(guide, trigger, &anomaly).await?;
        if !result.right {
            guide.problem(format!("fault `{name}`: {}", result.followed));
        }
        guide.result.faults.push(result);
        if guide.status().await?["stage"] != "watching" {
            guide
                .problem(format!("after fault `{name}` the unit did not come to the target again"));
            return Ok(());
        }
    }
    Ok(())
}

async fn one(guide: &mut Guide<'_>, trigger: &Trigger, anomaly: &Anomaly) -> Outcome<FaultResult> {
    let mut result = FaultResult {
        trigger: trigger.name.clone(),
        action: word(trigger.action).to_owned(),
        planted: anomaly.to_string(),
        fired_ms: None,
        followed: "it did not fire".to_owned(),
        followed_ms: None,
        right: false,
    };
    if !quiet(guide, &trigger.name).await? {
        result.followed = "it fired by itself, before its fault was planted".to_owned();
        return Ok(result);
    }
    let seq = guide.records()?.last().map_or(0, |record| record.seq);
    let began = Instant::now();
    if let Some(load) = &guide.load {
        load.expect_failures(true);
    }
    plant(guide, anomaly).await?;
    let limit = Duration::from_millis(trigger.for_ms + trigger.after_ms) + IN_TIME;
    while !fired(guide, seq, &trigger.name)? && began.elapsed() < limit {
        again(guide, anomaly)?;
        tokio::time::sleep(LOOK).await;
    }
    if fired(guide, seq, &trigger.name)? {
        result.fired_ms = Some(ms(began));
        let since = Instant::now();
        follow(guide, trigger, anomaly, seq, &mut result).await?;
        result.followed_ms = Some(ms(since));
    } else {
        let status = guide.status().await?;
        let why = status["triggers"][&trigger.name]["because"].as_str().unwrap_or("no verdict");
        result.followed = format!("it did not fire: {why}");
    }
    mend(guide, anomaly).await?;
    if let Some(load) = &guide.load {
        load.expect_failures(false);
    }
    forward_again(guide, trigger, anomaly, &mut result).await?;
    Ok(result)
}

#[allow(clippy::cast_possible_truncation)] // Milliseconds of a rehearsal.
fn ms(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

/// Waits until a trigger does not fire. One that fired with the fault of another has to be calm
/// by the journal again, which a verdict is only once it lasts: till then no alarm is news.
async fn quiet(guide: &Guide<'_>, name: &str) -> Outcome<bool> {
    let began = Instant::now();
    while began.elapsed() < IN_TIME {
        let status = guide.status().await?;
        let verdict = &status["triggers"][name]["verdict"];
        if verdict.is_string() && verdict != "fired" && !alarmed(guide, name)? {
            return Ok(true);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(false)
}

/// Whether the last that the journal knows of a trigger is that it fired.
fn alarmed(guide: &Guide<'_>, name: &str) -> Outcome<bool> {
    let records = guide.records()?;
    let last = records.iter().rev().find_map(|record| match &record.event {
        Event::TriggerJudged { judged } if judged.trigger == name => Some(judged.standing),
        _ => None,
    });
    Ok(last == Some(Standing::Fired))
}

/// Whether the journal says since `seq` that a trigger fired.
fn fired(guide: &Guide<'_>, seq: u64, name: &str) -> Outcome<bool> {
    Ok(guide.records()?.iter().filter(|record| record.seq > seq).any(|record| {
        match &record.event {
            Event::TriggerFired { trigger, .. } => trigger == name,
            Event::TriggerJudged { judged } => {
                judged.trigger == name && judged.standing == Standing::Fired
            }
            _ => false,
        }
    }))
}

/// Waits for what the trigger starts.
async fn follow(
    guide: &Guide<'_>,
    trigger: &Trigger,
    anomaly: &Anomaly,
    seq: u64,
    result: &mut FaultResult,
) -> Outcome<()> {
    let asked = |status: &Value| !status["asks"].is_null();
    let back = |status: &Value| {
        status["write_side"]["at"] == "source"
            && status["open"].is_null()
            && status["stage"] == "prepared"
    };
    match trigger.action {
        TriggerAction::Alert => {
            result.followed = "told".to_owned();
            result.right = true;
        }
        TriggerAction::FailBack if *anomaly != Anomaly::DatabaseStopped => {
            result.right = until(guide, back).await?;
            result.followed = if result.right {
                "failed back: the unit was at the source again".to_owned()
            } else {
                not_back(guide, seq)?
            };
        }
        // Going back without the target's last writes would lose them: a person is asked.
        TriggerAction::FailBack | TriggerAction::HoldAndAsk | TriggerAction::StepBack => {
            result.right = until(guide, asked).await?;
            result.followed = if result.right {
                "a person was asked, nothing moved".to_owned()
            } else {
                "it fired, and nobody was asked".to_owned()
            };
        }
    }
    Ok(())
}

/// Says why a unit did not come back.
fn not_back(guide: &Guide<'_>, seq: u64) -> Outcome<String> {
    let records = guide.records()?;
    let since = records.iter().filter(|record| record.seq > seq);
    let why: Vec<&str> = since
        .filter_map(|record| match &record.event {
            Event::WithdrawalStarted { because, .. } => Some(because.as_str()),
            _ => None,
        })
        .collect();
    let last = why.last().map(|text| text.chars().take(120).collect::<String>());
    let last = last.unwrap_or_else(|| "it never began".to_owned());
    Ok(format!("it fired, and the way back withdrew {} times, at last: {last}", why.len()))
}

async fn until(guide: &Guide<'_>, fits: impl Fn(&Value) -> bool) -> Outcome<bool> {
    let began = Instant::now();
    while began.elapsed() < FOLLOWS {
        if fits(&guide.status().await?) {
            return Ok(true);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(false)
}

/// Waits until what the fault still moves has ended, and its trigger is quiet.
async fn settled(guide: &Guide<'_>, name: &str) -> Outcome<()> {
    until(guide, |status| {
        let verdict = &status["triggers"][name]["verdict"];
        status["open"].is_null() && verdict != "fired" && verdict != "violating"
    })
    .await
    .map(drop)
}

/// How long visitors use the source before the next cutover: triggers compare with it.
const BASELINE: Duration = Duration::from_secs(8);

/// Cuts over once more. It may withdraw, as any cutover: that is not what is asked here.
async fn forward(guide: &mut Guide<'_>, name: &str) -> Outcome<()> {
    tokio::time::sleep(BASELINE).await;
    for try_ in 1..=FORWARD {
        let hash = guide.world.hash.clone();
        let cutover = Command::Cutover { hash, prepare_only: false, pick: Pick::default() };
        let (exit, text) = guide.command(cutover).await?;
        if exit == 0 {
            return Ok(());
        }
        tracing::warn!(try_, exit, text, "the cutover after a fault withdrew");
    }
    guide.problem(format!("after fault `{name}` the cutover withdrew {FORWARD} times"));
    Ok(())
}

/// Brings the unit to the target again, for the next fault.
async fn forward_again(
    guide: &mut Guide<'_>,
    trigger: &Trigger,
    anomaly: &Anomaly,
    result: &mut FaultResult,
) -> Outcome<()> {
    let status = guide.status().await?;
    if !status["asks"].is_null() {
        // What a person would do: with the database there again go back without loss.
        let back = match anomaly {
            Anomaly::DatabaseStopped => {
                let (exit, _) = guide.command(Command::Resume { pick: Pick::default() }).await?;
                exit == 0
            }
            _ => guide.go_back().await?,
        };
        if !back {
            result.right = false;
            result.followed += "; then it did not go back";
            return Ok(());
        }
        result.followed += "; then it went back without loss";
    }
    settled(guide, &trigger.name).await?;
    let at_source = guide.status().await?["write_side"]["at"] == "source";
    if at_source && trigger.action != TriggerAction::Alert {
        let whole = guide.kept(Side::Source, &format!("source after `{}`", trigger.name)).await?;
        result.right &= whole;
    }
    if at_source {
        forward(guide, &trigger.name).await?;
    }
    Ok(())
}
