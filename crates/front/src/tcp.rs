//! Connections of which the front understands nothing but their bytes: mail, databases.
//!
//! A connection waits at its unit's gate before its backend is dialled, so that a client of a
//! protocol in which the server speaks first just waits for the greeting. From then on it is a
//! stream: bytes pass both ways, each way until its own end, and a hold ends it after it began,
//! as it does a WebSocket. Nothing is sent twice: a backend that cannot be reached ends the
//! connection.
//!
//! A connection names no site, so a port belongs to one unit. Where clients speak TLS from the
//! first byte, or HTTP, a port may go by name: the unit is the one with the host that the client asks
//! for, read from what it says first, which goes on to the backend as it came.

use crate::client::{Caller, introduction};
use crate::control::TcpTotals;
use crate::entrance::Entrance;
use crate::front::Front;
use crate::gate::{Flight, Pass, Weight};
use crate::named;
use crate::routes::Only;
use crate::socket::Shared;
use crate::upstream::dial;
use http::Method;
use segue_model::plan::TcpPlan;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// What is counted of the connections to one side.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    /// Connections that came as far as a backend.
    pub(crate) connections: AtomicU64,
    /// Those that found none, or waited in vain.
    pub(crate) failed: AtomicU64,
    /// From clients.
    pub(crate) received: AtomicU64,
    /// To clients.
    pub(crate) sent: AtomicU64,
}

impl Bytes {
    /// Counts what another process counted.
    pub(crate) fn add(&self, saved: &TcpTotals) {
        add(&self.connections, saved.connections);
        add(&self.failed, saved.failed);
        add(&self.received, saved.received);
        add(&self.sent, saved.sent);
    }

    /// Returns everything counted so far.
    pub(crate) fn totals(&self) -> TcpTotals {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TcpTotals {
            connections: of(&self.connections),
            failed: of(&self.failed),
            received: of(&self.received),
            sent: of(&self.sent),
        }
    }
}

/// A client's connection at a port for TCP.
pub(crate) struct Client {
    pub(crate) front: Arc<Front>,
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) peer: SocketAddr,
    /// Spreads connections over shards.
    pub(crate) number: usize,
    pub(crate) socket: Shared,
    pub(crate) hurry: CancellationToken,
}

impl Client {
    /// Passes the connection on to where its unit is, until it ends or a hold begins.
    pub(crate) async fn serve(mut self) {
        let Some(tcp) = self.entrance.options().tcp.clone() else { return };
        let Ok((unit, first)) = self.whose(tcp.by_name).await else { return };
        let Some(unit) = unit else {
            // Nobody's, or nobody's yet: as if the front were not there.
            let backend = self.entrance.default_group().address();
            if let Ok(server) = self.dial(backend, tcp.proxy_out).await {
                self.pass_on(server, &first, None, &CancellationToken::new()).await;
            }
            return;
        };
        let Some((mut pass, server)) = self.reach(&unit, &tcp).await else { return };
        let (front, side) = (self.front.clone(), pass.side());
        let lanes = [front.counts(), &*unit.counts].map(|counts| counts.tcp.get(side));
        lanes.iter().for_each(|lane| add(&lane.connections, 1));
        front.note_straggler(unit.gate.unit(), self.peer.ip().to_canonical(), side, side);
        let end = pass.become_stream();
        self.pass_on(server, &first, Some(lanes), &end).await;
    }

    /// Connects to the side that takes the unit's connections, once the gate lets it; none if it
    /// waits for too long or in vain, or no backend is there. One that a hold overtakes has
    /// passed nothing yet: it waits as well, in place of being ended.
    async fn reach(&self, unit: &Only, tcp: &TcpPlan) -> Option<(Pass, TcpStream)> {
        loop {
            let pass = self.enter(unit).await?;
            let side = pass.side();
            let backend = *tcp.backends.get(side);
            match self.dial(backend, tcp.proxy_out).await {
                Ok(_) if pass.is_overtaken() => {}
                Ok(server) => return Some((pass, server)),
                Err(error) => {
                    let lanes = [self.front.counts(), &*unit.counts];
                    lanes.iter().for_each(|counts| add(&counts.tcp.get(side).failed, 1));
                    if self.front.may_warn() {
                        tracing::warn!(%side, %backend, %error, "backend takes no connection");
                    }
                    return None;
                }
            }
        }
    }

