//! A listening socket: served, and left without losing a connection.

use super::{Door, serve};
use crate::crowd::Place;
use crate::entrance::Entrance;
use crate::front::Front;
use segue_doors::takeover;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// After a port was given back: handshakes that were under way then end within this
/// time of the last one seen, and all of them within [`HANDSHAKES_MAX`].
const HANDSHAKES: Duration = Duration::from_millis(300);
const HANDSHAKES_MAX: Duration = Duration::from_secs(3);

/// A listening socket.
pub(crate) struct Port {
    entrance: Arc<Entrance>,
    listener: TcpListener,
}

impl Port {
    /// Makes a port of a socket that listens for it.
    pub(super) fn of(entrance: &Arc<Entrance>, socket: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self { entrance: entrance.clone(), listener: TcpListener::from_std(socket)? })
    }

    /// Takes connections until the front leaves; then those that are under way still, and
    /// closes the socket. If another process goes on with it, it is closed at once.
    pub(super) async fn accept(self, front: Arc<Front>, door: Door, hurry: CancellationToken) {
        let Self { entrance, listener } = self;
        let take = |accepted: io::Result<(TcpStream, SocketAddr)>| match accepted {
            Ok((stream, peer)) => spawn(&front, &entrance, stream, peer, &hurry),
            Err(error) => tracing::warn!(%error, "accept"),
        };
        loop {
            tokio::select! {
                biased;
                () = door.leaving() => break,
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
        if !door.closes().await {
            return;
        }
        // Of a port that is redirected the keeper saw to it before it let go.
        let given_back = entrance.options().redirect.is_some()
            || entrance.options().take_over
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
    }
}

/// Who came in.
pub(super) struct Arrival {
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
    /// Whether the peer says first, with the PROXY protocol, who the client is.
    pub(super) says_client: bool,
}

fn spawn(
    front: &Arc<Front>,
    entrance: &Arc<Entrance>,
    stream: TcpStream,
    peer: SocketAddr,
    hurry: &CancellationToken,
) {
    if entrance.options().is_live() && Some(peer.ip()) == front.options().egress {
        // The live server is gone from the group; its connections end up here, in a circle.
        tracing::warn!("the live server no longer takes the front's connections");
        return;
    }
    // Refused before anything is built for it: closing is all that it costs.
    let Some(mut place) = front.crowd().enter() else { return too_many(front, peer) };
    let believed = front.trusted().contains(peer.ip());
    if !believed && !place.of(peer.ip()) {
        return too_many(front, peer);
    }
    let (of, at, hurry) = (front.clone(), entrance.clone(), hurry.clone());
    let arrival = Arrival { peer, place, says_client: believed && entrance.options().proxy_in };
    front.tasks().spawn(serve::serve(of, at, stream, arrival, hurry));
}

pub(super) fn too_many(front: &Front, peer: SocketAddr) {
    if front.may_warn() {
        tracing::warn!(%peer, "too many connections: refused");
    }
}
