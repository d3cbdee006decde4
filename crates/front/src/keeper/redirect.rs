//! The packet filter that leads new connections of live ports to this front: made, renewed and
//! taken away by the keeper alone, so that nobody else's renewal can come late.
//!
//! The filter's tool is another process and may be slow. So a task of its own waits for it, one
//! change after another; the keeper goes on meanwhile and hears what became of it.

use super::Event;
use crate::options::FrontOptions;
use segue_doors::nft::{LAPSES, Lasts, Redirect, Table};
use segue_model::{Fault, FaultKind};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// Pause between two renewals: three may fail before the time is over.
const RENEWED_EVERY: Duration = Duration::from_millis(500);

/// A renewal that is not done so long after the last good one began may come too late.
const DOUBTED: Duration = LAPSES.saturating_sub(Duration::from_millis(500));

/// How often live servers are given their ports back where that fails.
const OPEN_TRIES: usize = 3;

/// Orders that may wait for the one before; a worker asks for one thing at a time.
const ORDERS_MAX: usize = 16;

enum Order {
    Begin {
        guarded: bool,
        done: oneshot::Sender<Result<(), Fault>>,
    },
    /// Who asks and how long it waits, if an answer is wanted.
    Guard {
        guarded: bool,
        asks: Option<(u32, Instant)>,
    },
    Open {
        asks: Option<u32>,
        done: Option<oneshot::Sender<()>>,
    },
}

/// The table of this front, as the keeper has it changed.
pub(super) struct Redirects {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Redirects {
    /// Returns the table of a front with ports that are redirected; touches nothing. `tell` hears
    /// what becomes of it.
    ///
    /// # Errors
    /// `SG0121` if nothing says how the table is named, or from where the front itself connects.
    pub(super) fn of(
        options: &FrontOptions,
        tell: mpsc::Sender<(u32, Event)>,
    ) -> Result<Option<Self>, Fault> {
        let one = |port: &crate::options::PortOptions| {
            port.redirect.map(|to| Redirect { from: port.listen, to })
        };
        let all: Vec<_> = options.ports.iter().filter_map(one).collect();
        if all.is_empty() {
            return Ok(None);
        }
        let Some((run, egress)) = options.run.as_deref().zip(options.egress) else {
            let op = format!("lead connections to front `{}`", options.name);
            let cause = "no run is named, or no address for its own connections";
            return Err(Fault::new("SG0121", FaultKind::Invalid, op, cause)
                .hint("name `egress` in the plan, and let the controller start the front"));
        };
        let filter = Filter {
            table: Table::new(run, &options.name, all, egress),
            lasts: Lasts::Renewed,
            leads: false,
            begun: false,
            led: false,
            renewed: Instant::now(),
            tell,
        };
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        Ok(Some(Self { orders, task: tokio::spawn(filter.serve(taken)) }))
    }

    /// Leads new connections here. `guarded` if visitors must not reach the live server. Waited
    /// for: before that there is nobody to serve.
    pub(super) async fn begin(&self, guarded: bool) -> Result<(), Fault> {
        let (done, begun) = oneshot::channel();
        let sent = self.orders.send(Order::Begin { guarded, done }).await;
        match sent {
            Ok(()) => begun.await.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        }
    }

    /// Says whether visitors must not reach the live server, whoever dies. Whoever asks hears by
    /// [`Event::Guarded`] how it is then; returns whether that will be said.
    pub(super) fn guard(&self, guarded: bool, asks: Option<u32>) -> bool {
        let asks = asks.map(|number| (number, Instant::now() + super::GUARDS));
        self.orders.try_send(Order::Guard { guarded, asks }).is_ok()
    }

    /// Lets new connections through to the live server; those that are here go on. Whoever asks
    /// hears of it by [`Event::Opened`]; returns whether that will be said.
    pub(super) fn open(&self, asks: u32) -> bool {
        self.orders.try_send(Order::Open { asks: Some(asks), done: None }).is_ok()
    }

    /// The same, waited for.
    pub(super) async fn opened(&self) {
        let (done, opened) = oneshot::channel();
        if self.orders.send(Order::Open { asks: None, done: Some(done) }).await.is_ok() {
            let _ = opened.await;
        }
    }

    /// Takes the table away: no connection is here any more.
    pub(super) async fn remove(self) {
        drop(self.orders);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the packet filter may still lead connections here");
        }
    }
}

fn gone() -> Fault {
    let op = "lead connections to the front";
    Fault::new("SG0190", FaultKind::Bug, op, "what changes the packet filter has ended")
        .hint("its last words stand in the keeper's log")
}

/// Whoever waits for the filter's tool.
struct Filter {
    table: Table,
    lasts: Lasts,
    /// Between the first order and the one to open.
    leads: bool,
    /// Whether there was a beginning: what stood before that is not this process's.
    begun: bool,
    /// Whether it is sure that new connections come.
    led: bool,
    /// When the last good renewal began.
    renewed: Instant,
    tell: mpsc::Sender<(u32, Event)>,
}

