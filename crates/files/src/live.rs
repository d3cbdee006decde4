//! Comparing trees that are in use.
//!
//! A path that changes while it is read looks different on both sides. So what differs is
//! only suspected, and looked at again until it is either equal or has been at rest: carried,
//! and without an event before and after the look.

use crate::compare::{Comparison, Difference};
use crate::replica::TreeReplica;
use crate::{blocking, boot_ms, lock};
use segue_model::Side;
use segue_port::{Outcome, ProgressSink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often suspects are looked at.
const LOOKS: u32 = 16;
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
    /// `SG0407`, `SG0408` if following broke meanwhile. Unreadable paths are differences.
    pub async fn compare_live(&self, progress: Arc<dyn ProgressSink>) -> Outcome<Comparison> {
        let _one = self.comparing.lock().await;
        let keep = KeepCarried::new(self);
        let (began, clock) = (boot_ms(), Instant::now());
        let (pair, total) = (self.pair.clone(), self.known_files());
        let mut result = blocking(move || Ok(pair.compare(total, progress.as_ref()))).await?;
        let beyond = result.differing - result.differences.len() as u64;
        let suspects = std::mem::take(&mut result.differences);
        (result.differences, result.in_motion) = self.look_again(suspects).await?;
        result.differing = result.differences.len() as u64 + beyond;
        result.took_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        result.ended_boot_ms = boot_ms();
        drop(keep);
        if result.differing == 0 && result.in_motion == 0 {
            for feed in [&self.feeds.source, &self.feeds.target] {
                feed.compared(began);
            }
        }
        *lock(&self.compared) = Some(result.clone());
        Ok(result)
    }

    /// Returns what differs between both trees as they stand now, once: after the way back
    /// was closed, what was written at the target since.
    ///
    /// # Errors
    /// Only if the comparison itself broke; what cannot be read is a difference.
    pub async fn delta(&self, progress: Arc<dyn ProgressSink>) -> Outcome<Comparison> {
        let pair = self.pair.clone();
        blocking(move || Ok(pair.compare(0, progress.as_ref()))).await
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
        let began = boot_ms();
        let carrying = !self.paused.load(Ordering::SeqCst);
        let (moving, resting): (Vec<_>, Vec<_>) =
            suspects.into_iter().partition(|d| carrying && feed.is_dirty(&d.path));
        let pair = self.pair.clone();
        let differing = blocking(move || Ok(recheck(&pair, resting))).await?;
        feed.collect().await?;
        let mut left = moving;
        for difference in differing {
            if carrying && feed.touched_since(&difference.path, began) {
                left.push(difference);
            } else {
                proven.push(difference);
            }
        }
        Ok(left)
    }

    /// Compares some of the paths that were carried a while ago, so that little is left for the
    /// pause.
    pub(crate) async fn check_behind(&self, from: Side) -> Outcome<()> {
        const MOST: usize = 100;
        let (feed, began) = (self.feed(from), boot_ms());
        let paths = feed.at_rest(MOST);
        if paths.is_empty() {
            return Ok(());
        }
        let pair = self.pair.clone();
        let results = blocking(move || {
            let judge = |path: PathBuf| (pair.one(&path, &mut |_| {}), path);
            Ok(paths.into_iter().map(judge).collect::<Vec<_>>())
        });
        let results = results.await?;
        feed.collect().await?;
        for (kind, path) in results {
            let counts = feed.checked(&path, kind.is_none(), began);
            if let Some(kind) = kind.filter(|_| counts) {
                let difference = Difference { path, kind };
                tracing::warn!(tree = self.name(), %difference, "carried, but not equal");
            }
        }
        Ok(())
    }

    /// Returns the number of files of the last comparison, for progress; 0 if unknown.
    fn known_files(&self) -> u64 {
        lock(&self.compared).as_ref().map_or(0, |c| c.files)
    }
}

/// Keeps what was carried on the list as long as it lives.
struct KeepCarried<'a>(&'a TreeReplica);

impl<'a> KeepCarried<'a> {
    fn new(replica: &'a TreeReplica) -> Self {
        let keep = Self(replica);
        keep.set(true);
        keep
    }

    fn set(&self, on: bool) {
        for feed in [&self.0.feeds.source, &self.0.feeds.target] {
            feed.comparing(on);
        }
    }
}

impl Drop for KeepCarried<'_> {
    fn drop(&mut self) {
        self.set(false);
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
