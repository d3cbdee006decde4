//! The packet filter that leads new connections of live ports to this front: made, renewed and
//! taken away by the keeper alone, so that nobody else's renewal can come late.

use crate::options::FrontOptions;
use segue_doors::nft::{LAPSES, Lasts, Redirect, Table};
use segue_model::{Fault, FaultKind};
use std::time::Duration;

/// Pause between two renewals: three may fail before the time is over.
pub(super) const RENEWED_EVERY: Duration = Duration::from_millis(500);

/// How often live servers are given their ports back where that fails.
const OPEN_TRIES: usize = 3;

/// What became of a renewal, if it is another one than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// New connections come again.
    Led,
    /// It is not sure that they come.
    Lost,
}

/// The table of this front.
pub(super) struct Redirects {
    table: Table,
    lasts: Lasts,
    /// Between [`Self::begin`] and [`Self::open`].
    leads: bool,
    /// Whether there was a [`Self::begin`]: what stood before that is not this process's.
    begun: bool,
    /// Whether the last renewal was done.
    pub(super) led: bool,
}

impl Redirects {
    /// Returns the table of a front with ports that are redirected; touches nothing.
    ///
    /// # Errors
    /// `SG0121` if nothing says how the table is named, or from where the front itself connects.
    pub(super) fn of(options: &FrontOptions) -> Result<Option<Self>, Fault> {
        let one = |port: &crate::options::PortOptions| {
            port.redirect.map(|to| Redirect { from: port.listen, to })
        };
        let all: Vec<_> = options.ports.iter().filter_map(one).collect();
        if all.is_empty() {
            return Ok(None);
        }
        let Some((run, egress)) = options.run.as_deref().zip(options.egress) else {
            let op = format!("lead connections to front `{}`", options.name);
            let cause = "no run is named, or no address for its own connections";
            return Err(Fault::new("SG0121", FaultKind::Invalid, op, cause)
                .hint("name `egress` in the plan, and let the controller start the front"));
        };
        let table = Table::new(run, &options.name, all, egress);
        Ok(Some(Self { table, lasts: Lasts::Renewed, leads: false, begun: false, led: false }))
    }

    /// Leads new connections here. `guarded` if visitors must not reach the live server.
    pub(super) async fn begin(&mut self, guarded: bool) -> Result<(), Fault> {
        self.lasts = lasts(guarded);
        self.table.insert(self.lasts).await?;
        (self.leads, self.begun, self.led) = (true, true, true);
        Ok(())
    }

    /// Goes on leading them. A table that somebody else removed is made again.
    pub(super) async fn renew(&mut self) -> Option<Turn> {
        if !self.leads {
            return None;
        }
        let done = match self.table.renew(self.lasts).await {
            Ok(()) => Ok(()),
            Err(fault) => {
                tracing::warn!(%fault, table = self.table.name(), "made again");
                self.table.insert(self.lasts).await
            }
        };
        let led = done.is_ok();
        if let Err(fault) = done {
            tracing::error!(%fault, "new connections may go to the live server");
        }
        let former = std::mem::replace(&mut self.led, led);
        (former != led).then_some(if led { Turn::Led } else { Turn::Lost })
    }

    /// Says whether visitors must not reach the live server, whoever dies.
    ///
    /// # Errors
    /// `SG0190` if that cannot be brought about; it is then as it was.
    pub(super) async fn guard(&mut self, guarded: bool) -> Result<(), Fault> {
        if !self.leads || self.lasts == lasts(guarded) {
            return Ok(());
        }
        self.table.renew(lasts(guarded)).await?;
        self.lasts = lasts(guarded);
        Ok(())
    }

    /// Lets new connections through to the live server; those that are here go on.
    pub(super) async fn open(&mut self) {
        if !std::mem::take(&mut self.leads) {
            return;
        }
        // An element without an end does not lapse by itself: then nothing but this opens.
        for _ in 0..OPEN_TRIES {
            match self.table.open().await {
                Ok(()) => return,
                Err(fault) => tracing::error!(%fault, "live servers do not have their ports back"),
            }
            tokio::time::sleep(LAPSES).await;
        }
    }

    /// Takes the table away: no connection is here any more.
    pub(super) async fn remove(mut self) {
        if !self.begun {
            return;
        }
        self.open().await;
        if let Err(fault) = self.table.delete().await {
            tracing::error!(%fault, table = self.table.name(), "left behind: take it away by hand");
        }
    }
}

fn lasts(guarded: bool) -> Lasts {
    if guarded { Lasts::Stays } else { Lasts::Renewed }
}
