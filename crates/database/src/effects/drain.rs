//! Drain: the other side has applied everything up to the fence.

use crate::fault::{Deadline, Explain, need, text};
use crate::gtid::Position;
use crate::link::Link;
use crate::replica::MariaReplica;
use crate::stream;
use async_trait::async_trait;
use segue_doors::sql::Literal;
use segue_model::{Fault, FaultKind, Side};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Waits for the position that the fence read.
pub(crate) struct Drain(pub(crate) Arc<MariaReplica>);

/// Waits until the server of `replica` has applied `wanted`.
///
/// The server's own waiting wakes this at the right moment; what counts is the position
/// it shows afterwards.
///
/// # Errors
/// `SG0216` if the time is over, `SG0211` as soon as the stream has stopped.
pub(crate) async fn reach(
    link: &Link,
    replica: Side,
    wanted: &Position,
    deadline: Deadline,
) -> Outcome<Position> {
    let op = format!("wait until the {replica} has applied {wanted}");
    let mut wire = link.take(replica).await?;
    loop {
        let reached = stream::applied(&mut wire).await?;
        if reached.covers(wanted) {
            wire.close().await;
            return Ok(reached);
        }
        if deadline.over() {
            return Err(Fault::new(
                "SG0216",
                FaultKind::Timeout,
                op,
                format!("it is at {} by now", reached.only(wanted)),
            )
            .hint("see the lag before the next attempt; a long transaction delays the stream"));
        }
        stream::need_running(link, &mut wire, &op).await?;
        let seconds = deadline.left().as_secs_f64().clamp(0.001, 0.1);
        // Wait only for domains this server reads: the others are equal or not ours.
        let _woken: Option<i64> = wire
            .one(format!(
                "SELECT MASTER_GTID_WAIT({}, {seconds:.3})",
                Literal::new(wanted.to_string())
            ))
            .await
            .reading(&op)?;
    }
}

#[async_trait]
impl Effect for Drain {
    fn what(&self) -> String {
        format!("wait until schema `{}` has everything up to the fence", self.0.link.names.schema)
    }

    fn by_hand(&self) -> String {
        "nothing to undo: it only waits".into()
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let to = call.authority.way().to();
        let op = format!("drain to the {to}");
        let fence = need(call, "database.fence", &op)?;
        let wanted = stream::parse(&text(&fence, "gtid", &op)?, &op)?;
        let begun = Instant::now();
        let reached = reach(&self.0.link, to, &wanted, Deadline::of(call)).await?;
        Ok(json!({
            "effect": "database.drain",
            "at": to.as_str(),
            "wanted": wanted.to_string(),
            "reached": reached.only(&wanted).to_string(),
            "took_ms": begun.elapsed().as_secs_f64() * 1000.0,
        }))
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        // A drain belongs to a fence, and a fence to a process.
        Ok(Observed::NotApplied)
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        Ok(())
    }
}