impl Filter {
    /// Carries out orders and renews in between, until nobody gives any more.
    async fn serve(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut renewals = interval(RENEWED_EVERY);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let order = tokio::select! {
                biased;
                order = orders.recv() => order,
                _ = renewals.tick(), if self.leads => {
                    self.renew(self.lasts, Some(&orders)).await;
                    continue;
                }
            };
            match order {
                Some(Order::Begin { guarded, done }) => {
                    let _ = done.send(self.begin(guarded).await);
                }
                Some(Order::Guard { guarded, asks }) => {
                    let guarded = self.guard(guarded, asks.map(|(_, until)| until)).await;
                    self.answer(asks.map(|(number, _)| number), Event::Guarded(guarded)).await;
                }
                Some(Order::Open { asks, done }) => {
                    self.open().await;
                    self.answer(asks, Event::Opened).await;
                    done.map(|done| done.send(()));
                }
                None => return self.remove().await,
            }
        }
    }

    async fn answer(&self, asks: Option<u32>, event: Event) {
        if let Some(number) = asks {
            // A keeper that ends asks nobody any more.
            let _ = self.tell.send((number, event)).await;
        }
    }

    async fn begin(&mut self, guarded: bool) -> Result<(), Fault> {
        let began = Instant::now();
        self.lasts = lasts(guarded);
        self.table.insert(self.lasts).await?;
        (self.leads, self.begun, self.led, self.renewed) = (true, true, true, began);
        Ok(())
    }

    /// Goes on leading them; returns whether that was done. A table that somebody else removed is
    /// made again, unless one of these orders waits: whoever gave it would have it otherwise.
    async fn renew(&mut self, lasts: Lasts, before: Option<&mpsc::Receiver<Order>>) -> bool {
        let table = self.table.clone();
        let doubted = self.renewed + DOUBTED;
        let renewal = async move {
            let began = Instant::now();
            let fault = match table.renew(lasts).await {
                Ok(()) => return Ok(began),
                Err(fault) => fault,
            };
            if before.is_some_and(|orders| !orders.is_empty()) {
                return Err(fault);
            }
            tracing::warn!(%fault, table = table.name(), "made again");
            let began = Instant::now();
            table.insert_again(lasts).await.map(|()| began)
        };
        let mut renewal = std::pin::pin!(renewal);
        let done = tokio::select! {
            biased;
            done = &mut renewal => done,
            // Said while it may still be so: a gate that passes on it would be wrong a moment later.
            () = sleep_until(doubted), if self.led => {
                self.turn(false).await;
                renewal.await
            }
        };
        match done {
            Ok(began) => {
                self.renewed = began;
                // What came too late is followed by one that may not.
                self.turn(began.elapsed() < DOUBTED).await;
                true
            }
            Err(fault) => {
                tracing::error!(%fault, "new connections may go to the live server");
                self.turn(false).await;
                false
            }
        }
    }

    /// Says so, if it is another way than before.
    async fn turn(&mut self, led: bool) {
        if std::mem::replace(&mut self.led, led) != led {
            let _ = self.tell.send((0, Event::Led(led))).await;
        }
    }

    /// Says whether visitors must not reach the live server, whoever dies; returns how it is.
    /// Nothing is done for somebody who does not wait any more.
    async fn guard(&mut self, guarded: bool, until: Option<Instant>) -> bool {
        if !self.leads {
            // They reach it: a bypass began.
            return false;
        }
        // The next renewal does what this one may not come to do. Not so for a seal: it is refused
        // then, and an element without an end would stay after it.
        if !guarded || until.is_none() {
            self.lasts = lasts(guarded);
        }
        // What the table is like is not taken for known: somebody else may have removed it.
        if until.is_some_and(|until| until <= Instant::now())
            || !self.renew(lasts(guarded), None).await
        {
            tracing::error!(guarded, "the packet filter is not as it should be");
            return !guarded;
        }
        self.lasts = lasts(guarded);
        guarded
    }

    /// Lets new connections through to the live server; those that are here go on.
    async fn open(&mut self) {
        if !std::mem::take(&mut self.leads) {
            return;
        }
        // An element without an end does not lapse by itself: then nothing but this opens.
        for _ in 0..OPEN_TRIES {
            match self.table.open().await {
                Ok(()) => return,
                Err(fault) => tracing::error!(%fault, "live servers do not have their ports back"),
            }
            sleep(LAPSES).await;
        }
    }

    async fn remove(mut self) {
        if !self.begun {
            return;
        }
        self.open().await;
        if let Err(fault) = self.table.delete().await {
            tracing::error!(%fault, table = self.table.name(), "left behind: take it away by hand");
        }
    }
}

fn lasts(guarded: bool) -> Lasts {
    if guarded { Lasts::Stays } else { Lasts::Renewed }
}
