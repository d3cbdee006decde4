//! Reads a source's log once, and hands each schema's transactions to its follower.

use super::assemble::{Assembler, Step};
use super::faults;
use super::follower::Delivery;
use crate::fault::Explain;
use crate::gtid::Position;
use segue_doors::sql::SqlError;
use segue_doors::sql::log::{Log, LogEvent};
use segue_port::Outcome;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// How soon a follower of which nothing was written learns how far the reading is.
const MARK: Duration = Duration::from_millis(20);

/// Bytes that one unit of room stands for.
pub(super) const UNIT: usize = 1024;

/// Deliveries that wait for a follower, whatever their size.
pub(super) const WAITING: usize = 1024;

/// The server's error for a position that its log does not hold.
const NO_SUCH_POSITION: u16 = 1236;

/// What the reader and those who look at it share.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) events: AtomicU64,
    pub(super) transactions: AtomicU64,
    position: Mutex<Position>,
}

impl Figures {
    pub(super) fn position(&self) -> Position {
        self.position.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The reader's end of one follower.
#[derive(Debug)]
pub(super) struct Outlet {
    sender: mpsc::Sender<Delivery>,
    /// Room for what waits.
    room: Arc<Semaphore>,
    units: u32,
    waited_us: Arc<AtomicU64>,
    /// It takes no more: it has ended, or was refused something.
    closed: bool,
    /// It does not know how far the reading is.
    behind: bool,
}

impl Outlet {
    pub(super) fn new(
        sender: mpsc::Sender<Delivery>,
        room: Arc<Semaphore>,
        units: u32,
        waited_us: Arc<AtomicU64>,
    ) -> Self {
        Self { sender, room, units, waited_us, closed: false, behind: false }
    }

    /// Sends; waits while there is no room, and with it everybody who reads the same log.
    async fn send(&mut self, delivery: Delivery) {
        if self.closed {
            return;
        }
        match self.sender.try_send(delivery) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => self.closed = true,
            Err(mpsc::error::TrySendError::Full(delivery)) => {
                let begun = Instant::now();
                self.closed = self.sender.send(delivery).await.is_err();
                self.waited(begun);
            }
        }
    }

    /// Returns whether nobody takes what would be sent.
    fn is_over(&self) -> bool {
        self.closed || self.sender.is_closed()
    }

    async fn piece(&mut self, bytes: Vec<u8>) {
        if self.closed {
            return;
        }
        let units = u32::try_from(bytes.len() / UNIT + 1).unwrap_or(u32::MAX).min(self.units);
        let room = if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(units) {
            room
        } else {
            let begun = Instant::now();
            let room = tokio::select! {
                room = Arc::clone(&self.room).acquire_many_owned(units) => room.ok(),
                () = self.sender.closed() => None,
            };
            self.waited(begun);
            let Some(room) = room else {
                self.closed = true;
                return;
            };
            room
        };
        self.send(Delivery::Piece(bytes, room)).await;
    }

    fn waited(&self, begun: Instant) {
        let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Says how far the reading is, if there is room for it: who is busy learns it later.
    fn mark(&mut self, position: Position) {
        let sent = self.sender.try_send(Delivery::Mark(position));
        self.closed = matches!(sent, Err(mpsc::error::TrySendError::Closed(_)));
        self.behind = sent.is_err();
    }
}

/// Reads and hands out.
#[derive(Debug)]
pub(super) struct Reader {
    log: Log,
    assembler: Assembler,
    outlets: Vec<Outlet>,
    figures: Arc<Figures>,
    marked: Instant,
    behind: bool,
}

impl Reader {
    pub(super) fn new(
        log: Log,
        assembler: Assembler,
        outlets: Vec<Outlet>,
        figures: Arc<Figures>,
    ) -> Self {
        Self { log, assembler, outlets, figures, marked: Instant::now(), behind: true }
    }

    /// Reads until it is stopped, or nobody follows any more.
    ///
    /// # Errors
    /// What cannot be read, or cannot be understood.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Outcome<()> {
        let mut steps = Vec::new();
        let ended = loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                event = self.log.next() => event,
                () = tokio::time::sleep(MARK), if self.behind => {
                    self.mark();
                    continue;
                }
            };
            let taken = self.explain(event).and_then(|event| {
                self.figures.events.fetch_add(1, Ordering::Relaxed);
                self.assembler.take(event, &mut steps)
            });
            // What came before the fault is handed out all the same.
            let stopped = tokio::select! {
                () = self.hand_out(&mut steps) => false,
                () = stop.cancelled() => true,
            };
            // Not handed out whole, a transaction must not count as read.
            if stopped {
                return taken.map(drop);
            }
            // Heartbeats come too, so a follower that ended by itself is noticed.
            if taken.is_err() || self.outlets.iter().all(Outlet::is_over) {
                break taken;
            }
        };
        self.mark();
        self.log.close().await;
        ended
    }

    fn explain(&self, event: Result<LogEvent, SqlError>) -> Outcome<LogEvent> {
        match event {
            Err(error) if error.code() == Some(NO_SUCH_POSITION) => {
                Err(faults::gap(&self.assembler.position.to_string()))
            }
            Err(SqlError::Unexpected(cause)) => Err(faults::broken(&cause)),
            other => other.reading(faults::READING),
        }
    }

    async fn hand_out(&mut self, steps: &mut Vec<Step>) {
        for step in steps.drain(..) {
            match step {
                Step::Format(event) => {
                    for outlet in &mut self.outlets {
                        outlet.send(Delivery::Format(event.clone())).await;
                    }
                }
                Step::Piece(number, bytes) => self.outlets[number].piece(bytes).await,
                Step::Define(number, change) => {
                    self.outlets[number].send(Delivery::Define(change)).await;
                }
                Step::Abandon(numbers) => {
                    for number in numbers {
                        self.outlets[number].send(Delivery::Abandon).await;
                    }
                }
                Step::Refuse(number, fault) => {
                    let outlet = &mut self.outlets[number];
                    outlet.send(Delivery::Refused(fault)).await;
                    outlet.closed = true;
                }
                Step::End(touched) => {
                    let position = &self.assembler.position;
                    for outlet in &mut self.outlets {
                        outlet.behind = true;
                    }
                    for number in touched {
                        let outlet = &mut self.outlets[number];
                        outlet.behind = false;
                        outlet.send(Delivery::End(self.assembler.reached(number))).await;
                    }
                    self.behind = true;
                    self.figures.transactions.fetch_add(1, Ordering::Relaxed);
                    *self.figures.position.lock().unwrap_or_else(PoisonError::into_inner) =
                        position.clone();
                    if self.marked.elapsed() >= MARK {
                        self.mark();
                    }
                }
            }
        }
    }

    fn mark(&mut self) {
        for (number, outlet) in self.outlets.iter_mut().enumerate() {
            if outlet.behind && !outlet.closed {
                outlet.mark(self.assembler.reached(number));
            }
        }
        self.marked = Instant::now();
        self.behind = self.outlets.iter().any(|outlet| outlet.behind && !outlet.closed);
    }
}
