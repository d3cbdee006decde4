//! Promote: the side the way leads to takes writes. From its intent the way back is a
//! failback.

use super::seal::{self, Closed};
use crate::events::{self, Event};
use crate::fault::{Deadline, Explain, need};
use crate::link::{Link, Wire};
use crate::logins::{self, Account};
use crate::replica::MariaReplica;
use crate::{epoch, stream};
use async_trait::async_trait;
use segue_model::{EffectLeft, Fault, FaultKind, Side};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Unlocks the logins and enables the events that the seal closed at the other side.
pub(crate) struct Promote(pub(crate) Arc<MariaReplica>);

/// Reads what the seal closed at the other side.
fn sealed(call: &Call, op: &str) -> Outcome<Closed> {
    let seal = need(call, "database.seal", op)?;
    let read = |field: &str| seal.get(field).cloned().unwrap_or(Value::Null);
    let wrong = |e: serde_json::Error| Fault::new("SG0221", FaultKind::Bug, op, e);
    Ok(Closed {
        accounts: serde_json::from_value(read("logins")).map_err(wrong)?,
        events: serde_json::from_value(read("events")).map_err(wrong)?,
    })
}

/// What there is to open at this side.
struct Opening {
    accounts: Vec<(Account, bool)>,
    events: Vec<Event>,
    /// Of the events, those that are enabled.
    enabled: usize,
}

impl Opening {
    /// Finds here what the seal closed there, and what an earlier seal closed here.
    async fn find(link: &Link, wire: &mut Wire, there: Closed) -> Outcome<Self> {
        let mut wanted = there;
        let earlier = seal::noted(link, wire).await?;
        wanted.accounts.extend(earlier.accounts);
        wanted.events.extend(earlier.events);
        let accounts = logins::of_users(wire, &logins::users(&wanted.accounts))
            .await?
            .into_iter()
            .filter(|(account, _)| wanted.accounts.contains(account))
            .collect();
        let wanted_event = |event: &Event| wanted.events.iter().any(|e| e.name == event.name);
        let mut events = events::of_schema(link, wire, true).await?;
        events.retain(wanted_event);
        let enabled = events.len();
        let mut off = events::of_schema(link, wire, false).await?;
        off.retain(wanted_event);
        events.extend(off);
        Ok(Self { accounts, events, enabled })
    }

    fn accounts(&self) -> Vec<Account> {
        self.accounts.iter().map(|(account, _)| account.clone()).collect()
    }

    fn output(&self, to: Side) -> Value {
        json!({
            "effect": "database.promote",
            "at": to.as_str(),
            "logins": self.accounts(),
            "events": self.events,
        })
    }
}

async fn need_way_back(link: &Link, from: Side, to: Side) -> Outcome<()> {
    let mut wire = link.take(from).await?;
    stream::need_running(link, &mut wire, &format!("promote the {to}")).await?;
    wire.close().await;
    Ok(())
}

#[async_trait]
impl Effect for Promote {
    fn what(&self) -> String {
        format!(
            "open schema `{}` for writing: unlock its logins, enable its events",
            self.0.link.names.schema
        )
    }

    fn by_hand(&self) -> String {
        let logins: Vec<String> =
            self.0.link.settings.plan.logins.iter().map(|l| format!("'{l}'@'%'")).collect();
        format!(
            "never on one side while the other is open; then ALTER USER {} ACCOUNT LOCK and end their sessions",
            logins.join(", ")
        )
    }

    async fn prepare(&self, call: &Call) -> Outcome<Value> {
        let link = &self.0.link;
        let (from, to) = (call.authority.way().from(), call.authority.way().to());
        need_way_back(link, from, to).await?;
        let mut wire = link.take(to).await?;
        let accounts = logins::planned(link, &mut wire).await?;
        let events = events::of_schema(link, &mut wire, true).await?;
        if accounts.is_empty() && !link.settings.plan.logins.is_empty() {
            return Err(Fault::new(
                "SG0209",
                FaultKind::NotFound,
                format!("promote the {to}"),
                "none of the plan's logins exists there",
            )
            .hint("seed again, or create the logins, locked"));
        }
        wire.ping().await.reading(&format!("prepare to promote the {to}"))?;
        *self.0.promoting.lock().await = Some(wire);
        Ok(json!({ "at": to.as_str(), "logins": accounts, "enabled_events": events }))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let link = &self.0.link;
        let to = call.authority.way().to();
        let op = format!("promote the {to}");
        let there = sealed(call, &op)?;
        let begun = Instant::now();
        let ready = self.0.promoting.lock().await.take();
        let mut wire = match ready {
            Some(wire) if wire.side() == to && !wire.is_spoilt() => wire,
            _ => link.take(to).await?,
        };
        let opening = Opening::find(link, &mut wire, there).await?;
        logins::set_locked(&mut wire, &opening.accounts(), false).await?;
        events::set(link, &mut wire, &opening.events, true).await?;
        // This side is no longer sealed by an earlier way.
        seal::forget(link, &mut wire).await.map_err(|fault| fault.leaving(EffectLeft::Done))?;
        self.0.armed.lock().await.take();
        let mut output = opening.output(to);
        output["took_ms"] = json!(begun.elapsed().as_secs_f64() * 1000.0);
        tokio::spawn(wire.close());
        Ok(output)
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let link = &self.0.link;
        let to = call.authority.way().to();
        let op = format!("see whether the {to} is promoted");
        let there = sealed(call, &op)?;
        let mut wire = link.open(to).await?;
        let opening = Opening::find(link, &mut wire, there).await?;
        wire.close().await;
        let all = opening.accounts.len();
        let open = opening.accounts.iter().filter(|(_, locked)| !locked).count();
        let events = opening.events.len();
        Ok(if open == all && opening.enabled == events && open + events > 0 {
            Observed::Applied(opening.output(to))
        } else if open == 0 && opening.enabled == 0 {
            Observed::NotApplied
        } else {
            Observed::Unknown(format!(
                "{open} of {all} logins are open, {} of {events} events are enabled",
                opening.enabled
            ))
        })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        let link = &self.0.link;
        let to = call.authority.way().to();
        let op = format!("close the {to} again");
        let there = sealed(call, &op)?;
        let mut wire = link.open(to).await?;
        let opening = Opening::find(link, &mut wire, there).await?;
        let accounts = opening.accounts();
        logins::set_locked(&mut wire, &accounts, true).await?;
        events::set(link, &mut wire, &opening.events, false).await?;
        epoch::end_sessions(&mut wire, &logins::users(&accounts), Deadline::of(call), &op).await?;
        wire.close().await;
        Ok(())
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        self.0.promoting.lock().await.take();
        epoch::quench(&self.0.link, &[call.authority.way().to()]).await
    }
}
