//! The sockets of one port: one, or several where a server is joined.

use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use tokio::net::{TcpListener, TcpStream};

/// A connection, or why there is none.
pub(super) type Accepted = io::Result<(TcpStream, SocketAddr)>;

/// Listening sockets at one address; one at least.
pub(super) struct Several {
    listeners: Vec<TcpListener>,
    /// Which one is asked first: none is forgotten because another one always has somebody.
    turn: usize,
}

impl Several {
    pub(super) fn of(sockets: Vec<std::net::TcpListener>) -> io::Result<Self> {
        let listeners =
            sockets.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>()?;
        Ok(Self { listeners, turn: 0 })
    }

    /// Waits for a connection; returns which socket it came to. Nothing is lost if it is dropped.
    pub(super) async fn accept(&mut self) -> (usize, Accepted) {
        let count = self.listeners.len();
        self.turn = (self.turn + 1) % count.max(1);
        let order = (self.turn..count).chain(0..self.turn);
        std::future::poll_fn(|context| {
            for number in order.clone() {
                if let Poll::Ready(accepted) = self.listeners[number].poll_accept(context) {
                    return Poll::Ready((number, accepted));
                }
            }
            Poll::Pending
        })
        .await
    }

    pub(super) fn all(&self) -> &[TcpListener] {
        &self.listeners
    }

    /// Returns the first one, for what is set for all of them at once.
    pub(super) fn any(&self) -> io::Result<&TcpListener> {
        self.listeners.first().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Closes all but this one.
    pub(super) fn keep_only(&mut self, number: usize) {
        self.listeners.swap(0, number);
        self.listeners.truncate(1);
    }
}
