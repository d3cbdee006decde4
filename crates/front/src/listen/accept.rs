//! A listening socket: opened alone or beside a live server, and left without losing a
//! connection.

use super::serve;
use crate::crowd::Place;
use crate::entrance::Entrance;
use crate::front::Front;
use segue_doors::takeover;
use segue_model::{Fault, FaultKind};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

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
    /// Listens, beside the live server if the front shall take its port over.
    ///
    /// # Errors
    /// `SG0121` if the address cannot be listened at or no egress address is named for
    /// a takeover; those of [`takeover::take_over`].
    pub(super) fn open(entrance: &Arc<Entrance>, egress: Option<IpAddr>) -> Result<Self, Fault> {
        let options = entrance.options();
        let fault = |cause: &dyn std::fmt::Display, hint: &str| {
            let op = format!("listen at `{}`", options.listen);
            Fault::new("SG0121", FaultKind::Unreachable, op, cause).hint(hint)
        };
        let busy = "find out what else uses the address";
        let listener = if options.take_over {
            let egress = egress.ok_or_else(|| {
                fault(
                    &"a takeover needs an egress address: it tells the front's own connections apart",
                    "name `egress`, an address of this machine that no client uses",
                )
            })?;
            let socket = takeover::take_over(options.listen, egress)?;
            TcpListener::from_std(socket).map_err(|e| fault(&e, busy))?
        } else {
            bind(options.listen).map_err(|e| fault(&e, busy))?
        };
        Ok(Self { entrance: entrance.clone(), listener })
    }

    /// Takes connections until the front leaves; then those that are under way still, and
    /// closes the socket.
    pub(super) async fn accept(
        self,
        front: Arc<Front>,
        leave: CancellationToken,
        hurry: CancellationToken,
    ) {
        let Self { entrance, listener } = self;
        let take = |accepted: io::Result<(TcpStream, SocketAddr)>| match accepted {
            Ok((stream, peer)) => spawn(&front, &entrance, stream, peer, &hurry),
            Err(error) => tracing::warn!(%error, "accept"),
        };
        loop {
            tokio::select! {
                biased;
                () = leave.cancelled() => break,
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
        let given_back = entrance.options().take_over
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
    if entrance.options().take_over && Some(peer.ip()) == front.options().egress {
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

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
