//! What tests and the benchmark need of the inside; in nothing that is shipped.

use crate::difference::Comparison;
use crate::digest::Snapshots;
use crate::pieces::Pace;
use crate::replica::MariaReplica;
use segue_port::Outcome;
use tokio::sync::oneshot::{Receiver, Sender};

/// Compares both sides as a cutover does, users waiting. Nothing may be written meanwhile: here
/// no fence stands.
///
/// # Errors
/// If a server cannot be read.
pub async fn compare(replica: &MariaReplica) -> Outcome<Comparison> {
    let snapshots = Snapshots::open(&replica.link).await?;
    snapshots.compare(&replica.link, Pace::Full).await
}

/// A place at which the next effect that comes by waits: `moment` in a seed, when its snapshots
/// are open and definitions are still to be read; `before TABLE` and `after TABLE` in a copy.
#[derive(Debug)]
pub struct Stop {
    reached: Receiver<()>,
    go: Sender<()>,
}

/// Makes the next effect of the replica wait at a place.
pub fn stop(replica: &MariaReplica, place: &str) -> Stop {
    let (reached, go) = replica.stops.ask(place);
    Stop { reached, go }
}

impl Stop {
    /// Waits until an effect waits there.
    pub async fn reached(&mut self) -> bool {
        (&mut self.reached).await.is_ok()
    }

    /// Lets it go on.
    pub fn go(self) {
        // It may have been given up meanwhile.
        let _ = self.go.send(());
    }
}
