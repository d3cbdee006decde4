//! Does every known URL answer the same on both sides? URLs come from the source's own log; each is
//! asked twice at the source and once at the target, by turns. What the source itself does not
//! answer the same twice is noise and no difference.
//!
//! Only GET, without a cookie, and only below the paths that are allowed: a GET can write too.

mod answer;
mod urls;

pub use urls::{Logged, logged};

use crate::client::Line;
use answer::{Taken, differences};
use segue_model::plan::{SitePlan, UnitPlan};
use segue_model::{Side, Sides};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(30);

/// Examples of each kind of difference.
const EXAMPLES: usize = 5;

/// What is compared.
pub struct Comparison {
    host: String,
    servers: Sides<(SocketAddr, Option<IpAddr>)>,
    /// Pause between two URLs.
    pub every: Duration,
    /// Headers that are looked at, lower case.
    pub headers: Vec<String>,
}

/// In what two answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One side gave no answer.
    Unanswered,
    /// In the status.
    Status,
    /// In a header.
    Header,
    /// In the body.
    Body,
}

/// A kind of difference, with examples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// In what.
    pub kind: Kind,
    /// In words: `200 at the source, 404 at the target`.
    pub text: String,
    /// URLs in which it was found.
    pub count: usize,
    /// Some of them, values of their queries masked.
    pub examples: Vec<String>,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Compared {
    /// URLs that were asked.
    pub asked: usize,
    /// Those that answered the same.
    pub same: usize,
    /// Those whose source does not answer the same twice; what stayed the same was compared.
    pub noisy: usize,
    /// What differs, the most frequent first.
    pub differences: Vec<Difference>,
    /// Median of the target's time as a multiple of the source's, for the same URL; none without
    /// answers of both.
    pub time_ratio: Option<f64>,
    /// Bounds within which that median lies with 95 %; none below six URLs.
    pub time_bounds: Option<(f64, f64)>,
}

impl Comparison {
    /// Compares the web servers of a site, around every front.
    pub fn of(unit: &UnitPlan, site: &SitePlan) -> Self {
        let server = |side| {
            let address = site.backends.get(side).asked_at();
            (address, unit.egress_to(side, address))
        };
        let headers = ["content-type", "location", "cache-control", "content-encoding", "vary"];
        Self {
            host: site.hosts.first().cloned().unwrap_or_default(),
            servers: Sides { source: server(Side::Source), target: server(Side::Target) },
            every: Duration::from_millis(100),
            headers: headers.map(str::to_owned).to_vec(),
        }
    }

    async fn ask(&self, side: Side, path: &str) -> Option<(Taken, Duration)> {
        let (address, egress) = *self.servers.get(side);
        let began = Instant::now();
        let asked = async {
            let mut line = Line::open(address, egress).await.ok()?;
            line.get(&self.host, path, None, true).await.ok()
        };
        let answer = timeout(LIMIT, asked).await.ok().flatten()?;
        let took = began.elapsed();
        Some((Taken::of(&answer, &self.headers), took))
    }
}

/// Asks for every URL; `progress` is told after each how many are done.
pub async fn compare(
    comparison: &Comparison,
    urls: &[Logged],
    mut progress: impl FnMut(usize),
) -> Compared {
    let (mut all, mut ratios) = (Compared::default(), Vec::new());
    for (number, url) in urls.iter().enumerate() {
        let began = Instant::now();
        // The target between two of the source: what changes meanwhile is noise.
        let first = comparison.ask(Side::Source, &url.path).await;
        let target = comparison.ask(Side::Target, &url.path).await;
        let second = comparison.ask(Side::Source, &url.path).await;
        all.asked += 1;
        let found = match (&first, &target, &second) {
            (Some((first, before)), Some((target, took)), Some((second, after))) => {
                let source = (before.as_secs_f64() * after.as_secs_f64()).sqrt();
                ratios.push(took.as_secs_f64() / source.max(1e-9));
                all.noisy += usize::from(first != second);
                differences(first, target, second)
            }
            (None, _, _) | (_, _, None) if target.is_none() => Vec::new(),
            (None, _, _) | (_, _, None) => {
                vec![(Kind::Unanswered, "no answer at the source".to_owned())]
            }
            _ => vec![(Kind::Unanswered, "no answer at the target".to_owned())],
        };
        all.same += usize::from(found.is_empty());
        for (kind, text) in found {
            note(&mut all.differences, kind, text, url);
        }
        progress(number + 1);
        tokio::time::sleep(comparison.every.saturating_sub(began.elapsed())).await;
    }
    all.differences.sort_by_key(|difference| std::cmp::Reverse(difference.count));
    (all.time_ratio, all.time_bounds) = median(ratios);
    all
}

fn note(all: &mut Vec<Difference>, kind: Kind, text: String, url: &Logged) {
    let known = all.iter_mut().find(|known| known.kind == kind && known.text == text);
    match known {
        Some(known) => {
            known.count += 1;
            if known.examples.len() < EXAMPLES {
                known.examples.push(url.masked());
            }
        }
        None => all.push(Difference { kind, text, count: 1, examples: vec![url.masked()] }),
    }
}

/// Returns the median, and the bounds within which it lies with 95 %: those of a sign test, which
/// asks nothing of how times are distributed.
fn median(mut all: Vec<f64>) -> (Option<f64>, Option<(f64, f64)>) {
    all.sort_by(f64::total_cmp);
    let Some(middle) = all.get(all.len() / 2).copied() else { return (None, None) };
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let low = {
        let n = all.len() as f64;
        (n / 2.0 - 0.98 * n.sqrt()).floor().max(0.0) as usize
    };
    let bounds = (all.len() >= 6).then(|| (all[low], all[all.len() - 1 - low]));
    (Some(middle), bounds)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
