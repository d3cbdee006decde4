//! What is asked how often, and when exactly: the schedule, fixed before anything is
//! sent and never slowed down by an answer.

use anyhow::Result;
use std::time::Duration;

/// Length of the mix's reference rate, requests a second.
const REFERENCE: f64 = 600.0;
/// Logins a second while the clients start.
const LOGINS: f64 = 100.0;
/// Head start of the first logins before everything else.
const LEAD: f64 = 0.5;

/// Kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A page from the database.
    Catalogue,
    /// A static file.
    Static,
    /// A page that writes although it is asked for with GET.
    Account,
    /// An order.
    Order,
    /// A file sent by the client.
    Upload,
    /// The beginning of a session.
    Login,
    /// A page that takes five seconds.
    Report,
    /// A stream of events.
    Events,
}

impl Kind {
    /// Returns the kind's name in the ledger.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Catalogue => "catalogue",
            Self::Static => "static",
            Self::Account => "account",
            Self::Order => "order",
            Self::Upload => "upload",
            Self::Login => "login",
            Self::Report => "report",
            Self::Events => "events",
        }
    }

    /// Returns how long an answer of this kind takes by nature.
    pub(crate) fn normal(self) -> Duration {
        Duration::from_secs(if self == Self::Report { 5 } else { 0 })
    }
}

#[derive(Debug)]
struct Flow {
    kind: Kind,
    first: f64,
    per_second: f64,
    count: u64,
    limit: u64,
}

impl Flow {
    fn next(&self) -> Option<f64> {
        (self.count < self.limit && self.per_second > 0.0)
            .then(|| self.first + self.count as f64 / self.per_second)
    }
}

/// The schedule: an endless row of kinds with their intended times.
#[derive(Debug)]
pub(crate) struct Mix(Vec<Flow>);

impl Mix {
    /// Returns the mix of the demo at `rate` requests a second, `orders` of them orders.
    /// Logins of the `clients` come first and on top.
    ///
    /// # Errors
    /// If the orders leave no room for the other kinds.
    pub(crate) fn new(rate: f64, orders: f64, clients: u64) -> Result<Self> {
        let scale = rate / REFERENCE;
        let (account, files, uploads) = (120.0 * scale, 110.0 * scale, 5.0 * scale);
        let catalogue = rate - orders - account - files - uploads;
        anyhow::ensure!(
            rate > 0.0 && orders >= 0.0 && catalogue >= 0.0,
            "{orders} orders a second leave no room for the other requests at rate {rate}; \
             at most {} are possible",
            (rate - account - files - uploads).floor()
        );
        let mut mix = Self(Vec::new());
        mix.add(Kind::Login, 0.0, LOGINS, clients);
        mix.add(Kind::Order, LEAD, orders, u64::MAX);
        mix.add(Kind::Account, LEAD + 0.001, account, u64::MAX);
        mix.add(Kind::Catalogue, LEAD + 0.002, catalogue, u64::MAX);
        mix.add(Kind::Static, LEAD + 0.003, files, u64::MAX);
        mix.add(Kind::Upload, LEAD + 0.1, uploads, u64::MAX);
        mix.add(Kind::Report, LEAD + 1.0, 1.0 / 8.0, u64::MAX);
        Ok(mix)
    }

    fn add(&mut self, kind: Kind, first: f64, per_second: f64, limit: u64) {
        self.0.push(Flow { kind, first, per_second, count: 0, limit });
    }

    /// Takes the next request: its kind and its time from the start.
    pub(crate) fn next(&mut self) -> Option<(Kind, Duration)> {
        let due = |flow: &Flow| flow.next().unwrap_or(f64::INFINITY);
        let flow = self.0.iter_mut().min_by(|a, b| due(a).total_cmp(&due(b)))?;
        let at = flow.next()?;
        flow.count += 1;
        Some((flow.kind, Duration::from_secs_f64(at)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_the_mix_has_the_promised_shares_in_order_of_time() {
        let mut mix = Mix::new(600.0, 150.0, 300).unwrap();
        let mut counts = std::collections::BTreeMap::<_, u64>::new();
        let mut last = Duration::ZERO;
        loop {
            let (kind, at) = mix.next().unwrap();
            if at >= Duration::from_secs_f64(60.0 + LEAD) {
                break;
            }
            assert!(at >= last);
            last = at;
            *counts.entry(kind).or_default() += 1;
        }
        let a_second = |kind| counts[&kind] as f64 / 60.0;
        assert!((a_second(Kind::Order) - 150.0).abs() < 0.1);
        assert!((a_second(Kind::Account) - 120.0).abs() < 0.1);
        assert!((a_second(Kind::Static) - 110.0).abs() < 0.1);
        assert!((a_second(Kind::Upload) - 5.0).abs() < 0.1);
        assert!((a_second(Kind::Catalogue) - 215.0).abs() < 0.1);
        assert_eq!(counts[&Kind::Login], 300);
        assert_eq!(counts[&Kind::Report], 8);
    }

    #[test]
    fn refuses_orders_beyond_the_rate() {
        let text = Mix::new(600.0, 500.0, 1).unwrap_err().to_string();
        assert!(text.contains("at most 365"), "{text}");
    }
}
