//! Samples of the fronts' last full second, over all fronts.

use crate::fronts::Fronts;
use async_trait::async_trait;
use futures_util::future::join_all;
use segue_front::control::{Stats, Window};
use segue_model::{Sample, Side, What};
use segue_port::{Outcome, Sampler};
use std::sync::Arc;
use std::time::Duration;

impl Fronts {
    /// Returns the sampler of all fronts together.
    pub fn sampler(self: &Arc<Self>) -> Arc<dyn Sampler> {
        Arc::new(FrontSampler { fronts: Arc::clone(self) })
    }
}

struct FrontSampler {
    fronts: Arc<Fronts>,
}

#[async_trait]
impl Sampler for FrontSampler {
    fn name(&self) -> String {
        "fronts".into()
    }

    fn every(&self) -> Duration {
        Duration::from_millis(500)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        // A share of nothing says nothing.
        if self.fronts.links.is_empty() {
            return Ok(Vec::new());
        }
        let unit = &self.fronts.settings.unit.name;
        let hellos = self.fronts.hellos().await;
        let ready = hellos
            .iter()
            .filter(|(_, hello)| {
                hello.as_ref().is_ok_and(|h| {
                    h.listening
                        && h.claim.as_ref() == Some(&self.fronts.settings.run)
                        && h.unit(unit).is_some()
                })
            })
            .count();
        let write_side = hellos
            .iter()
            .find_map(|(_, hello)| hello.as_ref().ok()?.unit(unit).map(|u| u.write_side));
        let mut samples =
            vec![sample(What::FrontsReady, share(ready, hellos.len()), 1, now_boot_ms)];
        // A sum over some of the fronts would look like a drop in traffic: all or nothing.
        if ready == hellos.len() {
            let stats = self.stats().await?;
            let last = (now_boot_ms / 1_000).saturating_sub(1);
            for side in [Side::Source, Side::Target] {
                samples.extend(of_side(side, last, &stats, now_boot_ms));
            }
            if let Some(write_side) = write_side {
                let left = write_side.other();
                let arrived: u64 = stats
                    .iter()
                    .filter(|(name, _)| self.fronts.stands_at(name, left))
                    .flat_map(|(_, s)| {
                        [window(s, Side::Source, last), window(s, Side::Target, last)]
                    })
                    .flatten()
                    .map(|w| w.count)
                    .sum();
                #[allow(clippy::cast_precision_loss)] // Counts of one second.
                samples.push(sample(What::StragglersPerSecond, arrived as f64, 1, now_boot_ms));
                samples.extend(self.arrivals(&stats, last, now_boot_ms));
            }
            samples.extend(different(&stats, now_boot_ms));
        }
        Ok(samples)
    }
}

impl FrontSampler {
    /// Returns which part of the second's requests came to the target's address.
    fn arrivals(&self, stats: &[(String, Stats)], last: u64, now: u64) -> Option<Sample> {
        let (mut there, mut all) = (0, 0);
        for (name, stats) in stats {
            let sides = [Side::Source, Side::Target];
            let windows = sides.into_iter().filter_map(|side| window(stats, side, last));
            let count: u64 = windows.map(|window| window.count).sum();
            all += count;
            there += if self.fronts.stands_at(name, Side::Target) { count } else { 0 };
        }
        #[allow(clippy::cast_precision_loss)] // Counts of one second.
        let percent = there as f64 * 100.0 / all as f64;
        // Of no requests there is no share.
        (all > 0).then(|| sample(What::TargetArrivalPercent, percent, all, now))
    }

    async fn stats(&self) -> Outcome<Vec<(String, Stats)>> {
        let all = self
            .fronts
            .links
            .iter()
            .map(|link| async move { Ok((link.plan.name.clone(), link.stats().await?)) });
        join_all(all).await.into_iter().collect()
    }
}

/// Returns how many copies of requests the target answered in another way.
fn different(stats: &[(String, Stats)], now: u64) -> Option<Sample> {
    let all = stats.iter().filter_map(|(_, stats)| Some(&stats.mirror.as_ref()?.compared));
    let (asked, same) = all.fold((0, 0), |(asked, same), one| (asked + one.asked, same + one.same));
    #[allow(clippy::cast_precision_loss)] // A share of counts.
    let percent = asked.saturating_sub(same) as f64 * 100.0 / asked as f64;
    // Of no copies there is no share.
    (asked > 0).then(|| sample(What::MirrorDifferentPercent, percent, asked as u64, now))
}

fn window(stats: &Stats, side: Side, second: u64) -> Option<&Window> {
    stats.windows.get(side).iter().rev().find(|w| w.second == second)
}

#[allow(clippy::cast_precision_loss)] // Counts of one second.
fn of_side(side: Side, second: u64, stats: &[(String, Stats)], now: u64) -> Vec<Sample> {
    let windows: Vec<&Window> = stats.iter().filter_map(|(_, s)| window(s, side, second)).collect();
    let count: u64 = windows.iter().map(|w| w.count).sum();
    let failed: u64 = windows.iter().map(|w| w.failed).sum();
    let mut samples = vec![
        sample(What::RequestsPerSecond(side), count as f64, count, now),
        sample(What::FailedPerSecond(side), failed as f64, count, now),
    ];
    // Fronts do not tell each other their clients, so the busiest front's number stands.
    let clients = windows.iter().map(|w| w.clients).max().unwrap_or(0);
    samples.push(sample(What::ClientsPerSecond(side), clients as f64, count, now));
    if count > 0 {
        let refused: u64 = windows.iter().map(|w| w.refused).sum();
        let percent = refused as f64 * 100.0 / count as f64;
        samples.push(sample(What::ClientErrorPercent(side), percent, count, now));
    }
    // Percentiles of no requests do not exist; over several fronts the mean weighted by
    // requests stands for the 50th, the highest for the 95th.
    if count > 0 {
        let p50 = windows.iter().map(|w| w.p50_ms * w.count as f64).sum::<f64>() / count as f64;
        let p95 = windows.iter().filter(|w| w.count > 0).map(|w| w.p95_ms).fold(0.0, f64::max);
        samples.push(sample(What::ResponseP50Ms(side), p50, count, now));
        samples.push(sample(What::ResponseP95Ms(side), p95, count, now));
    }
    samples
}

fn sample(what: What, value: f64, count: u64, now: u64) -> Sample {
    Sample { what, value, count, taken_at_ms: now, from: "fronts".into() }
}

#[allow(clippy::cast_precision_loss)] // A handful of fronts.
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
