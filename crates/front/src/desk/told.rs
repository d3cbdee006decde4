//! What the front tells about itself: its state and its counters, as a whole or of one unit.

use super::{Books, Desk};
use crate::clock;
use crate::control::{Hello, PortStatus, Stats, UnitStatus};
use crate::entrance::Entrance;
use crate::options::PortOptions;
use segue_model::{Sides, UnitName};

/// Most holds that an answer tells of: it is one line of bounded length.
const HOLDS_MAX: usize = 1_000;

impl Desk {
    /// Returns the state of the front, with that of a unit.
    pub(super) async fn hello(&self, only: Option<&UnitName>) -> Hello {
        let books = self.books.lock().await;
        let options = self.front.options();
        Hello {
            name: options.name.clone(),
            side: options.side,
            pid: std::process::id(),
            keeper: self
                .door
                .kept()
                .and(rustix::process::getppid())
                .map(|pid| pid.as_raw_nonzero().get()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ports: self.front.entrances().iter().map(|entrance| port(entrance)).collect(),
            listening: self.door.is_open(),
            claim: books.saved.head.claim.clone(),
            epoch: books.saved.head.epoch,
            generation: books.saved.head.generation,
            boot_ms: clock::now_ms(),
            started_ms: self.front.started_ms(),
            unit_count: books.saved.units.len(),
            units: only.and_then(|name| books.status(name)).into_iter().collect(),
        }
    }

    /// Returns what was counted, over all units or for one.
    pub(super) async fn stats(&self, only: Option<&UnitName>) -> Stats {
        let books = self.books.lock().await;
        let asked = |name: &UnitName| only.is_none_or(|only| only == name);
        let units = books.units.iter().filter(|(name, _)| asked(name));
        let mut holds: Vec<_> = units.flat_map(|(_, unit)| unit.gate.history()).collect();
        let split = only.and_then(|name| books.units.get(name)?.split.load_full());
        let mirror = only.and_then(|name| books.units.get(name)?.mirror.load_full());
        let of_unit = only.map(|name| books.units.get(name).map(|unit| unit.counts.clone()));
        drop(books);
        holds.sort_by_key(|hold| hold.began_ms);
        holds.drain(..holds.len().saturating_sub(HOLDS_MAX));
        let (connections, accepted, turned_away) = self.front.crowd().counts();
        let counts = match &of_unit {
            None => Some(self.front.counts()),
            Some(unit) => unit.as_deref(),
        };
        let mut stats = Stats {
            boot_ms: clock::now_ms(),
            holds,
            connections,
            accepted,
            turned_away,
            ..Stats::default()
        };
        if let Some(counts) = counts {
            stats.sides = Sides::from_fn(|side| counts.sides.get(side).totals());
            stats.windows = Sides::from_fn(|side| counts.sides.get(side).windows());
            stats.probes = counts.probes.totals();
            stats.relayed = counts.relayed.totals();
        }
        if let Some(counts) = counts {
            stats.tcp = Sides::from_fn(|side| counts.tcp.get(side).totals());
        }
        let late = self.front.stragglers().told(only);
        (stats.straggler_count, stats.stragglers) = (late.count, late.latest);
        stats.straggler_dropped_ms = late.dropped_ms;
        stats.mirror = mirror.map(|mirror| Box::new(mirror.report()));
        stats.trial = split.map(|split| Box::new(split.report(clock::now_us())));
        if only.is_none() {
            stats.unclear = self.front.unclear();
            stats.unshaken = self.front.unshaken();
            stats.other = self.front.other_lane().totals();
        }
        stats
    }
}

fn port(entrance: &Entrance) -> PortStatus {
    let options = entrance.options();
    let PortOptions { kind, listen, take_over, redirect, join, tls, proxy_in, tcp, .. } = options;
    let certificates = entrance.tls().map(|tls| tls.certs().told());
    let (kind, listen, taken_over, tls) = (*kind, *listen, *take_over, tls.clone());
    PortStatus {
        kind,
        listen,
        taken_over,
        redirect: *redirect,
        joined: *join,
        tls,
        tcp: tcp.clone(),
        proxy_in: *proxy_in,
        certificates,
    }
}

impl Books {
    fn status(&self, name: &UnitName) -> Option<UnitStatus> {
        let saved = self.saved.units.get(name)?;
        let live = self.units.get(name)?;
        let view = live.gate.view();
        let split = live.split.load();
        Some(UnitStatus {
            unit: name.clone(),
            sites: saved.sites.clone(),
            write_side: view.side,
            hold: view.hold,
            in_flight: view.running,
            streams: view.streams,
            held: view.held,
            out: live.sites.iter().flat_map(|site| site.out()).collect(),
            mirror: saved.mirror.clone(),
            policy: saved.policy.clone(),
            split: split.as_ref().map(|split| split.status(clock::now_us())),
        })
    }
}
