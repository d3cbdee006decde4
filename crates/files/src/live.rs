//! Comparing trees that are in use.
//!
//! A path that changes while it is read looks different on both sides. So what differs is
//! only suspected, and looked at again until it is either equal or has been at rest: carried,
//! and without an event before and after the look.

use crate::compare::{Comparison, Difference};
use crate::replica::TreeReplica;
use crate::{blocking, boot_ms, lock};
use segue_port::{Outcome, ProgressSink};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often suspects are looked at.
const LOOKS: u32 = 40;
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(150);

impl TreeReplica {
    /// Compares both trees in full while they are in use: every file's BLAKE3, kinds, modes,
    /// owners, times of files and link targets. Paths that are changing are looked at again;
    /// those that never rest are counted as `in_motion` and are no difference.
    ///
    /// Without a followed write side both trees are taken to be at rest.
    ///
    /// # Errors
    /// `SG0307`, `SG0308` if following broke meanwhile. Unreadable paths are differences.
    pub async fn compare_live(&self, progress: Arc<dyn ProgressSink>) -> Outcome<Comparison> {
        let (began, clock) = (boot_ms(), Instant::now());
        let (pair, total) = (self.pair.clone(), self.known_files());
        let mut result = blocking(move || Ok(pair.compare(total, progress.as_ref()))).await?;
        let beyond = result.differing - result.differences.len() as u64;
        let suspects = std::mem::take(&mut result.differences);
        (result.differences, result.in_motion) = self.look_again(suspects).await?;
        result.differing = result.differences.len() as u64 + beyond;
        result.took_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        result.ended_boot_ms = boot_ms();
        if result.differing == 0 && result.in_motion == 0 {
            for feed in [&self.feeds.source, &self.feeds.target] {
                feed.compared(began);
            }
        }
        *lock(&self.compared) = Some(result.clone());
        Ok(result)
    }

    /// Returns the true differences, and how many paths never rested.
    async fn look_again(&self, mut suspects: Vec<Difference>) -> Outcome<(Vec<Difference>, u64)> {
        let mut proven = Vec::new();
        for look in 0..LOOKS {
            if suspects.is_empty() {
                break;
            }
            if look > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            suspects = self.look(suspects, &mut proven).await?;
        }
        proven.sort_by(|a, b| a.path.cmp(&b.path));
        Ok((proven, suspects.len() as u64))
    }

    /// Looks once; returns those that are still only suspected.
    async fn look(
        &self,
        suspects: Vec<Difference>,
        proven: &mut Vec<Difference>,
    ) -> Outcome<Vec<Difference>> {
        let Some(side) = self.write_side() else {
            let pair = self.pair.clone();
            proven.extend(blocking(move || Ok(recheck(&pair, suspects))).await?);
            return Ok(Vec::new());
        };
        let feed = self.feed(side);
        feed.collect().await?;
        let carrying = !self.paused.load(Ordering::SeqCst);
        let (moving, resting): (Vec<_>, Vec<_>) =
            suspects.into_iter().partition(|d| carrying && feed.is_dirty(&d.path));
        let pair = self.pair.clone();
        let differing = blocking(move || Ok(recheck(&pair, resting))).await?;
        feed.collect().await?;
        let mut left = moving;
        for difference in differing {
            if carrying && feed.is_dirty(&difference.path) {
                left.push(difference);
            } else {
                proven.push(difference);
            }
        }
        Ok(left)
    }

    /// Returns the number of files of the last comparison, for progress; 0 if unknown.
    fn known_files(&self) -> u64 {
        lock(&self.compared).as_ref().map_or(0, |c| c.files)
    }
}

/// Returns those that differ now, with what they differ in now.
fn recheck(pair: &crate::compare::Pair, suspects: Vec<Difference>) -> Vec<Difference> {
    let again = suspects.into_iter().filter_map(|d| {
        let kind = pair.one(&d.path, &mut |_| {})?;
        Some(Difference { path: d.path, kind })
    });
    again.collect()
}
