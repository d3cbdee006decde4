//! The gate of a unit: lets requests pass, holds them, releases them in order.
//!
//! ```text
//!           begin                 release, lapse            queue empty
//!   open ----------> held --------------------> releasing ------------> open
//!                    (leased <-> sealed)           | begin
//!                      ^---------------------------'
//! ```
//! Lock order: core, then a shard of [`flights`]. A request that finds its shard
//! closed lets go of it before it takes the core's lock.

mod core;
mod flights;
mod hold;
mod pass;

pub(crate) use self::core::{Hold, HoldTotals};
pub(crate) use flights::{Flight, Quiet};
pub(crate) use hold::{Begin, Change};
pub(crate) use pass::Pass;

use self::core::{Core, Phase, Waiter};
use crate::clock;
use crate::control::{HoldRecord, HoldStatus, Running};
use flights::Flights;
use segue_model::{Side, Sides, UnitName};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Why a request was not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// As many wait already as may.
    TooMany,
    /// It and those that wait already hold more bytes than they may.
    TooLarge,
    /// It waited as long as it may.
    TooOld,
    /// Its client left while it waited.
    Left,
}

/// What a request costs that waits.
#[derive(Clone, Default)]
pub(crate) struct Weight {
    /// Bytes that are kept for it.
    pub(crate) bytes: u64,
    /// Says whether its client has left.
    pub(crate) left: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

/// The gate of one unit.
pub(crate) struct Gate {
    unit: UnitName,
    flights: Flights,
    core: Mutex<Core>,
    /// Rung when a flight ends while somebody waits for the unit to become idle.
    left: Notify,
    idle_waiters: AtomicUsize,
}

/// What a gate looks like from outside.
pub(crate) struct View {
    /// The side that takes the requests.
    pub(crate) side: Side,
    /// The hold.
    pub(crate) hold: HoldStatus,
    /// Requests at a backend.
    pub(crate) running: usize,
    /// Open streams.
    pub(crate) streams: usize,
    /// Requests that wait.
    pub(crate) held: usize,
    /// What its holds were.
    pub(crate) holds: HoldTotals,
}

impl Gate {
    /// Builds an open gate.
    pub(crate) fn new(unit: UnitName, side: Side, concurrency: Sides<usize>) -> Arc<Self> {
        Arc::new(Self {
            unit: unit.clone(),
            flights: Flights::new(true, side),
            core: Mutex::new(Core::new(unit, side, concurrency)),
            left: Notify::new(),
            idle_waiters: AtomicUsize::new(0),
        })
    }

    /// Lets a request pass, or makes it wait until it may. Dropping the future while it
    /// waits takes the request out of the queue. It is weighed if it has to wait, and then may
    /// change what is kept of it.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        hint: usize,
        mut flight: Flight,
        mut weigh: impl FnMut(&mut Flight) -> Weight,
    ) -> Result<Pass, Turned> {
        loop {
            flight = match self.flights.enter(hint, flight) {
                Ok(entered) => return Ok(Pass::direct(self, entered.place, entered.side)),
                Err(flight) => flight,
            };
            flight = match self.queue_up(hint, flight, &mut weigh)? {
                Queued::Opened(flight) => flight,
                Queued::Waits(waiting) => return Box::pin(waiting.admitted()).await,
            };
        }
    }

    fn queue_up(
        self: &Arc<Self>,
        hint: usize,
        mut flight: Flight,
        weigh: &mut impl FnMut(&mut Flight) -> Weight,
    ) -> Result<Queued, Turned> {
        let mut core = self.core();
        if core.phase == Phase::Open {
            return Ok(Queued::Opened(flight));
        }
        if core.queue.len() >= core.count_max {
            core.refuse();
            return Err(Turned::TooMany);
        }
        let weight = weigh(&mut flight);
        if core.bytes_max.is_some_and(|most| core.bytes + weight.bytes > most) {
            core.refuse();
            return Err(Turned::TooLarge);
        }
        core.bytes += weight.bytes;
        let ticket = core.next_ticket;
        core.next_ticket += 1;
        let (admit, admitted) = oneshot::channel();
        let since_us = clock::now_us();
        core.queue.push_back(Waiter { ticket, hint, flight, since_us, admit, weight });
        core.note(|record| record.held_count += 1);
        let age_max = core.age_max;
        Ok(Queued::Waits(Waiting { gate: self.clone(), ticket, admitted, age_max, done: false }))
    }

    /// Waits until no request runs at a backend. Returns how long that took, or what
    /// still runs when the time is over.
    pub(crate) async fn wait_idle(
        &self,
        timeout: Duration,
    ) -> Result<Duration, (Vec<Running>, usize)> {
        self.idle_waiters.fetch_add(1, Ordering::SeqCst);
        let began = clock::now_us();
        let idle = async {
            loop {
                let left = self.left.notified();
                tokio::pin!(left);
                // Registered before counting, so that no departure is missed.
                left.as_mut().enable();
                if self.flights.count().0 == 0 {
                    break;
                }
                left.await;
            }
        };
        let idle = tokio::time::timeout(timeout, idle).await;
        self.idle_waiters.fetch_sub(1, Ordering::SeqCst);
        let everything = Quiet { age_us: 0, slow_paths: &["".to_owned()] };
        match idle {
            Ok(()) => Ok(Duration::from_micros(clock::now_us().saturating_sub(began))),
            Err(_) => Err(self.flights.loud(&everything)),
        }
    }

