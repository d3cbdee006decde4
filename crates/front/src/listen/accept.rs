//! Taking connections, and taking the last of them when the port is left.

use super::{Door, Port, serve};
use crate::front::Front;
use segue_doors::takeover;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// After a port was given back: handshakes that were under way then end within this
/// time of the last one seen, and all of them within [`HANDSHAKES_MAX`].
const HANDSHAKES: Duration = Duration::from_millis(300);
const HANDSHAKES_MAX: Duration = Duration::from_secs(3);

/// Takes connections; ends once the socket is closed. Connections go on and are asked
/// to finish when `hurry` is cancelled.
pub(crate) async fn accept(front: Arc<Front>, port: Port, door: Door, hurry: CancellationToken) {
    let Port { listener, taken_over } = port;
    let take = |accepted: io::Result<(TcpStream, SocketAddr)>| match accepted {
        Ok((stream, peer)) => spawn(&front, stream, peer, taken_over, &hurry),
        Err(error) => tracing::warn!(%error, "accept"),
    };
    loop {
        tokio::select! {
            biased;
            () = door.leave.cancelled() => break,
            accepted = listener.accept() => {
                let failed = accepted.is_err();
                take(accepted);
                if failed {
                    // Out of descriptors: connections must get the chance to end.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
    front.close();
    let given_back = taken_over
        && takeover::give_back(&listener)
            .map_err(|fault| {
                tracing::error!(%fault, "port not given back before closing it");
            })
            .is_ok();
    // A port of our own gets new connections until it is closed: take those that are there.
    let quiet = if given_back { HANDSHAKES } else { Duration::ZERO };
    let rest = async {
        while let Ok(accepted) = tokio::time::timeout(quiet, listener.accept()).await {
            take(accepted);
        }
    };
    let _ = tokio::time::timeout(HANDSHAKES_MAX, rest).await;
    drop(listener);
    door.left.cancel();
}

fn spawn(
    front: &Arc<Front>,
    stream: TcpStream,
    peer: SocketAddr,
    taken_over: bool,
    hurry: &CancellationToken,
) {
    if taken_over && Some(peer.ip()) == front.options().egress {
        // The live server is gone from the group; its connections end up here, in a circle.
        tracing::warn!("the live server no longer takes the front's connections");
        return;
    }
    front.tasks().spawn(serve::http(front.clone(), stream, peer, hurry.clone()));
}
