//! Does every known URL answer the same on both sides? URLs come from the source's own log; each is
//! asked twice at the source and once at the target, by turns. What the source itself does not
//! answer the same twice is noise and no difference.
//!
//! Only GET, without a cookie, and only below the paths that are allowed: a GET can write too.
//!
//! Servers are asked as fronts ask them: what visitors come for over TLS is asked with the word of a
//! front that they did, and where TLS goes to the server unread, over that. Both sides may still
//! answer alike and not as the log says; that is told, for it shows that something else was compared
//! than what visitors get.

mod urls;

pub use segue_model::compare::{Compared, Difference, Kind};
pub use urls::{Logged, logged};

use crate::client::{self, Line, Words};
use crate::tls::Tls;
use segue_model::compare::{Answer, HEADERS, Reader, Tally, judge};
use segue_model::plan::{FrontPlan, PortKind, SitePlan, UnitPlan};
use segue_model::{Side, Sides};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(30);

/// Examples of answers that are others than logged.
const EXAMPLES: usize = 5;

/// A server, and how it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Server {
    address: SocketAddr,
    /// Where connections to it come from, if not from anywhere.
    egress: Option<IpAddr>,
    /// Whether TLS is spoken with it.
    tls: bool,
}

/// What is compared.
pub struct Comparison {
    host: String,
    servers: Sides<Server>,
    /// The scheme in which visitors ask.
    scheme: &'static str,
    /// Pause between two URLs.
    pub every: Duration,
    /// Headers that are looked at, lower case.
    pub headers: Vec<String>,
}

/// Answers that are the same at both sides, and others than the log has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Otherwise {
    /// URLs that have one.
    pub count: usize,
    /// Some of them, values of their queries masked: `/a: 301, logged 200`.
    pub examples: Vec<String>,
}

/// What a comparison shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// How the sides differ.
    #[serde(flatten)]
    pub compared: Compared,
    /// How they do not, and the log does.
    pub otherwise: Otherwise,
}

impl Comparison {
    /// Compares the web servers of a site, around every front.
    pub fn of(unit: &UnitPlan, site: &SitePlan) -> Self {
        let over_tls = |front: &FrontPlan| front.ports.iter().any(|p| p.kind == PortKind::Tls);
        let over_tls = unit.fronts.iter().any(over_tls);
        let server = |side| {
            let backend = site.backends.get(side);
            let unread = backend.passthrough.filter(|_| over_tls && !backend.proxy_out);
            let address = unread.unwrap_or_else(|| backend.asked_at());
            Server { address, egress: unit.egress_to(side, address), tls: unread.is_some() }
        };
        Self {
            host: site.hosts.first().cloned().unwrap_or_default(),
            servers: Sides { source: server(Side::Source), target: server(Side::Target) },
            scheme: if over_tls { "https" } else { "http" },
            every: Duration::from_millis(100),
            headers: HEADERS.map(str::to_owned).to_vec(),
        }
    }

    async fn ask(&self, side: Side, path: &str) -> Option<(Answer, Duration)> {
        let Server { address, egress, tls } = *self.servers.get(side);
        // A certificate is for others to look at: here it is what stands behind it.
        let tls = tls.then(|| Tls::unverified(&self.host));
        let began = Instant::now();
        let asked = async {
            let mut line = Line::open_as(address, egress, tls.as_ref()).await.ok()?;
            // Whoever speaks TLS itself knows the scheme.
            let scheme = tls.is_none().then_some(self.scheme);
            line.get_as(&self.host, path, true, Words { scheme, ..Words::default() }).await.ok()
        };
        let answer = timeout(LIMIT, asked).await.ok().flatten()?;
        let took = began.elapsed();
        Some((taken(&answer, &self.headers), took))
    }
}

impl Otherwise {
    /// Notes a URL whose answer is the same at both sides.
    fn note(&mut self, url: &Logged, status: u16) {
        if url.has_class_of(status) {
            return;
        }
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{}: {status}, logged {}", url.masked(), url.status));
        }
    }
}

/// Asks for every URL; `progress` is told after each how many are done.
pub async fn compare(
    comparison: &Comparison,
    urls: &[Logged],
    mut progress: impl FnMut(usize),
) -> Replayed {
    let (mut tally, mut otherwise) = (Tally::default(), Otherwise::default());
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
        if let (Some(source), Some(target)) = (&first, &target)
            && source.status / 100 == target.status / 100
        {
            otherwise.note(url, source.status);
        }
        let noisy = ratio.is_some() && first != second;
        tally.note(&url.path, found, noisy, ratio);
        progress(number + 1);
        tokio::time::sleep(comparison.every.saturating_sub(began.elapsed())).await;
    }
    Replayed { compared: tally.compared(), otherwise }
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
