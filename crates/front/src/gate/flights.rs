//! Requests at the backends, in shards, each behind its own short lock.
//!
//! Whether the gate is open stands inside every shard. A request looks at it and
//! enters itself under the same lock; beginning a hold takes the locks of all shards.
//! So "is the unit quiet?" and "from now on requests wait" are one step, and the hot
//! path touches no lock that all requests share.

use crate::clock;
use crate::control::Running;
use http::Method;
use http::uri::PathAndQuery;
use segue_model::Side;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Number of shards; a few more than the cores a front uses.
const SHARDS: usize = 8;

/// Most running requests that an answer names.
const NAMED_MAX: usize = 10;

/// What is known of a request while it is at a backend.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    /// Its method.
    pub(crate) method: Method,
    /// Its path; shares the connection's buffer.
    pub(crate) path: Option<PathAndQuery>,
    /// When it was forwarded, microseconds.
    pub(crate) since_us: u64,
}

impl Flight {
    fn path(&self) -> &str {
        self.path.as_ref().map_or("/", |p| p.path())
    }
}

/// Place of a flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    shard: usize,
    slot: usize,
}

/// What keeps a hold from beginning.
pub(crate) struct Quiet<'a> {
    /// A request running longer is not quiet, microseconds.
    pub(crate) age_us: u64,
    /// A request whose path begins so is not quiet.
    pub(crate) slow_paths: &'a [String],
}

struct Slot {
    flight: Flight,
    stream: bool,
}

struct Shard {
    open: bool,
    side: Side,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    running: usize,
    streams: usize,
}

/// Keeps neighbouring shards off one cache line.
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// All flights of a unit.
pub(crate) struct Flights {
    shards: [Padded; SHARDS],
}

/// A flight entered, and the side it goes to.
pub(crate) struct Entered {
    /// Where it stands.
    pub(crate) place: Place,
    /// Where it goes.
    pub(crate) side: Side,
}

impl Shard {
    fn insert(&mut self, flight: Flight) -> usize {
        self.running += 1;
        let slot = Some(Slot { flight, stream: false });
        if let Some(at) = self.free.pop() {
            self.slots[at] = slot;
            at
        } else {
            self.slots.push(slot);
            self.slots.len() - 1
        }
    }
}

impl Flights {
    /// Builds empty shards that send to `side`.
    pub(crate) fn new(open: bool, side: Side) -> Self {
        let shard =
            || Shard { open, side, slots: Vec::new(), free: Vec::new(), running: 0, streams: 0 };
        Self { shards: std::array::from_fn(|_| Padded(Mutex::new(shard()))) }
    }

    /// Enters a flight if the gate is open; gives it back otherwise.
    pub(crate) fn enter(&self, hint: usize, flight: Flight) -> Result<Entered, Flight> {
        let shard = hint % SHARDS;
        let mut inside = self.lock(shard);
        if !inside.open {
            return Err(flight);
        }
        let slot = inside.insert(flight);
        Ok(Entered { place: Place { shard, slot }, side: inside.side })
    }

    /// Returns where flights go.
    pub(crate) fn side(&self, hint: usize) -> Side {
        self.lock(hint % SHARDS).side
    }

    /// Enters a flight whether or not the gate is open: a request that is released.
    pub(crate) fn admit(&self, hint: usize, flight: Flight) -> Place {
        let shard = hint % SHARDS;
        let slot = self.lock(shard).insert(flight);
        Place { shard, slot }
    }

    /// Takes a flight out.
    pub(crate) fn leave(&self, place: Place) {
        let mut shard = self.lock(place.shard);
        let gone = shard.slots.get_mut(place.slot).and_then(Option::take);
        if let Some(slot) = &gone {
            if slot.stream {
                shard.streams -= 1;
            } else {
                shard.running -= 1;
            }
            shard.free.push(place.slot);
        }
        drop(shard);
        // The path is freed outside the lock.
        drop(gone);
    }

    /// From now on the flight is a stream and does not count as running.
    pub(crate) fn make_stream(&self, place: Place) {
        let mut shard = self.lock(place.shard);
        if let Some(Some(slot)) = shard.slots.get_mut(place.slot)
            && !slot.stream
        {
            slot.stream = true;
            shard.running -= 1;
            shard.streams += 1;
        }
    }

    /// Opens the gate towards `side`.
    pub(crate) fn open(&self, side: Side) {
        for at in 0..SHARDS {
            let mut shard = self.lock(at);
            shard.open = true;
            shard.side = side;
        }
    }

    /// Sets the side without opening or closing.
    pub(crate) fn set_side(&self, side: Side) {
        for at in 0..SHARDS {
            self.lock(at).side = side;
        }
    }

    /// Closes the gate if the unit is quiet, in one step. Returns the number of open
    /// streams, or what is not quiet, longest running first.
    pub(crate) fn close_if(&self, quiet: &Quiet<'_>) -> Result<usize, (Vec<Running>, usize)> {
        let now = clock::now_us();
        // Always in the same order; nobody else takes two.
        let mut all: Vec<_> = (0..SHARDS).map(|at| self.lock(at)).collect();
        let loud: Vec<_> = all.iter().flat_map(|s| s.loud(quiet, now)).collect();
        if !loud.is_empty() {
            return Err(name(loud, now));
        }
        for shard in &mut all {
            shard.open = false;
        }
        Ok(all.iter().map(|s| s.streams).sum())
    }

    /// Returns what keeps the unit from being quiet, without closing.
    pub(crate) fn loud(&self, quiet: &Quiet<'_>) -> (Vec<Running>, usize) {
        let now = clock::now_us();
        let mut all = Vec::new();
        for at in 0..SHARDS {
            all.extend(self.lock(at).loud(quiet, now).map(Flight::clone));
        }
        name(all.iter().collect(), now)
    }

    /// Returns how many requests run and how many streams are open.
    pub(crate) fn count(&self) -> (usize, usize) {
        (0..SHARDS).map(|at| self.lock(at)).fold((0, 0), |(running, streams), shard| {
            (running + shard.running, streams + shard.streams)
        })
    }

    fn lock(&self, at: usize) -> MutexGuard<'_, Shard> {
        // No code that can panic runs under this lock.
        self.shards[at].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn loud<'a>(&'a self, quiet: &'a Quiet<'_>, now: u64) -> impl Iterator<Item = &'a Flight> {
        self.slots.iter().flatten().filter(|s| !s.stream).map(|s| &s.flight).filter(move |flight| {
            now.saturating_sub(flight.since_us) > quiet.age_us
                || quiet.slow_paths.iter().any(|p| flight.path().starts_with(p.as_str()))
        })
    }
}

fn name(mut flights: Vec<&Flight>, now: u64) -> (Vec<Running>, usize) {
    flights.sort_by_key(|f| f.since_us);
    let named = flights.iter().take(NAMED_MAX).map(|f| Running {
        method: f.method.to_string(),
        path: f.path().to_owned(),
        age_ms: now.saturating_sub(f.since_us) / 1_000,
    });
    (named.collect(), flights.len())
}
