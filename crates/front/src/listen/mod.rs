//! The listening sockets: opened all or none, and left all together.

mod accept;
mod http2;
mod serve;

pub(crate) use accept::Port;

use crate::front::Front;
use futures_util::future::join_all;
use segue_model::Fault;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The way to tell the listening sockets to close, and to learn that they did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    leave: CancellationToken,
    left: CancellationToken,
}

impl Door {
    /// Takes no new connections any more, at no port. Returns once all sockets are closed.
    pub(crate) async fn leave(&self) {
        self.leave.cancel();
        self.left.cancelled().await;
    }

    /// Returns whether new connections are taken.
    pub(crate) fn is_open(&self) -> bool {
        !self.leave.is_cancelled()
    }

    /// Waits until somebody asks to leave.
    pub(crate) async fn leaving(&self) {
        self.leave.cancelled().await;
    }
}

/// Opens every port of a front, or none: if one cannot be had, those that were opened go back
/// to who had them. Connections that they took meanwhile are the front's to serve until they
/// end; `hurry` asks them to.
///
/// # Errors
/// Those of [`Port::open`].
pub(crate) async fn open(
    front: &Arc<Front>,
    hurry: &CancellationToken,
) -> Result<Vec<Port>, Fault> {
    let egress = front.options().egress;
    let mut entrances: Vec<_> = front.entrances().iter().collect();
    // What disturbs nobody comes first: if it fails, no live server was touched.
    entrances.sort_by_key(|entrance| entrance.options().take_over);
    let mut ports = Vec::new();
    for entrance in entrances {
        match Port::open(entrance, egress) {
            Ok(port) => ports.push(port),
            Err(fault) => {
                let door = Door::default();
                door.leave.cancel();
                serve(front.clone(), ports, door, hurry.clone()).await;
                return Err(fault);
            }
        }
    }
    Ok(ports)
}

/// Serves connections; ends once every socket is closed. Connections go on and are asked
/// to finish when `hurry` is cancelled.
pub(crate) async fn serve(
    front: Arc<Front>,
    ports: Vec<Port>,
    door: Door,
    hurry: CancellationToken,
) {
    let each = |port: Port| port.accept(front.clone(), door.leave.clone(), hurry.clone());
    join_all(ports.into_iter().map(each)).await;
    door.left.cancel();
}
