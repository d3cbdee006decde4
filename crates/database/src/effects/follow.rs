//! Follow and reverse: a stream in each direction.

use super::BOTH;
use crate::fault::{Deadline, Explain, fact, text};
use crate::replica::MariaReplica;
use crate::stream::members::{self, Stage};
use crate::{epoch, own, stream};
use async_trait::async_trait;
use segue_model::{EffectLeft, Fault, FaultKind, Side};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Establishes the stream that one server reads from the other.
pub(crate) struct Follow {
    replica: Arc<MariaReplica>,
    /// The server that reads.
    side: Side,
    stamp: &'static str,
}

impl Follow {
    /// The target reads from the source.
    pub(crate) fn forward(replica: Arc<MariaReplica>) -> Self {
        Self { replica, side: Side::Target, stamp: "database.follow" }
    }

    /// The source reads from the target: the way back.
    pub(crate) fn back(replica: Arc<MariaReplica>) -> Self {
        Self { replica, side: Side::Source, stamp: "database.reverse" }
    }

    fn name(&self) -> String {
        self.replica.link.names.connection(self.side)
    }

    /// Returns where the copied state ends in the origin's binary log.
    async fn begin(&self, call: &Call) -> Outcome<String> {
        let link = &self.replica.link;
        let op = format!("find where stream `{}` begins", self.name());
        match self.side {
            Side::Target => {
                if let Some(seed) = fact(call, "database.seed") {
                    return text(&seed, "gtid", &op);
                }
                let mut wire = link.open(Side::Target).await?;
                let mark = super::seed::mark(link, &mut wire).await?;
                wire.close().await;
                match mark {
                    Some(mark) if mark.state == "done" => text(&mark.output, "gtid", &op),
                    _ => Err(Fault::new(
                        "SG0221",
                        FaultKind::Invalid,
                        op,
                        "the schema was not seeded",
                    )
                    .hint("run the seed first")),
                }
            }
            // The copy is not in the target's binary log: whatever is in it by now is
            // either no business of the unit, or was there before the copy.
            Side::Source => {
                let mut wire = link.open(Side::Target).await?;
                let position = wire.one("SELECT @@GLOBAL.gtid_binlog_pos").await.reading(&op)?;
                wire.close().await;
                Ok(position)
            }
        }
    }

    /// Waits until a heartbeat written now at the origin has arrived.
    async fn wait_for_beat(&self, deadline: Deadline) -> Outcome<()> {
        let link = &self.replica.link;
        let origin = self.side.other();
        let op = format!("wait for a heartbeat over stream `{}`", self.name());
        let mut there = link.open(origin).await?;
        let mut here = link.open(self.side).await?;
        own::travelling(&mut there).await?;
        let table = link.names.heartbeat();
        let beat = own::beat_of(&table, &mut there, origin).await? + 1;
        own::beat(&table, &mut there, beat).await?;
        loop {
            if own::beat_of(&table, &mut here, origin).await? >= beat {
                there.close().await;
                here.close().await;
                return Ok(());
            }
            stream::need_running(link, &mut here, &op).await.or_else(|fault| {
                // A thread may be between two states; only lasting errors end the wait.
                if deadline.over() { Err(fault) } else { Ok(()) }
            })?;
            if deadline.over() {
                return Err(Fault::new("SG0216", FaultKind::Timeout, op, "it has not arrived")
                    .leaving(EffectLeft::Maybe)
                    .hint("the stream runs but is far behind; allow more time"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn output(&self, gtid: &str) -> Value {
        json!({ "effect": self.stamp, "stream": self.name(), "at": self.side.as_str(), "gtid": gtid })
    }
}

#[async_trait]
impl Effect for Follow {
    fn what(&self) -> String {
        format!(
            "bring the unit into stream `{}` at the {}: schema `{}` follows the {}",
            self.name(),
            self.side,
            self.replica.link.names.schema,
            self.side.other()
        )
    }

    fn by_hand(&self) -> String {
        let names = &self.replica.link.names;
        format!(
            "at the {0}: STOP SLAVE '{1}'; take what names `{2}` out of replicate_do_db and \
             replicate_wild_do_table of '{1}', DELETE FROM segue.stream WHERE unit = {3}; then \
             START SLAVE '{1}' with its reader's login unlocked, or RESET SLAVE '{1}' ALL if no \
             unit is left",
            self.side,
            self.name(),
            names.schema,
            names.unit_literal()
        )
    }

    async fn prepare(&self, call: &Call) -> Outcome<Value> {
        let mut wire = self.replica.link.open(self.side).await?;
        let noted = members::of(&self.replica.link, &mut wire).await?;
        wire.close().await;
        let from = match noted {
            Some(member) => member.gtid,
            None => self.begin(call).await?,
        };
        Ok(json!({ "from": from }))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let deadline = Deadline::of(call);
        // A cutover of this very unit that was given up must not be in its own way.
        self.replica.armed.lock().await.take();
        let from = match call.prepared.get("from").and_then(Value::as_str) {
            Some(from) => from.to_owned(),
            None => self.begin(call).await?,
        };
        stream::establish(&self.replica.link, self.side, &from, deadline).await?;
        self.wait_for_beat(deadline).await?;
        Ok(self.output(&from))
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        let link = &self.replica.link;
        let mut wire = link.open(self.side).await?;
        let noted = members::of(link, &mut wire).await?;
        let status = stream::status(link, &mut wire).await?;
        wire.close().await;
        Ok(match (noted, status) {
            (Some(member), Some(status))
                if member.stage == Stage::Following && status.runs() && status.carries(link) =>
            {
                Observed::Applied(self.output(&member.gtid))
            }
            // Half made is not made: `run` completes it.
            _ => Observed::NotApplied,
        })
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        self.replica.armed.lock().await.take();
        let link = &self.replica.link;
        // The epoch's session proves that this controller still acts. The administrator's takes
        // the connection away with its last unit: that wants RELOAD, which no epoch login has.
        let epoch = link.open(self.side).await?;
        let mut admin = link.admin(self.side).await?;
        stream::remove(link, &mut admin).await?;
        admin.close().await;
        epoch.close().await;
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        let link = &self.replica.link;
        epoch::quench(link, &BOTH).await?;
        let mut there = link.open(self.side.other()).await?;
        let mut here = link.open(self.side).await?;
        stream::shut_left_door(link, &mut there, &mut here).await?;
        there.close().await;
        here.close().await;
        Ok(())
    }
}
