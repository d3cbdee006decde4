//! The seam between *what changed* and *who carries it*.

use async_trait::async_trait;
use segue_model::Side;
use segue_port::{Outcome, ProgressSink};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// One order to a mover.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The side that is read; the other one is changed.
    pub from: Side,
    /// Whether a whole pass deletes what stands only at the other side.
    pub delete: bool,
    /// Whether nothing is changed, only everything read that a real pass would read.
    pub rehearse: bool,
    /// What it is for: one word of the run mark.
    pub step: &'a str,
    /// The time it may take.
    pub limit: Duration,
    /// Takes progress.
    pub progress: &'a dyn ProgressSink,
}

/// What a whole pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Entries of the tree.
    pub entries: u64,
    /// Regular files carried.
    pub files: u64,
    /// Entries deleted at the other side.
    pub deleted: u64,
    /// Bytes of the carried files.
    pub bytes: u64,
}

/// Carries a tree, or parts of it, from one side to the other, both ways.
///
/// Links, hard links, owners by number, modes, times, access lists and extended attributes
/// go along. A file appears under its name only when it is whole.
#[async_trait]
pub trait Mover: Send + Sync {
    /// Makes the whole other side equal. Files whose size and time of change agree may be
    /// taken for equal.
    ///
    /// # Errors
    /// `SG0403` if anything could not be carried, `SG0410` if the time was over.
    async fn whole(&self, pass: Pass<'_>) -> Outcome<Moved>;

    /// Makes exactly these paths equal, the contents of files whatever their times say. A
    /// path that is missing at `pass.from` is deleted at the other side with all below it.
    /// The content of a listed folder is not looked at.
    ///
    /// # Errors
    /// As [`Self::whole`].
    async fn paths(&self, pass: Pass<'_>, paths: &[PathBuf]) -> Outcome<()>;

    /// Ends what a former controller left running for this tree, and everything of this
    /// one's `step`. Returns when it is gone.
    ///
    /// # Errors
    /// `SG0885` if something cannot be ended.
    async fn quench(&self, step: &str) -> Outcome<()>;
}
