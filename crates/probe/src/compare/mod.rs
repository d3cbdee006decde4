//! Does every known URL answer the same on both sides? URLs come from the source's own log; each is
//! asked twice at the source and once at the target, by turns. What the source itself does not
//! answer the same twice is noise and no difference.
//!
//! Only GET, without a cookie, and only below the paths that are allowed: a GET can write too.

mod urls;

pub use segue_model::compare::{Compared, Difference, Kind};
pub use urls::{Logged, logged};

use crate::client::{self, Line};
use segue_model::compare::{Answer, HEADERS, Reader, Tally, judge};
use segue_model::plan::{SitePlan, UnitPlan};
use segue_model::{Side, Sides};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(30);

/// What is compared.
pub struct Comparison {
    host: String,
    servers: Sides<(SocketAddr, Option<IpAddr>)>,
    /// Pause between two URLs.
    pub every: Duration,
    /// Headers that are looked at, lower case.
    pub headers: Vec<String>,
}

impl Comparison {
    /// Compares the web servers of a site, around every front.
    pub fn of(unit: &UnitPlan, site: &SitePlan) -> Self {
        let server = |side| {
            let address = site.backends.get(side).asked_at();
            (address, unit.egress_to(side, address))
        };
        Self {
            host: site.hosts.first().cloned().unwrap_or_default(),
            servers: Sides { source: server(Side::Source), target: server(Side::Target) },
            every: Duration::from_millis(100),
            headers: HEADERS.map(str::to_owned).to_vec(),
        }
    }

    async fn ask(&self, side: Side, path: &str) -> Option<(Answer, Duration)> {
        let (address, egress) = *self.servers.get(side);
        let began = Instant::now();
        let asked = async {
            let mut line = Line::open(address, egress).await.ok()?;
            line.get(&self.host, path, None, true).await.ok()
        };
        let answer = timeout(LIMIT, asked).await.ok().flatten()?;
        let took = began.elapsed();
        Some((taken(&answer, &self.headers), took))
    }
}

/// Asks for every URL; `progress` is told after each how many are done.
pub async fn compare(
    comparison: &Comparison,
    urls: &[Logged],
    mut progress: impl FnMut(usize),
) -> Compared {
    let mut tally = Tally::default();
    for (number, url) in urls.iter().enumerate() {
        let began = Instant::now();
        // The target between two of the source: what changes meanwhile is noise.
        let first = comparison.ask(Side::Source, &url.path).await;
        let target = comparison.ask(Side::Target, &url.path).await;
        let second = comparison.ask(Side::Source, &url.path).await;
        let mut ratio = None;
        if let (Some((_, before)), Some((_, took)), Some((_, after))) = (&first, &target, &second) {
            let source = (before.as_secs_f64() * after.as_secs_f64()).sqrt();
            ratio = Some(took.as_secs_f64() / source.max(1e-9));
        }
        let [first, target, second] = [first, target, second].map(|one| one.map(|(one, _)| one));
        let found = judge(first.as_ref(), target.as_ref(), second.as_ref());
        let noisy = ratio.is_some() && first != second;
        tally.note(&url.path, found, noisy, ratio);
        progress(number + 1);
        tokio::time::sleep(comparison.every.saturating_sub(began.elapsed())).await;
    }
    tally.compared()
}

/// Returns what is looked at of an answer.
fn taken(answer: &client::Answer, headers: &[String]) -> Answer {
    let value = |name: &String| {
        let values = answer.headers.get_all(name.as_str()).iter();
        let values: Vec<_> =
            values.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect();
        (name.clone(), values.join(", "))
    };
    let mut body = Reader::new(usize::MAX, &[]);
    body.read(&answer.body);
    let headers = headers.iter().map(value).collect();
    Answer { status: answer.status, headers, body: body.finish() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