    /// Returns the unit of the connection, and what had to be read from the client to know it.
    async fn whose(&mut self, by_name: bool) -> io::Result<(Option<Arc<Only>>, Vec<u8>)> {
        if !by_name {
            return Ok((self.front.routes().only(), Vec::new()));
        }
        let heard = named::overhear(&mut self.socket, self.front.limits().handshake).await;
        let (name, first) = heard.inspect_err(|error| {
            // Who never said a word only looked whether somebody listens.
            if error.kind() != io::ErrorKind::NotConnected {
                self.front.count_unshaken();
                tracing::debug!(%error, peer = %self.peer, "neither TLS nor HTTP");
            }
        })?;
        let site = name.and_then(|name| self.front.site(&name));
        let unit = site.map(|site| Only { gate: site.gate.clone(), counts: site.counts.clone() });
        // Whoever names nobody comes for the only unit that there is, if there is one.
        Ok((unit.map(Arc::new).or_else(|| self.front.routes().only()), first))
    }

    /// Waits for the unit's gate; none if it waits for too long or in vain.
    async fn enter(&self, unit: &Only) -> Option<Pass> {
        let method = Method::from_bytes(b"TCP").unwrap_or(Method::CONNECT);
        let flight = Flight { method, path: None, since_us: crate::clock::now_us() };
        let entering = unit.gate.enter(self.number, flight, |_| Weight::default());
        let entered = tokio::select! {
            entered = entering => entered.ok(),
            () = self.hurry.cancelled() => None,
        };
        if entered.is_none() {
            let side = unit.gate.side();
            add(&self.front.counts().tcp.get(side).failed, 1);
            add(&unit.counts.tcp.get(side).failed, 1);
        }
        entered
    }

    /// Connects to a backend, and says who the client is where it wants to know.
    async fn dial(&self, backend: SocketAddr, proxy_out: bool) -> io::Result<TcpStream> {
        let limit = self.front.limits().connect;
        let connect = async {
            let mut server = dial(backend, self.front.options().egress).await?;
            if proxy_out {
                let (client, listen) = (self.peer, self.entrance.options().listen);
                server.write_all(&introduction(Some(&Caller { client, listen }))).await?;
            }
            Ok(server)
        };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(limit, connect).await.map_err(late)?
    }

    /// Passes bytes both ways, beginning with those that were read from the client.
    async fn pass_on(
        &mut self,
        server: TcpStream,
        first: &[u8],
        lanes: Option<[&Bytes; 2]>,
        end: &CancellationToken,
    ) {
        let mut client = Counted { inner: &mut self.socket, lanes };
        let mut server = Shared::new(server, self.front.limits().stalled);
        lanes.iter().flatten().for_each(|lane| add(&lane.received, first.len() as u64));
        let both = async {
            server.write_all(first).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        };
        tokio::select! {
            ended = both => {
                if let Err(error) = ended {
                    tracing::debug!(%error, peer = %self.peer, "connection broke");
                }
            }
            () = end.cancelled() => {}
            () = self.hurry.cancelled() => {}
        }
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Counts what passes.
struct Counted<'a> {
    inner: &'a mut Shared,
    lanes: Option<[&'a Bytes; 2]>,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.inner).poll_read(cx, buf);
        let more = (buf.filled().len() - before) as u64;
        self.lanes.iter().flatten().for_each(|lane| add(&lane.received, more));
        read
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(more)) = &written {
            self.lanes.iter().flatten().for_each(|lane| add(&lane.sent, *more as u64));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_shutdown(cx)
    }
}
