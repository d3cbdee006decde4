//! The front's figures for those who read them all; `docs/metrics.md` lists them.

use super::{Desk, Unit};
use crate::clock;
use crate::control::{HoldStatus, Mirrored, SplitStatus, TcpTotals};
use crate::entrance::Entrance;
use crate::gate::View;
use crate::metrics::{Kind, Lanes, Text, UNITS_MAX, lanes};
use crate::stats::Counts;
use segue_model::{Side, UnitName};
use std::sync::Arc;

#[allow(clippy::cast_precision_loss)] // Prometheus knows no other numbers.
fn number(value: u64) -> f64 {
    value as f64
}

/// A unit as its figures show it.
struct Shown {
    name: UnitName,
    counts: Arc<Counts>,
    view: View,
    split: Option<SplitStatus>,
    mirrored: Option<Mirrored>,
}

impl Shown {
    fn of((name, unit): (&UnitName, &Unit)) -> Self {
        Self {
            name: name.clone(),
            counts: unit.counts.clone(),
            view: unit.gate.view(),
            split: unit.split.load().as_ref().map(|split| split.status(clock::now_us())),
            mirrored: unit.mirror.load_full().map(|mirror| mirror.report()),
        }
    }
}

/// Name and explanation of a number that only grows, and where it stands.
type Counter<T> = (&'static str, &'static str, fn(&T) -> u64);

/// Name, kind and explanation of a figure, and where it stands.
type Figure<T, N = f64> = (&'static str, Kind, &'static str, fn(&T) -> N);

impl Desk {
    /// Returns all figures in the form that Prometheus reads.
    pub(crate) async fn metrics(&self) -> String {
        let mut text = Text::default();
        self.whole(&mut text);
        let books = self.books.lock().await;
        let shown = books.units.len() <= UNITS_MAX;
        let units: Vec<_> = books.units.iter().filter(|_| shown).map(Shown::of).collect();
        text.figure("segue_front_units", Kind::Gauge, "Units that have a route.");
        text.value("segue_front_units", &[], number(books.units.len() as u64));
        drop(books);
        copies(&mut text, &units);
        splits(&mut text, &units);
        let mut all = Vec::new();
        for side in [Side::Source, Side::Target] {
            all.push(Lanes { unit: "", side, lane: self.front.counts().sides.get(side) });
            let of_unit = units.iter().map(|unit| Lanes {
                unit: unit.name.as_str(),
                side,
                lane: unit.counts.sides.get(side),
            });
            all.extend(of_unit);
        }
        lanes(&mut text, &all);
        self.tcp(&mut text, &units);
        gates(&mut text, &units);
        let name = "segue_front_stragglers";
        text.figure(
            name,
            Kind::Gauge,
            "Clients that came although their unit is at the other side.",
        );
        for unit in &units {
            let late = self.front.stragglers().count(&unit.name);
            text.value(name, &[("unit", unit.name.as_str())], number(late as u64));
        }
        text.done()
    }

    /// Writes what passed of which the front understands nothing but its bytes.
    fn tcp(&self, text: &mut Text, units: &[Shown]) {
        let mut any = self.front.entrances().iter().any(|e| e.options().tcp.is_some());
        self.front.routes().each(|site| any |= site.passthrough.is_some());
        if !any {
            return;
        }
        let all = ("", self.front.counts());
        let of_units = units.iter().map(|unit| (unit.name.as_str(), &*unit.counts));
        let all: Vec<_> = [all].into_iter().chain(of_units).collect();
        let figures: [Counter<TcpTotals>; 4] = [
            (
                "segue_front_tcp_connections_total",
                "Connections passed on unread that came as far as a server.",
                |totals| totals.connections,
            ),
            (
                "segue_front_tcp_failed_total",
                "Connections to be passed on unread that found no server, or waited in vain.",
                |totals| totals.failed,
            ),
            (
                "segue_front_tcp_received_bytes_total",
                "Bytes from clients over connections passed on unread.",
                |totals| totals.received,
            ),
            (
                "segue_front_tcp_sent_bytes_total",
                "Bytes to clients over connections passed on unread.",
                |totals| totals.sent,
            ),
        ];
        for (name, help, value) in figures {
            text.figure(name, Kind::Counter, help);
            for (unit, counts) in &all {
                for side in [Side::Source, Side::Target] {
                    let labels = [("unit", *unit), ("side", side.as_str())];
                    text.value(name, &labels, number(value(&counts.tcp.get(side).totals())));
                }
            }
        }
    }

