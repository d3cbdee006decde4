//! Fence: the side that is left refuses writes, for as long as this process says so.
//!
//! One session holds read locks on every table of the schema. The server itself ends the
//! session, and with it the locks, when it has heard nothing for the lease
//! (`wait_timeout`). So nothing has to survive this process for the tables to open again.

use crate::epoch;
use crate::fault::{Deadline, Explain};
use crate::link::Wire;
use crate::locks::{self, Place};
use crate::replica::MariaReplica;
use async_trait::async_trait;
use segue_model::event::Attempt;
use segue_model::{EffectLeft, Fault, FaultKind, Side};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// Leases after which a fence that nobody sealed is no longer renewed: a controller that
/// hangs must not keep the tables shut.
const RENEWALS: u32 = 15;
/// Longest wait for the locks, however much time the step has: a transaction that nobody ends
/// shall not keep a maintenance window waiting.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// A fence that was raised.
#[derive(Debug)]
pub(crate) struct Fence {
    pub(crate) side: Side,
    pub(crate) attempt: Attempt,
    pub(crate) output: Value,
    pub(crate) place: Place,
    wire: Arc<Mutex<Option<Wire>>>,
    lapsed: Arc<AtomicBool>,
    renewing: JoinHandle<()>,
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Fence {
    fn new(
        wire: Wire,
        attempt: Attempt,
        place: Place,
        output: Value,
        every: Duration,
        longest: Duration,
    ) -> Self {
        let side = wire.side();
        let wire = Arc::new(Mutex::new(Some(wire)));
        let lapsed = Arc::new(AtomicBool::new(false));
        let renewing = tokio::spawn(renew(Arc::clone(&wire), Arc::clone(&lapsed), every, longest));
        Self { side, attempt, output, place, wire, lapsed, renewing }
    }

    /// Returns whether the fence stood without a gap from when it was raised until now.
    ///
    /// Locks belong to a session and cannot come back: the session that answers is the one
    /// that got them, so an answer is the proof.
    pub(crate) async fn stands(&self) -> bool {
        if self.lapsed.load(Ordering::SeqCst) {
            return false;
        }
        let mut held = self.wire.lock().await;
        let stands = match held.as_mut() {
            Some(wire) => wire.ping().await.is_ok(),
            None => false,
        };
        if !stands {
            self.lapsed.store(true, Ordering::SeqCst);
        }
        stands
    }

    /// Unlocks the tables; an answer is the proof that they were locked until now.
    pub(crate) async fn lower(self) -> Outcome<()> {
        self.renewing.abort();
        let taken = self.wire.lock().await.take();
        let Some(mut wire) = taken else { return Err(lapsed(self.side)) };
        if self.lapsed.load(Ordering::SeqCst) {
            return Err(lapsed(self.side));
        }
        wire.run("UNLOCK TABLES").await.map_err(|_| lapsed(self.side))?;
        wire.close().await;
        Ok(())
    }

    /// Ends the fence, whether it stands or not.
    pub(crate) async fn release(self) {
        self.renewing.abort();
        let taken = self.wire.lock().await.take();
        if let Some(mut wire) = taken {
            // If it cannot be said, the server ends the session with the connection.
            let _ = wire.run("UNLOCK TABLES").await;
            wire.close().await;
        }
    }
}

/// Says that the lease lapsed.
pub(crate) fn lapsed(side: Side) -> Fault {
    Fault::new(
        "SG0215",
        FaultKind::LeaseLost,
        format!("keep the fence at the {side}"),
        "its lease lapsed: writes may have passed since",
    )
    .hint("the cutover withdraws by itself; begin another one")
}

async fn renew(
    wire: Arc<Mutex<Option<Wire>>>,
    lapsed: Arc<AtomicBool>,
    every: Duration,
    longest: Duration,
) {
    let begun = Instant::now();
    while begun.elapsed() < longest {
        tokio::time::sleep(every).await;
        let mut held = wire.lock().await;
        let Some(session) = held.as_mut() else { return };
        if let Err(error) = session.ping().await {
            tracing::warn!(%error, "the fence's session is gone");
            lapsed.store(true, Ordering::SeqCst);
            *held = None;
            return;
        }
    }
    tracing::warn!("the fence is not renewed any more: nobody sealed it");
}

/// Raises the fence at the side that the way leaves.
pub(crate) struct Raise(pub(crate) Arc<MariaReplica>);

impl Raise {
    async fn release(&self) {
        if let Some(fence) = self.0.fence.lock().await.take() {
            fence.release().await;
        }
    }
}

#[async_trait]
impl Effect for Raise {
    fn what(&self) -> String {
        format!(
            "lock every table of schema `{}` against writing, for {} s at a time",
            self.0.link.names.schema,
            self.0.link.settings.lease_seconds()
        )
    }

    fn by_hand(&self) -> String {
        format!(
            "nothing to do: the server frees the tables {} s after the controller is gone",
            self.0.link.settings.lease_seconds()
        )
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let link = &self.0.link;
        let side = call.authority.way().from();
        let op = format!("fence schema `{}` at the {side}", link.names.schema);
        // A position read under an earlier fence is worthless.
        self.release().await;
        let begun = Instant::now();
        let mut wire = link.take(side).await?;
        let seconds = link.settings.lease_seconds();
        wire.run(format!("SET SESSION wait_timeout = {seconds}, lock_wait_timeout = 1"))
            .await
            .reading(&op)?;
        wire.set_limit(Duration::from_secs(seconds));
        let (tables, attempts) = locks::lock_schema(
            link,
            &mut wire,
            Deadline::after(call.time_allowed.min(LOCK_PATIENCE)),
        )
        .await?;
        let place = locks::position(&mut wire).await?;
        let output = json!({
            "effect": "database.fence",
            "at": side.as_str(),
            "file": place.file,
            "offset": place.offset,
            "gtid": place.gtid,
            "tables": tables,
            "attempts": attempts,
            "connection": wire.id(),
            "took_ms": super::ms_since(begun),
        });
        *self.0.fence.lock().await = Some(Fence::new(
            wire,
            call.authority.attempt,
            place,
            output.clone(),
            link.settings.renewal(),
            // A step that may take longer than that may need its fence as long.
            (Duration::from_secs(seconds) * RENEWALS).max(call.time_allowed),
        ));
        Ok(output)
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let held = self.0.fence.lock().await;
        Ok(match held.as_ref() {
            Some(fence)
                if fence.attempt == call.authority.attempt
                    && fence.side == call.authority.way().from()
                    && fence.stands().await =>
            {
                Observed::Applied(fence.output.clone())
            }
            // A fence of another process ended with it.
            _ => Observed::NotApplied,
        })
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        self.release().await;
        Ok(())
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        self.release().await;
        epoch::quench(&self.0.link, &[call.authority.way().from()])
            .await
            .map_err(|fault| fault.leaving(EffectLeft::Maybe))
    }
}
