//! One schema: takes its transactions from the reader and applies them in groups.

use super::apply::Applier;
use super::change::Change;
use super::{Grouping, Progress};
use crate::gtid::Position;
use segue_model::Fault;
use segue_port::Outcome;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

/// How often a checkpoint moves on while only others write, and an idle session is looked at.
const QUIET: Duration = Duration::from_secs(1);

/// What the reader sends.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The form of the events to come.
    Format(Vec<u8>),
    /// A part of a transaction, with the room it takes.
    Piece(Vec<u8>, OwnedSemaphorePermit),
    /// A change of definitions, which begins its transaction.
    Define(Box<Change>),
    /// What came of the transaction never happened.
    Abandon,
    /// The transaction has ended, and everything up to here was delivered.
    End(Position),
    /// Everything up to here was delivered; only others wrote.
    Mark(Position),
    /// What comes now cannot be applied.
    Refused(Fault),
}

/// Applies to one schema.
#[derive(Debug)]
pub(super) struct Follower {
    applier: Applier,
    grouping: Grouping,
    progress: watch::Sender<Progress>,
    /// Transactions that are added and not committed.
    pending: u64,
    /// When the first of them was added.
    since: Instant,
    /// The last part of a transaction that has not ended. It waits, so that a transaction
    /// that is refused half-way takes none before it along.
    held: Option<Vec<u8>>,
    /// Parts of it are added already: it is a long one, and alone in its group.
    partial: bool,
    /// Where the last complete transaction or mark stands.
    at: Option<Position>,
    /// When the checkpoint was last written.
    saved: Instant,
}

impl Follower {
    pub(super) fn new(
        applier: Applier,
        grouping: Grouping,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let now = Instant::now();
        Self {
            applier,
            grouping,
            progress,
            pending: 0,
            since: now,
            held: None,
            partial: false,
            at: None,
            saved: now,
        }
    }

    /// Applies until the reader ends; then commits what is complete.
    pub(super) async fn run(mut self, mut deliveries: mpsc::Receiver<Delivery>) -> Outcome<()> {
        let ended = self.work(&mut deliveries).await;
        // Nobody waits for what is taken back.
        drop(deliveries);
        // A transaction whose end has not come was not applied; what is before it was.
        self.applier.give_up().await;
        ended
    }

    async fn work(&mut self, deliveries: &mut mpsc::Receiver<Delivery>) -> Outcome<()> {
        loop {
            let Some(delivery) = self.next(deliveries).await? else {
                return self.save().await;
            };
            match delivery {
                Delivery::Format(event) => {
                    self.save().await?;
                    self.applier.format(event).await?;
                }
                Delivery::Piece(events, _room) => self.piece(events).await?,
                Delivery::Define(change) => {
                    self.save().await?;
                    self.applier.define(&change).await?;
                }
                Delivery::Abandon => {
                    self.held = None;
                    if std::mem::take(&mut self.partial) {
                        self.applier.take_back().await?;
                    }
                }
                Delivery::End(position) => {
                    if let Some(last) = self.held.take() {
                        self.add(&last).await?;
                    }
                    self.partial = false;
                    self.pending += 1;
                    self.at = Some(position);
                    if self.pending >= self.grouping.transactions
                        || self.since.elapsed() >= self.grouping.wait
                    {
                        self.save().await?;
                    }
                }
                Delivery::Mark(position) => self.mark(position).await?,
                Delivery::Refused(fault) => {
                    self.save().await?;
                    return Err(fault);
                }
            }
        }
    }

    /// Returns the next delivery; while nothing waits, commits and keeps the session alive.
    async fn next(
        &mut self,
        deliveries: &mut mpsc::Receiver<Delivery>,
    ) -> Outcome<Option<Delivery>> {
        match deliveries.try_recv() {
            Ok(delivery) => return Ok(Some(delivery)),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => {}
        }
        // Nobody is kept waiting for a group that may never be full.
        if self.pending > 0 {
            self.save().await?;
        }
        loop {
            match tokio::time::timeout(QUIET, deliveries.recv()).await {
                Ok(delivery) => return Ok(delivery),
                Err(_) => {
                    self.save().await?;
                    if !self.partial {
                        self.applier.keep_alive().await?;
                    }
                }
            }
        }
    }

    async fn piece(&mut self, events: Vec<u8>) -> Outcome<()> {
        if self.pending == 0 && !self.partial {
            self.since = Instant::now();
        }
        if let Some(earlier) = self.held.replace(events) {
            self.save().await?;
            self.partial = true;
            self.add(&earlier).await?;
        }
        Ok(())
    }

    /// Adds a part; what cannot be added takes no transaction before it along.
    async fn add(&mut self, events: &[u8]) -> Outcome<()> {
        if let Err(fault) = self.applier.fits(events.len()) {
            self.save().await?;
            return Err(fault);
        }
        self.applier.add(events).await
    }

    async fn mark(&mut self, position: Position) -> Outcome<()> {
        self.at = Some(position.clone());
        if self.pending > 0 {
            return Ok(());
        }
        self.progress.send_modify(|progress| progress.reached = position);
        if self.saved.elapsed() >= QUIET { self.save().await } else { Ok(()) }
    }

    /// Commits what is complete, or moves the checkpoint on; nothing while a transaction is
    /// half-way, or when nothing has come since the last time.
    async fn save(&mut self) -> Outcome<()> {
        if self.partial {
            return Ok(());
        }
        let Some(at) = self.at.take() else { return Ok(()) };
        let pending = std::mem::take(&mut self.pending);
        self.applier.commit(&at, pending).await?;
        self.saved = Instant::now();
        self.progress.send_modify(|progress| {
            progress.reached = at;
            progress.transactions += pending;
            progress.commits += u64::from(pending > 0);
        });
        Ok(())
    }
}
