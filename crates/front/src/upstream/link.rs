//! One connection to a backend.

use super::noted::Noted;
use super::stream::Stream;
use super::{Broken, Fate, Outgoing};
use crate::socket::keep_alive;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream};

/// A connection that takes one request.
pub(crate) struct Link {
    sender: SendRequest<Outgoing>,
    fate: Fate,
}

impl Link {
    /// Returns how the request gets on, once it is sent.
    pub(crate) fn fate(&self) -> Fate {
        self.fate.clone()
    }

    /// Sends the request and returns the head of the answer.
    pub(crate) async fn send(
        mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Broken> {
        Ok(self.sender.send_request(request).await?)
    }
}

/// Bodies are small or come in parts: one plain write costs less than a gathering one.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.writev(false);
    builder
}

/// Begins to speak HTTP.
pub(super) async fn open(address: SocketAddr, stream: Stream) -> Result<Link, Broken> {
    let fate = Fate::begin();
    let stream = Noted::new(stream, fate.clone());
    let (sender, connection) = builder().handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Whoever waits for an answer is told as well.
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "connection to backend broke");
        }
    });
    Ok(Link { sender, fate })
}

/// Begins to speak HTTP, which may end in another protocol.
pub(super) async fn open_for_upgrade(address: SocketAddr, stream: Stream) -> Result<Link, Broken> {
    let (sender, connection) = builder().handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%address, %error, "connection to backend broke");
        }
    });
    Ok(Link { sender, fate: Fate::begin() })
}

/// Opens a connection of TCP, from `egress` where that is of the address's family.
pub(crate) async fn dial(address: SocketAddr, egress: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Only an address of the backend's family can be a source address.
    if let Some(egress) = egress.filter(|e| e.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(egress, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    keep_alive(&stream);
    Ok(stream)
}
