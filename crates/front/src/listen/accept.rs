//! A listening socket: served, and left without losing a connection.

use super::leave::leave;
use super::several::{Accepted, Several};
use super::{Door, serve};
use crate::crowd::Place;
use crate::entrance::Entrance;
use crate::front::Front;
use crate::options::PortOptions;
use crate::socket::{give_up, keep_alive};
use rustix::net::sockopt;
use segue_doors::{join, takeover};
use segue_model::plan::PortKind;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// After a port was given back: handshakes that were under way then end within this
/// time of the last one seen, and all of them within [`HANDSHAKES_MAX`].
pub(super) const HANDSHAKES: Duration = Duration::from_millis(300);
pub(super) const HANDSHAKES_MAX: Duration = Duration::from_secs(3);

/// Sets what connections have from the socket that they come to: for each of them apart it would
/// be six calls of the system. Clients of a `patient` port may take nothing for long.
fn inherited(socket: &std::net::TcpListener, patient: bool) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    keep_alive(socket);
    if !patient {
        give_up(socket);
    }
    Ok(())
}

/// A port with its listening sockets.
pub(crate) struct Port {
    entrance: Arc<Entrance>,
    sockets: Several,
}

impl Port {
    /// Makes a port of the sockets that listen for it.
    pub(super) fn of(
        entrance: &Arc<Entrance>,
        sockets: Vec<std::net::TcpListener>,
    ) -> io::Result<Self> {
        for socket in &sockets {
            inherited(socket, entrance.options().kind == PortKind::Tcp)?;
        }
        Ok(Self { entrance: entrance.clone(), sockets: Several::of(sockets)? })
    }

    /// Takes connections until the front leaves; then those that are under way still, and
    /// closes the socket. If another process goes on with it, it is closed at once.
    pub(super) async fn accept(self, front: Arc<Front>, door: Door, hurry: CancellationToken) {
        let Self { entrance, mut sockets } = self;
        let take = |accepted: Accepted| match accepted {
            Ok((stream, peer)) => spawn(&front, &entrance, stream, peer, &hurry),
            Err(error) => tracing::warn!(%error, "accept"),
        };
        loop {
            tokio::select! {
                biased;
                () = door.leaving() => break,
                (_, accepted) = sockets.accept() => {
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
        let given_back = give_back(&entrance, &mut sockets, take).await;
        // A port of our own gets new connections until it is closed: take those that are there.
        let quiet = if given_back { HANDSHAKES } else { Duration::ZERO };
        let rest = async {
            while let Ok((_, accepted)) = tokio::time::timeout(quiet, sockets.accept()).await {
                take(accepted);
            }
        };
        let _ = tokio::time::timeout(HANDSHAKES_MAX, rest).await;
        let address = sockets.any().and_then(|socket| socket.local_addr());
        drop(sockets);
        if let (true, Ok(address)) = (entrance.options().join, address)
            && !join::clear(address)
        {
            tracing::info!(
                %address,
                "without the right to trace the server its port is shared out as it was now: \
                 sockets that it adds get connections once it is started anew"
            );
        }
    }
}

/// Has new connections go to the live server of a port; says whether they do.
async fn give_back(entrance: &Entrance, sockets: &mut Several, take: impl FnMut(Accepted)) -> bool {
    let PortOptions { listen, take_over, redirect, join, .. } = entrance.options();
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, %listen, "port not given back before closing it");
    };
    if *join {
        leave(sockets, *listen, take).await.map_err(|e| failed(&e)).is_ok()
    } else if *take_over {
        let given = sockets.any().map_err(|e| failed(&e)).ok();
        given.is_some_and(|one| takeover::give_back(one).map_err(|e| failed(&e)).is_ok())
    } else {
        // The keeper saw to it before it let go.
        redirect.is_some()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_have_what_is_set_where_they_come_in() {
        for (patient, unconfirmed) in [(false, 120_000), (true, 0)] {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            inherited(&socket, patient).unwrap();
            let client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
            let (stream, _) = socket.accept().unwrap();
            assert!(sockopt::tcp_nodelay(&stream).unwrap());
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), Duration::from_secs(60));
            assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), unconfirmed);
            drop(client);
        }
    }
}
