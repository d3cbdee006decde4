//! What was counted goes from one process to the next.
//!
//! The one that serves writes its figures once a second. One that hands on writes them once more,
//! and at its end what it counted since; its successor counts that when nobody else has requests.

use super::Desk;
use crate::store::counts::{self, SavedFigures};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writing takes a hundredth of the time at most, however many units there are.
const REST: u32 = 100;

impl Desk {
    /// Counts on from what the process before this one left, as far as it is of the run that has
    /// the front. Called once, before anything is counted. Blocks.
    pub(crate) async fn take_figures(&self) {
        let state = &self.front.options().state;
        if let Some(figures) = counts::read(&counts::file(state)) {
            self.add_figures(&figures).await;
        }
    }

    /// Counts what former processes counted after they had handed on. Blocks.
    pub(crate) async fn take_rest(&self) {
        for path in counts::rest_files(&self.front.options().state) {
            if let Some(figures) = counts::read(&path) {
                self.add_figures(&figures).await;
            }
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "figures may be counted twice");
            }
        }
    }

    async fn add_figures(&self, figures: &SavedFigures) {
        let books = self.books.lock().await;
        if figures.run.is_none() || figures.run != books.saved.head.claim {
            return;
        }
        self.front.add_figures(figures);
        for (name, unit) in &books.units {
            if let Some(saved) = figures.units.get(name) {
                unit.counts.add(saved);
            }
            if let Some(holds) = figures.holds.get(name) {
                unit.gate.remember(holds);
            }
        }
    }

    async fn figures(&self) -> SavedFigures {
        let books = self.books.lock().await;
        let mut figures = self.front.figures();
        figures.run.clone_from(&books.saved.head.claim);
        let units = books.units.iter();
        let units: Vec<_> = units
            .map(|(name, unit)| (name.clone(), unit.counts.clone(), unit.gate.clone()))
            .collect();
        // Nobody waits for the books while thousands are read.
        drop(books);
        for (name, counts, gate) in units {
            let holds = gate.history();
            if !holds.is_empty() {
                figures.holds.insert(name.clone(), holds);
            }
            figures.units.extend(counts.saved().map(|saved| (name, saved)));
        }
        figures
    }

    /// Writes the figures as long as no other process is to go on with them.
    pub(crate) async fn keep_figures(self: Arc<Self>) {
        let mut written = SavedFigures::default();
        let mut rest = Duration::from_secs(1);
        loop {
            tokio::time::sleep(rest).await;
            let began = Instant::now();
            let path = counts::file(&self.front.options().state);
            self.write_figures(path, self.changed(&mut written)).await;
            rest = Duration::from_secs(1).max(began.elapsed() * REST);
        }
    }

    /// Returns the figures if they are others than those written last, and this process's to write.
    async fn changed(&self, written: &mut SavedFigures) -> Option<SavedFigures> {
        let figures = self.figures().await;
        let fresh = figures.run.is_some() && figures != *written;
        if !fresh || self.books.lock().await.handed_on {
            return None;
        }
        written.clone_from(&figures);
        Some(figures)
    }

    /// Writes them for the process that goes on with them; remembers what was written.
    pub(super) async fn hand_figures_on(&self) {
        let path = counts::file(&self.front.options().state);
        let mut handed = self.handed.lock().await;
        let figures = async { Some(handed.insert(self.figures().await).clone()) };
        self.write_figures(path, figures).await;
    }

    /// Writes what was counted since they were handed on.
    pub(crate) async fn leave_figures(&self) {
        let Some(handed) = self.handed.lock().await.take() else { return };
        let path = counts::rest_file(&self.front.options().state, std::process::id());
        self.write_figures(path, async { Some(self.figures().await.since(&handed)) }).await;
    }

    async fn write_figures(
        &self,
        path: PathBuf,
        figures: impl Future<Output = Option<SavedFigures>>,
    ) {
        let written = self.pen.write(path, figures).await;
        if let Err(error) = written
            && self.front.may_warn()
        {
            tracing::warn!(%error, "figures not written: the next process counts without them");
        }
    }
}
