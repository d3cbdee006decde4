//! Verify and compare: both sides are held at one moment in the pause, and compared
//! completely after it.

use crate::definitions;
use crate::digest::Snapshots;
use crate::fault::fact;
use crate::pieces::Pace;
use crate::replica::MariaReplica;
use async_trait::async_trait;
use segue_model::{Fault, FaultKind, Side};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Opens snapshots of both sides while the fence stands and nothing is left to apply.
pub(crate) struct Verify(pub(crate) Arc<MariaReplica>);

#[async_trait]
impl Effect for Verify {
    fn what(&self) -> String {
        format!(
            "hold both sides of schema `{}` at one moment for comparison",
            self.0.link.names.schema
        )
    }

    fn by_hand(&self) -> String {
        "nothing to undo: the snapshots end with the controller's sessions".into()
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let link = &self.0.link;
        let op = format!("hold both sides of schema `{}`", link.names.schema);
        let begun = Instant::now();
        match self.0.fence.lock().await.as_ref() {
            Some(fence) if fence.attempt == call.authority.attempt && fence.stands().await => {}
            _ => return Err(super::fence::lapsed(call.authority.way().from())),
        }
        let shapes = async {
            let (mut source, mut target) =
                tokio::try_join!(link.take(Side::Source), link.take(Side::Target))?;
            let shapes = tokio::try_join!(
                definitions::shape(link, &mut source),
                definitions::shape(link, &mut target)
            )?;
            Ok((shapes, source, target))
        };
        let ((shapes, source, target), snapshots) =
            tokio::try_join!(shapes, Snapshots::open(link))?;
        if shapes.0 != shapes.1 {
            return Err(Fault::new(
                "SG0224",
                FaultKind::Invalid,
                op,
                format!("the tables differ in shape (columns, digest): {} and {}", shapes.0, shapes.1),
            )
            .hint("a definition was changed without its schema selected, so it did not travel; apply it at the other side"));
        }
        let took_ms = begun.elapsed().as_secs_f64() * 1000.0;
        *self.0.snapshots.lock().await = Some(snapshots);
        tokio::spawn(async move {
            source.close().await;
            target.close().await;
        });
        Ok(json!({ "effect": "database.verify", "took_ms": took_ms }))
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        // Snapshots belong to the fence they were opened under.
        Ok(Observed::NotApplied)
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        let open = self.0.snapshots.lock().await.take();
        if let Some(snapshots) = open {
            snapshots.close().await;
        }
        Ok(())
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        self.undo(call).await
    }
}

/// Compares what `verify` holds.
pub(crate) struct Compare(pub(crate) Arc<MariaReplica>);

#[async_trait]
impl Effect for Compare {
    fn what(&self) -> String {
        format!("compare every row and definition of schema `{}`", self.0.link.names.schema)
    }

    fn by_hand(&self) -> String {
        "nothing to undo: it only reads".into()
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let open = self.0.snapshots.lock().await.take();
        let Some(snapshots) = open else {
            // They ended with the process that opened them. Nothing is known, which is
            // neither equal nor different.
            return Ok(json!({
                "effect": "database.compare",
                "lost": true,
                "differences": null,
                "note": "snapshots lost, compare again",
            }));
        };
        // Before promote users wait for it; after it they are served, and go first.
        let pace = match fact(call, "database.promote") {
            Some(_) => Pace::Gentle,
            None => Pace::Full,
        };
        let compared = snapshots.compare(&self.0.link, pace).await?;
        self.0.note(&compared);
        Ok(compared.output())
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        Ok(Observed::NotApplied)
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        Ok(())
    }
}
