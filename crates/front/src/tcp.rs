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
//! for, read from what it says first, which goes on to the backend as it came. Whoever asks for another
//! host, or for none, is nobody's.

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
use segue_model::Side;
use segue_model::plan::TcpPlan;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
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
    /// Counts a connection that came as far as a backend.
    pub(crate) fn came(&self) {
        add(&self.connections, 1);
    }

    /// Counts one that found none, or waited in vain.
    pub(crate) fn fail(&self) {
        add(&self.failed, 1);
    }

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

/// What a connection came for.
enum Goal {
    /// The port, which belongs to one unit.
    Port,
    /// A host at a port that many share.
    Host(Box<str>),
    /// None of the hosts at such a port.
    Nothing,
}

impl Goal {
    /// Returns the unit that it belongs to, if there is one.
    fn unit(&self, front: &Front) -> Option<Arc<Only>> {
        match self {
            Self::Port => front.routes().only(),
            Self::Host(name) => front.site(name).map(|site| {
                Arc::new(Only { gate: site.gate.clone(), counts: site.counts.clone() })
            }),
            Self::Nothing => None,
        }
    }

    /// Waits until it belongs to a unit, whose stream the connection to `side` is from then on, and
    /// for the stream's end.
    async fn becomes_a_units(&self, front: &Front, side: Side, number: usize) {
        let mut changes = front.routes().changes();
        let unit = loop {
            changes.mark_unchanged();
            match self.unit(front) {
                Some(unit) => break unit,
                None if changes.changed().await.is_err() => return pending().await,
                None => {}
            }
        };
        // A gate that is closed has begun to hold, and this is not to pass it.
        let entering = unit.gate.enter(number, flight(), |_| Weight::default());
        let entered = tokio::time::timeout(Duration::ZERO, entering).await;
        if let Ok(Ok(mut pass)) = entered
            && pass.side() == side
        {
            pass.become_stream().cancelled().await;
        }
    }
}

/// What a gate is told of a connection.
fn flight() -> Flight {
    let method = Method::from_bytes(b"TCP").unwrap_or(Method::CONNECT);
    Flight { method, path: None, since_us: crate::clock::now_us() }
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
        let Ok((goal, first)) = self.goal(tcp.by_name).await else { return };
        let Some(unit) = goal.unit(&self.front) else {
            return self.nobodys(&goal, &first, tcp.proxy_out).await;
        };
        let Some((mut pass, server)) = self.reach(&unit, &tcp).await else { return };
        let (front, side) = (self.front.clone(), pass.side());
        let lanes = [front.counts(), &*unit.counts].map(|counts| counts.tcp.get(side));
        lanes.iter().for_each(|lane| lane.came());
        front.note_straggler(unit.gate.unit(), self.peer.ip().to_canonical(), side, side);
        let end = pass.become_stream();
        self.pass_on(server, &first, lanes.map(Some), &end).await;
    }

    /// Passes on a connection that is nobody's, or nobody's yet, as if the front were not there. Once
    /// what it came for belongs to a unit, it is one of its streams.
    async fn nobodys(mut self, goal: &Goal, first: &[u8], proxy_out: bool) {
        let (front, side) = (self.front.clone(), self.front.side());
        let lane = front.counts().tcp.get(side);
        let backend = self.entrance.default_group().address();
        let server = match self.dial(backend, proxy_out).await {
            Ok(server) => server,
            Err(error) => {
                lane.fail();
                if front.may_warn() {
                    tracing::warn!(%side, %backend, %error, "backend takes no connection");
                }
                return;
            }
        };
        lane.came();
        let (number, open) = (self.number, CancellationToken::new());
        tokio::select! {
            () = self.pass_on(server, first, [Some(lane), None], &open) => {}
            () = goal.becomes_a_units(&front, side, number) => {}
        }
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
                    lanes.iter().for_each(|counts| counts.tcp.get(side).fail());
                    if self.front.may_warn() {
                        tracing::warn!(%side, %backend, %error, "backend takes no connection");
                    }
                    return None;
                }
            }
        }
    }

    /// Returns what the connection came for, and what had to be read from the client to know it.
    async fn goal(&mut self, by_name: bool) -> io::Result<(Goal, Vec<u8>)> {
        if !by_name {
            return Ok((Goal::Port, Vec::new()));
        }
        let heard = named::overhear(&mut self.socket, self.front.limits().handshake).await;
        let (name, first) = heard.inspect_err(|error| {
            // Who never said a word only looked whether somebody listens.
            if error.kind() != io::ErrorKind::NotConnected {
                self.front.count_unshaken();
                tracing::debug!(%error, peer = %self.peer, "neither TLS nor HTTP");
            }
        })?;
        Ok((name.map_or(Goal::Nothing, Goal::Host), first))
    }

    /// Waits for the unit's gate; none if it waits for too long or in vain.
    async fn enter(&self, unit: &Only) -> Option<Pass> {
        let entering = unit.gate.enter(self.number, flight(), |_| Weight::default());
        let entered = tokio::select! {
            entered = entering => entered.ok(),
            () = self.hurry.cancelled() => None,
        };
        if entered.is_none() {
            let side = unit.gate.side();
            self.front.counts().tcp.get(side).fail();
            unit.counts.tcp.get(side).fail();
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
        lanes: Lanes<'_>,
        end: &CancellationToken,
    ) {
        let mut client = Counted::new(&mut self.socket, lanes, first);
        let mut server = Shared::new(server, self.front.limits().stalled);
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

/// Where a connection counts: the front's own, and its unit's.
pub(crate) type Lanes<'a> = [Option<&'a Bytes>; 2];

/// Counts what passes.
pub(crate) struct Counted<'a> {
    inner: &'a mut Shared,
    lanes: Lanes<'a>,
}

impl<'a> Counted<'a> {
    /// Counts in `lanes` what passes by the client's socket; what was read from it before is `first`.
    pub(crate) fn new(inner: &'a mut Shared, lanes: Lanes<'a>, first: &[u8]) -> Self {
        lanes.iter().flatten().for_each(|lane| add(&lane.received, first.len() as u64));
        Self { inner, lanes }
    }
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
