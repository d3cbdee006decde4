//! The front's figures for those who read them all.

use super::Desk;
use crate::control::Mirrored;
use crate::metrics::{Kind, Lanes, Text, UNITS_MAX, lanes};
use segue_model::{Side, UnitName};

#[allow(clippy::cast_precision_loss)] // Prometheus knows no other numbers.
fn number(value: u64) -> f64 {
    value as f64
}

impl Desk {
    /// Returns all figures in the form that Prometheus reads.
    pub(crate) async fn metrics(&self) -> String {
        let mut text = Text::default();
        self.whole(&mut text);
        let books = self.books.lock().await;
        let shown = books.units.len() <= UNITS_MAX;
        let units: Vec<_> = books
            .units
            .iter()
            .filter(|_| shown)
            .map(|(name, unit)| (name.clone(), unit.counts.clone(), unit.gate.view()))
            .collect();
        text.figure("segue_front_units", Kind::Gauge, "Units that have a route.");
        text.value("segue_front_units", &[], number(books.units.len() as u64));
        let mirrors = books
            .units
            .iter()
            .filter(|_| shown)
            .filter_map(|(name, unit)| Some((name.clone(), unit.mirror.load_full()?.report())));
        let mirrors: Vec<_> = mirrors.collect();
        drop(books);
        if !mirrors.is_empty() {
            Self::copies(&mut text, &mirrors);
        }
        let mut all = Vec::new();
        for side in [Side::Source, Side::Target] {
            all.push(Lanes { unit: "", side, lane: self.front.counts().sides.get(side) });
            let of_unit = units.iter().map(|(name, counts, _)| Lanes {
                unit: name.as_str(),
                side,
                lane: counts.sides.get(side),
            });
            all.extend(of_unit);
        }
        lanes(&mut text, &all);
        for (name, help) in [
            ("segue_front_running", "Requests at a backend."),
            ("segue_front_held", "Requests that wait."),
            ("segue_front_streams", "Open streams."),
            ("segue_front_at_target", "1 where the target takes the unit's requests."),
        ] {
            text.figure(name, Kind::Gauge, help);
            for (unit, _, view) in &units {
                let value = match name {
                    "segue_front_running" => view.running as u64,
                    "segue_front_held" => view.held as u64,
                    "segue_front_streams" => view.streams as u64,
                    _ => u64::from(view.side == Side::Target),
                };
                text.value(name, &[("unit", unit.as_str())], number(value));
            }
        }
        text.done()
    }

    /// Writes what copies of requests showed.
    fn copies(text: &mut Text, mirrors: &[(UnitName, Mirrored)]) {
        for (name, help) in [
            ("segue_front_copies_total", "Copies of requests that were compared."),
            ("segue_front_copies_same_total", "Those of them that were answered the same."),
            ("segue_front_copies_dropped_total", "Requests not copied for want of room."),
        ] {
            text.figure(name, Kind::Counter, help);
            for (unit, mirrored) in mirrors {
                let value = match name {
                    "segue_front_copies_total" => mirrored.compared.asked as u64,
                    "segue_front_copies_same_total" => mirrored.compared.same as u64,
                    _ => mirrored.dropped,
                };
                text.value(name, &[("unit", unit.as_str())], number(value));
            }
        }
    }

    /// Writes what belongs to no unit.
    fn whole(&self, text: &mut Text) {
        let (connections, accepted, turned_away) = self.front.crowd().counts();
        text.figure("segue_front_connections", Kind::Gauge, "Client connections now open.");
        text.value("segue_front_connections", &[], number(connections));
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
