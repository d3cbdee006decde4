//! The part of a comparison that its benchmark measures; in nothing that is shipped.

use crate::digest::{Comparison, Snapshots};
use crate::pieces::Pace;
use crate::replica::MariaReplica;
use segue_port::Outcome;

/// Compares both sides as a cutover does, users waiting. Nothing may be written meanwhile: here
/// no fence stands.
///
/// # Errors
/// If a server cannot be read.
pub async fn compare(replica: &MariaReplica) -> Outcome<Comparison> {
    let snapshots = Snapshots::open(&replica.link).await?;
    snapshots.compare(&replica.link, Pace::Full).await
}
