//! The listening socket: takes connections, and at the end leaves without losing one.

use crate::FrontOptions;
use crate::front::Front;
use crate::proxy::{self, Conn, Scheme};
use crate::socket::Shared;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use segue_doors::takeover;
use segue_model::{Fault, FaultKind};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Largest request head, bytes.
const HEAD_MAX: usize = 64 << 10;

/// After a port was given back: handshakes that were under way then end within this
/// time of the last one seen, and all of them within [`HANDSHAKES_MAX`].
const HANDSHAKES: Duration = Duration::from_millis(300);
const HANDSHAKES_MAX: Duration = Duration::from_secs(3);

/// The way to tell the listening socket to close, and to learn that it did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    leave: CancellationToken,
    left: CancellationToken,
}

impl Door {
    /// Takes no new connections any more. Returns once the socket is closed.
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

/// A listening socket.
pub(crate) struct Port {
    listener: TcpListener,
    taken_over: bool,
}

impl Port {
    /// Listens, beside the live server if the front shall take its port over.
    ///
    /// # Errors
    /// `SG0121` if the address cannot be listened at or no egress address is named for
    /// a takeover; those of [`takeover::take_over`].
    pub(crate) fn open(options: &FrontOptions) -> Result<Self, Fault> {
        let fault = |cause: &dyn std::fmt::Display, hint: &str| {
            let op = format!("listen at `{}`", options.listen);
            Fault::new("SG0121", FaultKind::Unreachable, op, cause).hint(hint)
        };
        let busy = "find out what else uses the address";
        if !options.take_over {
            let listener = bind(options.listen).map_err(|e| fault(&e, busy))?;
            return Ok(Self { listener, taken_over: false });
        }
        let egress = options.egress.ok_or_else(|| {
            fault(
                &"a takeover needs an egress address: it tells the front's own connections apart",
                "name `egress`, an address of this machine that no client uses",
            )
        })?;
        let socket = takeover::take_over(options.listen, egress)?;
        let listener = TcpListener::from_std(socket).map_err(|e| fault(&e, busy))?;
        Ok(Self { listener, taken_over: true })
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves connections; ends once the socket is closed. Connections go on and are asked
/// to finish when `hurry` is cancelled.
pub(crate) async fn serve(front: Arc<Front>, port: Port, door: Door, hurry: CancellationToken) {
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
    let tasks = front.tasks().clone();
    let front = front.clone();
    let hurry = hurry.clone();
    tasks.spawn(async move {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "client connection");
        }
        let (number, _open) = front.connection();
        let socket = Shared::new(stream);
        let limits = front.limits().clone();
        let conn = Conn::new(front.clone(), Scheme::Http, peer, number, socket.clone());
        let timer = conn.timer().clone();
        let service = service_fn(move |request| proxy::handle(conn.clone(), request));
        let serving = http1::Builder::new()
            .timer(timer)
            .header_read_timeout(limits.head_read)
            .max_buf_size(HEAD_MAX)
            // A head and a small body copied together go out sooner than as two pieces.
            .writev(false)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        let mut serving = pin!(serving);
        let mut asked = pin!(hurry.cancelled());
        let (mut listens, mut hurries) = (false, false);
        let served = poll_fn(|cx| {
            // Registered once, the token wakes this task by itself; it is looked at again
            // only when the front closes, which it does before it hurries anybody.
            if !hurries && (!listens || front.is_closing()) {
                listens = true;
                hurries = asked.as_mut().poll(cx).is_ready();
                if hurries {
                    serving.as_mut().graceful_shutdown();
                }
            }
            serving.as_mut().poll(cx)
        })
        .await;
        if let Err(error) = served {
            tracing::debug!(%error, "client connection ended");
        }
    });
}