    /// Writes what belongs to no unit.
    fn whole(&self, text: &mut Text) {
        let (connections, accepted, turned_away) = self.front.crowd().counts();
        text.figure("segue_front_connections", Kind::Gauge, "Client connections now open.");
        text.value("segue_front_connections", &[], number(connections));
        let open = u64::from(self.door.is_open());
        text.figure("segue_front_listening", Kind::Gauge, "1 while new connections are taken.");
        text.value("segue_front_listening", &[], number(open));
        let name = "segue_front_port_info";
        text.figure(name, Kind::Gauge, "A port: what is spoken there, and how the front has it.");
        for entrance in self.front.entrances() {
            let (listen, kind, how) = port(entrance);
            text.value(name, &[("listen", &listen), ("kind", kind), ("how", how)], 1.0);
        }
        let dropped = self.front.log().map_or(0, crate::log::Log::dropped);
        for (name, help, value) in [
            ("segue_front_accepted_total", "Client connections taken.", accepted),
            (
                "segue_front_turned_away_total",
                "Client connections refused, and requests of HTTP/2 in the place of one.",
                turned_away,
            ),
            (
                "segue_front_unclear_total",
                "Requests refused because they can be read in two ways.",
                self.front.unclear(),
            ),
            (
                "segue_front_refused_total",
                "Requests refused because no front can pass them on.",
                self.front.refused(),
            ),
            (
                "segue_front_unshaken_total",
                "TLS handshakes that came to no end.",
                self.front.unshaken(),
            ),
            (
                "segue_front_other_requests_total",
                "Requests for hosts that belong to no unit.",
                self.front.other_lane().totals().requests,
            ),
            (
                "segue_front_log_dropped_total",
                "Lines of the access log that were dropped.",
                dropped,
            ),
        ] {
            text.figure(name, Kind::Counter, help);
            text.value(name, &[], number(value));
        }
    }
}

/// Returns address and kind of a port, and how the front has it.
fn port(entrance: &Entrance) -> (String, &'static str, &'static str) {
    let options = entrance.options();
    let how = match options.redirect {
        Some(_) => "redirected",
        None if options.take_over => "taken_over",
        None if options.join => "joined",
        None => "bound",
    };
    (options.listen.to_string(), options.kind.as_str(), how)
}

/// Writes a figure of each unit that has it.
fn of_units<'a>(
    text: &mut Text,
    (name, kind, help): (&str, Kind, &str),
    values: impl Iterator<Item = (&'a UnitName, f64)>,
) {
    text.figure(name, kind, help);
    for (unit, value) in values {
        text.value(name, &[("unit", unit.as_str())], value);
    }
}

/// Writes what copies of requests showed.
fn copies(text: &mut Text, units: &[Shown]) {
    let mirrored = || units.iter().filter_map(|unit| Some((&unit.name, unit.mirrored.as_ref()?)));
    if mirrored().next().is_none() {
        return;
    }
    let figures: [Counter<Mirrored>; 3] = [
        ("segue_front_copies_total", "Copies of requests that were compared.", |copies| {
            copies.compared.asked as u64
        }),
        ("segue_front_copies_same_total", "Those of them that were answered the same.", |copies| {
            copies.compared.same as u64
        }),
        ("segue_front_copies_dropped_total", "Requests not copied for want of room.", |copies| {
            copies.dropped
        }),
    ];
    for (name, help, value) in figures {
        let values = mirrored().map(|(unit, copies)| (unit, number(value(copies))));
        of_units(text, (name, Kind::Counter, help), values);
    }
}

/// Writes how splits stand.
fn splits(text: &mut Text, units: &[Shown]) {
    let split = || units.iter().filter_map(|unit| Some((&unit.name, unit.split.as_ref()?)));
    if split().next().is_none() {
        return;
    }
    let figures: [Figure<SplitStatus>; 4] = [
        (
            "segue_front_split_share_ratio",
            Kind::Gauge,
            "Share of the visitors who read that the target gets.",
            |split| f64::from(split.percent) / 100.0,
        ),
        (
            "segue_front_split_breaker_open",
            Kind::Gauge,
            "1 while the front keeps visitors from a target that fails.",
            |split| f64::from(u8::from(split.open)),
        ),
        (
            "segue_front_split_breaker_opened_total",
            Kind::Counter,
            "How often it began to, since the share was set.",
            |split| number(split.opened),
        ),
        (
            "segue_front_split_saved_total",
            Kind::Counter,
            "Requests that the source answered after the target had failed, since the share was set.",
            |split| number(split.saved),
        ),
    ];
    for (name, kind, help, value) in figures {
        of_units(text, (name, kind, help), split().map(|(unit, split)| (unit, value(split))));
    }
}

/// Writes what gates look like, and what their holds were.
fn gates(text: &mut Text, units: &[Shown]) {
    let figures: [Figure<View, u64>; 8] = [
        ("segue_front_running", Kind::Gauge, "Requests at a backend.", |view| view.running as u64),
        ("segue_front_held", Kind::Gauge, "Requests that wait.", |view| view.held as u64),
        ("segue_front_streams", Kind::Gauge, "Open streams.", |view| view.streams as u64),
        (
            "segue_front_at_target",
            Kind::Gauge,
            "1 where the target takes the unit's requests.",
            |view| u64::from(view.side == Side::Target),
        ),
        ("segue_front_holding", Kind::Gauge, "1 while a hold is in force.", |view| {
            u64::from(matches!(view.hold, HoldStatus::Leased { .. } | HoldStatus::Sealed { .. }))
        }),
        ("segue_front_holds_total", Kind::Counter, "Holds.", |view| view.holds.holds),
        (
            "segue_front_held_total",
            Kind::Counter,
            "Requests and connections that waited in a hold.",
            |view| view.holds.waited,
        ),
        (
            "segue_front_held_refused_total",
            Kind::Counter,
            "Requests answered 503, and connections closed, in a hold: they waited too long, or too many did.",
            |view| view.holds.refused,
        ),
    ];
    for (name, kind, help, value) in figures {
        let values = units.iter().map(|unit| (&unit.name, number(value(&unit.view))));
        of_units(text, (name, kind, help), values);
    }
}
