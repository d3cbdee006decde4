//! Arm: the way back is proven in this very attempt.

use crate::fault::{Deadline, Explain};
use crate::link::Wire;
use crate::replica::MariaReplica;
use crate::{counters, own, stream};
use async_trait::async_trait;
use segue_model::{Fault, FaultKind};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait for the other side before its counters are looked at.
const LEVELLING: Duration = Duration::from_secs(2);

/// Sends a marker from the side that will be promoted to the one that will be fenced.
pub(crate) struct Arm(pub(crate) Arc<MariaReplica>);

/// Segue's own login may write to a server that refuses everybody else's writes, so the
/// marker alone would not show it.
async fn writable(wire: &mut Wire, op: &str) -> Outcome<()> {
    let read_only: u64 = wire.one("SELECT @@GLOBAL.read_only").await.reading(op)?;
    if read_only == 0 {
        return Ok(());
    }
    let cause = format!("`read_only` is on at the {}: the unit could not write there", wire.side());
    Err(Fault::new("SG0237", FaultKind::Denied, op, cause).hint("SET GLOBAL read_only = OFF"))
}

#[async_trait]
impl Effect for Arm {
    fn what(&self) -> String {
        format!("prove the way back of schema `{}` with a marker", self.0.link.names.schema)
    }

    fn by_hand(&self) -> String {
        "nothing to undo: the marker is overwritten by the next one".into()
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let link = &self.0.link;
        let (from, to) = (call.authority.way().from(), call.authority.way().to());
        let deadline = Deadline::of(call);
        let op = format!("send a marker from the {to} to the {from}");
        // Held until promote: a pause must not wait for another unit that comes in.
        self.0.armed.lock().await.take();
        let armed = link.pair.cutover(deadline.left(), &op).await?;
        let mut there = link.open(to).await?;
        let mut here = link.open(from).await?;
        own::travelling(&mut there).await?;
        writable(&mut there, &op).await?;
        stream::need_running(link, &mut here, &op).await?;
        let token = format!(
            "{}-{}-{:016x}",
            call.authority.attempt.number,
            call.authority.epoch,
            rand::random::<u64>()
        );
        let begun = Instant::now();
        own::mark(link, &mut there, &token).await?;
        while own::mark_of(link, &mut here, to).await? != token {
            if deadline.over() {
                return Err(Fault::new("SG0213", FaultKind::Timeout, op, "it has not arrived")
                    .hint("see the stream at that server: SHOW ALL SLAVES STATUS"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let took = begun.elapsed();
        let levelling = Deadline::after(deadline.left().min(LEVELLING));
        // Not in the binary log: it is about this side's counters alone.
        there.run("SET SESSION sql_log_bin = 0").await.changing(&op)?;
        let raised = counters::level(link, &mut here, &mut there, levelling).await?;
        let at_to: String = there.one("SELECT @@GLOBAL.gtid_binlog_pos").await.reading(&op)?;
        let at_from: String = here.one("SELECT @@GLOBAL.gtid_binlog_pos").await.reading(&op)?;
        there.close().await;
        here.close().await;
        // What follows happens in a pause: no session is opened there.
        link.warm().await?;
        *self.0.armed.lock().await = Some(armed);
        Ok(json!({
            "effect": "database.arm",
            "token": token,
            "returned_ms": took.as_secs_f64() * 1000.0,
            "counters_raised": raised,
            "position": { to.as_str(): at_to, from.as_str(): at_from },
        }))
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        // A proof is worth nothing to a process that has not seen it: it is run again.
        Ok(Observed::NotApplied)
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        self.0.armed.lock().await.take();
        self.0.link.cool().await;
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        // A marker that is still on its way proves nothing and changes nothing. Whoever takes
        // a cutover back because a server does not answer must not need that server here.
        Ok(())
    }
}
