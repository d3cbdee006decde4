//! The listening socket: takes connections, and at the end leaves without losing one.

mod accept;
mod serve;

pub(crate) use accept::accept;

use crate::FrontOptions;
use segue_doors::takeover;
use segue_model::{Fault, FaultKind};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

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
