//! One table, piece by piece, from where an earlier look at it ended.

use super::notes::{PartKept, TableKept};
use super::sitting::Sitting;
use super::{Verifier, again};
use crate::copy::{Column, columns};
use crate::fault::{Deadline, Explain};
use crate::keys::{self, Key};
use crate::narrow::{self, Limits};
use crate::pieces::{Pace, Piece, Walk, lacks_column};
use segue_model::{Fault, FaultKind};
use segue_port::{Outcome, Progress};
use std::time::Duration;

/// Ranges of a table that are named.
const RANGES: usize = 64;
/// Time in which a piece is looked into.
const LOOKING: Duration = Duration::from_secs(300);
/// How often a broken session is replaced without anything done in between, the pauses doubling.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Pause between two looks at a busy server.
const BUSY: Duration = Duration::from_millis(500);

impl Verifier<'_> {
    /// Compares a table to its end, with new sessions after those that broke.
    pub(super) async fn table(&mut self, table: &str) -> Outcome<()> {
        let mut tries = 0;
        while !self.kept(table).done {
            let before = self.kept(table).source.clone();
            let Err(fault) = self.walk(table).await else { continue };
            // Its snapshots are gone, and new ones are of another moment.
            self.sitting = None;
            if lacks_column(&fault) {
                // The definitions have shown it: such rows cannot be compared.
                self.said.push(format!(
                    "the rows of table `{table}` are not compared: its columns differ"
                ));
                self.entry(table).done = true;
                continue;
            }
            if self.kept(table).source != before {
                tries = 0;
            }
            tries += 1;
            if tries > TRIES || !is_broken(&fault) {
                return Err(fault);
            }
            tracing::warn!(%fault, "the verification goes on with new sessions");
            tokio::time::sleep(FIRST_PAUSE * 2u32.pow(tries - 1)).await;
        }
        Ok(())
    }

    fn kept(&self, table: &str) -> TableKept {
        self.kept.tables.get(table).cloned().unwrap_or_default()
    }

    fn entry(&mut self, table: &str) -> &mut TableKept {
        self.kept.tables.entry(table.to_owned()).or_default()
    }

    async fn walk(&mut self, table: &str) -> Outcome<()> {
        let mut sitting = self.sit().await?;
        let columns = columns(self.link, &mut sitting.source, table).await?;
        let key = keys::of(self.link, &mut sitting.source, table).await?;
        let mut walk = Walk::new(key.clone(), self.pace(), self.start(table, key.as_ref()));
        loop {
            if sitting.is_over(self.wish) {
                sitting.close().await;
                sitting = self.sit().await?;
            }
            sitting.refresh().await?;
            self.quiet(&mut sitting).await?;
            let (source, target) = (&mut sitting.source, &mut sitting.target);
            let Some(piece) = walk.next(self.link, source, target, (table, &columns)).await? else {
                break;
            };
            self.take(&mut sitting, (table, &columns, key.as_ref()), piece).await?;
            walk.rest().await;
        }
        self.sitting = Some(sitting);
        Ok(())
    }

    fn pace(&self) -> Pace {
        if self.wish.load >= 100 { Pace::Gentle } else { Pace::Share(self.wish.load) }
    }

    /// Returns the sitting that is open, or begins one.
    async fn sit(&mut self) -> Outcome<Sitting> {
        match self.sitting.take() {
            Some(sitting) if !sitting.is_over(self.wish) => return Ok(sitting),
            Some(sitting) => sitting.close().await,
            None => {}
        }
        let number = self.kept.moments.len();
        let (sitting, moment) = Sitting::open(self.link, self.wish, number).await?;
        self.kept.moments.push(moment);
        Ok(sitting)
    }

    /// Returns the key behind which a table goes on; one that cannot is begun anew.
    fn start(&mut self, table: &str, key: Option<&Key>) -> Option<keys::KeyValue> {
        let kept = self.kept(table);
        let last = kept.parts.last()?.to.clone();
        if let Some((key, last)) = key.zip(last.as_ref())
            && key.fits(last)
        {
            return Some(last.clone());
        }
        self.said.push(format!("table `{table}` is begun anew: its key is another one"));
        *self.entry(table) = TableKept::begin(kept.shape);
        None
    }

    /// Notes a piece, after it was looked into if it differs.
    async fn take(
        &mut self,
        sitting: &mut Sitting,
        (table, columns, key): (&str, &[Column], Option<&Key>),
        piece: Piece,
    ) -> Outcome<()> {
        if !piece.is_equal() {
            let names = (table, columns, key);
            if sitting.one_moment {
                self.look_into(sitting, names, piece.clone()).await?;
            } else {
                self.look_again(sitting, names, piece.clone()).await?;
            }
        }
        let to = piece.range.to;
        let shown = key.zip(to.as_ref()).map(|(key, to)| key.shown(to)).unwrap_or_default();
        let part = PartKept { moment: sitting.number, to, shown };
        let entry = self.entry(table);
        entry.add(part, (&piece.source, &piece.target))?;
        self.notes.keep(&self.kept)?;
        self.progress.report(Progress {
            what: format!("compare table `{table}`"),
            done: self.kept.tables.values().map(|table| table.source.rows).sum(),
            total: self.expected,
            unit: "rows",
        });
        Ok(())
    }

    /// Finds the rows of a piece that differs, both sides being of one moment.
    async fn look_into(
        &mut self,
        sitting: &mut Sitting,
        (table, columns, key): (&str, &[Column], Option<&Key>),
        piece: Piece,
    ) -> Outcome<()> {
        let room = RANGES.saturating_sub(self.kept(table).ranges.len());
        if room == 0 {
            self.entry(table).more = true;
            return Ok(());
        }
        let limits = Limits { ranges: room, deadline: Deadline::after(LOOKING) };
        let wires = (&mut sitting.source, &mut sitting.target);
        let found = narrow::rows(self.link, wires, (table, columns), vec![piece], limits).await?;
        let entry = self.entry(table);
        entry.differs = true;
        entry.key = key.map(Key::names).unwrap_or_default();
        entry.ranges.extend(found.ranges());
        entry.more |= found.more;
        Ok(())
    }

    /// Looks at a piece again that differs, both sides being of nearly one moment.
    async fn look_again(
        &mut self,
        sitting: &mut Sitting,
        (table, columns, key): (&str, &[Column], Option<&Key>),
        piece: Piece,
    ) -> Outcome<()> {
        let wires = (&mut sitting.source, &mut sitting.target);
        let looked = again::look(self.link, wires, (table, columns, key), piece, self.wish).await?;
        let entry = self.entry(table);
        entry.undecided += looked.undecided;
        if looked.whole || !looked.found.parts.is_empty() {
            entry.differs = true;
            entry.key = key.map(Key::names).unwrap_or_default();
            entry.more |= looked.found.more;
            entry.ranges.extend(looked.found.ranges());
            if entry.ranges.len() > RANGES {
                entry.ranges.truncate(RANGES);
                entry.more = true;
            }
        }
        Ok(())
    }

    /// Waits while either server has more to do than it may have.
    async fn quiet(&self, sitting: &mut Sitting) -> Outcome<()> {
        let Some(most) = self.wish.most_running else { return Ok(()) };
        for wire in [&mut sitting.source, &mut sitting.target] {
            loop {
                let op = format!("see how busy the {} is", wire.side());
                let (_, running): (String, u64) =
                    wire.one("SHOW GLOBAL STATUS LIKE 'Threads_running'").await.reading(&op)?;
                if running <= most {
                    break;
                }
                self.progress.report(Progress {
                    what: format!("wait for the {}", wire.side()),
                    done: running,
                    total: 0,
                    unit: "threads run",
                });
                tokio::time::sleep(BUSY).await;
            }
        }
        Ok(())
    }
}

/// Says whether a session broke, a server went, or a snapshot is of no more use, so that a new one
/// may go on.
fn is_broken(fault: &Fault) -> bool {
    // 1053: it shuts down. 1412: the table was changed since the snapshot.
    matches!(fault.kind, FaultKind::Unreachable | FaultKind::Timeout)
        || ["server error 1053", "server error 1412"].iter().any(|of| fault.cause.contains(of))
}