    /// Sets where requests go; nothing may be held.
    pub(crate) fn set_route(&self, side: Side, concurrency: Sides<usize>) {
        let mut core = self.core();
        core.side = side;
        core.concurrency = concurrency;
        self.flights.set_side(side);
    }

    /// Sets how many bytes waiting requests may hold.
    pub(crate) fn set_bytes_max(&self, most: Option<u64>) {
        self.core().bytes_max = most;
    }

    /// Returns where requests go, whether or not they have to wait for it.
    pub(crate) fn heads_for(&self, hint: usize) -> Side {
        self.flights.side(hint)
    }

    /// Takes requests out of the queue whose clients have left.
    pub(crate) fn drop_leavers(&self) {
        let core = self.core();
        let asked = |w: &Waiter| Some((w.ticket, w.weight.left.clone()?));
        let waiting: Vec<_> = core.queue.iter().filter_map(asked).collect();
        drop(core);
        // Looked at without the lock: each look asks the system.
        let gone = waiting.into_iter().filter(|(_, left)| left()).map(|(ticket, _)| ticket);
        let gone: Vec<u64> = gone.collect();
        if gone.is_empty() {
            return;
        }
        let mut core = self.core();
        let out: Vec<_> = gone.into_iter().filter_map(|ticket| core.take(ticket)).collect();
        drop(core);
        tracing::debug!(unit = %self.unit, count = out.len(), "clients left while they waited");
    }

    /// Returns what the gate looks like.
    pub(crate) fn view(&self) -> View {
        let core = self.core();
        let (running, streams) = self.flights.count();
        View {
            side: core.side,
            hold: core.status(),
            running,
            streams,
            held: core.queue.len(),
            holds: core.hold_totals(),
        }
    }

    /// Returns the unit.
    pub(crate) fn unit(&self) -> &UnitName {
        &self.unit
    }

    /// Returns the side that takes the requests now.
    pub(crate) fn side(&self) -> Side {
        self.core().side
    }

    /// Returns whether requests are held.
    pub(crate) fn is_held(&self) -> bool {
        self.core().hold.is_some()
    }

    /// Returns whether requests are held without an end of their own.
    pub(crate) fn is_sealed(&self) -> bool {
        matches!(self.core().status(), HoldStatus::Sealed { .. })
    }

    /// Returns the holds of this gate, oldest first.
    pub(crate) fn history(&self) -> VecDeque<HoldRecord> {
        self.core().history.clone()
    }

    /// Remembers holds of a process before this one, besides those that are known.
    pub(crate) fn remember(&self, holds: &VecDeque<HoldRecord>) {
        self.core().remember(holds);
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets waiting requests through as far as pacing allows. Returns passes whose
    /// requests have gone meanwhile: to be dropped once the core's lock is free.
    fn admit(self: &Arc<Self>, core: &mut Core) -> Vec<Pass> {
        let mut orphans = Vec::new();
        let limit = (*core.concurrency.get(core.side)).max(1);
        while core.paced < limit {
            let Some(waiter) = core.next() else { break };
            let now = clock::now_us();
            let waited = clock::as_ms(now.saturating_sub(waiter.since_us));
            let mut flight = waiter.flight;
            flight.since_us = now;
            let place = self.flights.admit(waiter.hint, flight);
            core.paced += 1;
            match waiter.admit.send(Pass::paced(self, place, core.side)) {
                Ok(()) => core.note(|record| record.held_max_ms = record.held_max_ms.max(waited)),
                Err(pass) => orphans.push(pass),
            }
        }
        if core.queue.is_empty() {
            core.phase = Phase::Open;
            self.flights.open(core.side);
        }
        orphans
    }
}

enum Queued {
    Opened(Flight),
    Waits(Waiting),
}

/// A request in the queue.
struct Waiting {
    gate: Arc<Gate>,
    ticket: u64,
    admitted: oneshot::Receiver<Pass>,
    age_max: Duration,
    done: bool,
}

impl Waiting {
    async fn admitted(mut self) -> Result<Pass, Turned> {
        let outcome = tokio::time::timeout(self.age_max, &mut self.admitted).await;
        if let Ok(Ok(pass)) = outcome {
            self.done = true;
            return Ok(pass);
        }
        self.done = true;
        let mut core = self.gate.core();
        if core.take(self.ticket).is_some() {
            core.refuse();
            return Err(Turned::TooOld);
        }
        drop(core);
        // It was admitted in the same moment, or taken out because its client left.
        self.admitted.try_recv().map_err(|_| Turned::Left)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.done {
            drop(self.gate.core().take(self.ticket));
        }
    }
}
