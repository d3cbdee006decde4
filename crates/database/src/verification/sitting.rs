//! A look at both sides: a snapshot of each, of one moment if that can be.

use super::Wish;
use super::notes::Moment;
use crate::fault::{Deadline, Explain};
use crate::frozen::freeze;
use crate::link::{Link, Wire};
use crate::{logins, moment};
use segue_model::Side;
use segue_port::Outcome;
use std::time::{Duration, Instant};

/// How long one moment is looked at by sessions that cannot let go of what they have read: whoever
/// changes a table waits for its end.
const SHORT: Duration = Duration::from_secs(20);

/// Sessions whose snapshots are open.
#[derive(Debug)]
pub(super) struct Sitting {
    pub(super) source: Wire,
    pub(super) target: Wire,
    /// Whether both see one moment.
    pub(super) one_moment: bool,
    /// The moment's number among those that are kept.
    pub(super) number: usize,
    since: Instant,
}

impl Sitting {
    /// Opens snapshots, and returns the moment that they see.
    pub(super) async fn open(link: &Link, wish: &Wish, number: usize) -> Outcome<(Self, Moment)> {
        let (mut source, mut target) =
            tokio::try_join!(link.take(Side::Source), link.take(Side::Target))?;
        let place = match write_side(link, &mut source, &mut target).await? {
            Side::Source => meet(&mut source, &mut target, wish).await?,
            Side::Target => meet(&mut target, &mut source, wish).await?,
        };
        if place.is_empty() {
            tokio::try_join!(freeze(&mut source), freeze(&mut target))?;
        }
        let at_ms: u64 = source
            .one("SELECT CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS UNSIGNED)")
            .await
            .reading("read the source's clock")?;
        let one_moment = !place.is_empty();
        let since = Instant::now();
        Ok((Self { source, target, one_moment, number, since }, Moment { at_ms, place }))
    }

    /// Returns whether its snapshots have been open for long enough.
    pub(super) fn is_over(&self, wish: &Wish) -> bool {
        let keeps = self.source.logs() || self.target.logs();
        let most = if keeps { wish.sitting.min(SHORT) } else { wish.sitting };
        self.since.elapsed() > most
    }

    /// Opens snapshots of now, unless those that are open see one moment.
    pub(super) async fn refresh(&mut self) -> Outcome<()> {
        if !self.one_moment {
            tokio::try_join!(freeze(&mut self.source), freeze(&mut self.target))?;
        }
        Ok(())
    }

    /// Ends the sessions.
    pub(super) async fn close(self) {
        self.source.close().await;
        self.target.close().await;
    }
}

/// Returns the side that is written to: the target only if its logins are open and the source's
/// are locked. Of a copy that is not Segue's the logins of both are open as a rule.
async fn write_side(link: &Link, source: &mut Wire, target: &mut Wire) -> Outcome<Side> {
    let (here, there) =
        (logins::planned(link, source).await?, logins::planned(link, target).await?);
    let open = there.iter().any(|(_, locked)| !locked);
    let shut = !here.is_empty() && here.iter().all(|(_, locked)| *locked);
    Ok(if open && shut { Side::Target } else { Side::Source })
}

/// Brings two snapshots to one place; returns it, or nothing if no stream leads there.
async fn meet(written: &mut Wire, followed: &mut Wire, wish: &Wish) -> Outcome<String> {
    let logs: bool = written.one("SELECT @@log_bin").await.reading("look for a binary log")?;
    // The list of streams would show it too. But a server dies if that is read in the moment in
    // which a filter is set, and this process does not know when another one does that.
    let streams: u64 = followed
        .one(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND = 'Slave_SQL' \
             AND EXISTS (SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'mysql' \
               AND TABLE_NAME = 'gtid_slave_pos' AND ENGINE = 'InnoDB')",
        )
        .await
        .reading("look for a stream")?;
    if !logs || streams == 0 {
        return Ok(String::new());
    }
    let place = moment::met(written, followed, Deadline::after(wish.meeting)).await?;
    Ok(place.map(|place| place.gtid).unwrap_or_default())
}
