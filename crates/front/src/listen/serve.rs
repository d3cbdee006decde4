//! One client's connection from its first byte to its last.

use super::accept::{Arrival, too_many};
use crate::client::{Caller, introduction, read_preface};
use crate::clock;
use crate::crowd::Place;
use crate::entrance::Entrance;
use crate::front::Front;
use crate::gate::{Flight, Weight};
use crate::limits::HEADERS;
use crate::proxy::{self, Conn, Scheme, Talk};
use crate::routes::Unread;
use crate::socket::{Shared, give_up};
use crate::tcp;
use crate::tls::{Client, Host, no_protocol};
use crate::upstream::dial;
use crate::wire::{self, Told, Wire};
use http::Method;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use segue_model::plan::PortKind;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// The HTTP layer's buffer: the largest head, and room for what else comes with it.
const BUFFER_MAX: usize = wire::HEAD_MAX + (8 << 10);

/// What a client still sends after its request was refused is read and thrown away, so that
/// the refusal reaches it: closing a socket with unread bytes takes back what was sent.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_MAX: usize = 256 << 10;

/// Serves a connection by what its port is for. It ends with its next answer once the front
/// closes, and is asked to at once when `hurry` is cancelled.
pub(super) async fn serve(
    front: Arc<Front>,
    entrance: Arc<Entrance>,
    mut stream: TcpStream,
    mut arrival: Arrival,
    hurry: CancellationToken,
) {
    let patient = entrance.options().kind == PortKind::Tcp;
    // In a box, so that connections without it do not carry its room along.
    if arrival.says_client && !Box::pin(learn_client(&front, &mut stream, &mut arrival)).await {
        return;
    }
    let limits = front.limits();
    let taken_idle = if patient { limits.stalled } else { limits.taken_idle };
    let socket = Shared::new(stream, taken_idle);
    let Arrival { peer, place, .. } = arrival;
    let guest = Guest { front, entrance, peer, place, socket: socket.clone(), hurry };
    match guest.entrance.options().kind {
        PortKind::Http => guest.http(Scheme::Http, socket).await,
        // In a box, so that connections in clear do not carry its room along.
        PortKind::Tls => Box::pin(guest.tls(socket)).await,
        PortKind::Tcp => Box::pin(guest.tcp(socket)).await,
    }
}

/// Reads who the client is; false if that is not said, or the client has too many connections.
async fn learn_client(front: &Arc<Front>, stream: &mut TcpStream, arrival: &mut Arrival) -> bool {
    let said = tokio::time::timeout(front.limits().preface, read_preface(stream)).await;
    let why = match said {
        Ok(Ok(None)) => return true,
        Ok(Ok(Some(client))) => {
            arrival.peer = client;
            let free = front.trusted().contains(client.ip()) || arrival.place.of(client.ip());
            if !free {
                too_many(front, client);
            }
            return free;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no PROXY header in time".to_owned(),
    };
    front.crowd().turn_away();
    if front.may_warn() {
        tracing::warn!(peer = %arrival.peer, why, "a trusted proxy does not say who the client is");
    }
    false
}

/// A connection, and where it came in.
pub(super) struct Guest {
    pub(super) front: Arc<Front>,
    pub(super) entrance: Arc<Entrance>,
    pub(super) peer: SocketAddr,
    /// Among all connections; kept until this one ends.
    pub(super) place: Place,
    pub(super) socket: Shared,
    hurry: CancellationToken,
}

impl Guest {
    /// Shakes hands and serves HTTP. Who has no certificate here is let through to the live server
    /// whose connections the port gets: it may be for a site that is not moved.
    async fn tls(self, socket: Shared) {
        let Some(tls) = self.entrance.tls() else { return };
        let live = self.live();
        let whose = |name: &str| match self.front.site(name) {
            Some(site) if site.passthrough.is_some() => Host::Unread,
            Some(_) => Host::Read,
            None => Host::Stranger,
        };
        match tls.accept(socket, live.is_some(), whose).await {
            Ok(Client::Ours { stream, shown: None }) => self.http(Scheme::Https, *stream).await,
            Ok(Client::Ours { stream, shown: Some(shown) }) => self.http2(*stream, shown).await,
            Ok(Client::Unread { socket, bytes, name }) => self.unread(socket, &bytes, &name).await,
            Ok(Client::Authority { socket, bytes, name }) => {
                self.authority(socket, &bytes, &name).await;
            }
            Ok(Client::Stranger { socket, bytes }) => {
                let Some(server) = live else { return };
                if let Some(server) = self.dial(server).await {
                    self.both(socket, &bytes, server, Default::default()).await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => {
                self.front.count_unshaken();
                tracing::debug!(%error, peer = %self.peer, "no TLS");
            }
        }
    }

    /// Passes bytes. Its place is kept until the end.
    async fn tcp(self, socket: Shared) {
        let Self { front, entrance, peer, place, hurry, .. } = self;
        let number = place.number();
        tcp::Client { front, entrance, peer, number, socket, hurry }.serve().await;
    }

    /// Returns where the live server of a port for TLS speaks it itself.
    fn live(&self) -> Option<Unread> {
        let options = self.entrance.options();
        let elsewhere = options.tls.as_ref().and_then(|tls| tls.strangers);
        let address = if options.is_live() { Some(options.listen) } else { elsewhere };
        // Whoever came to this port by a proxy said so at its beginning.
        address.map(|address| Unread { address, introduces: options.proxy_in })
    }

    /// Passes a connection on to the side that takes the site's requests, once the gate lets it.
    /// From then on it stays where it is, whatever is held later: it cannot be told what it
    /// carries, nor when it could be ended.
    async fn unread(&self, client: Shared, bytes: &[u8], name: &str) {
        let Some(site) = self.front.site(name) else { return };
        let Some(servers) = &site.passthrough else { return };
        // Nothing of it can be told but bytes, as at a port for TCP: it counts like one of those.
        let lanes = |side| [self.front.counts(), &*site.counts].map(|counts| counts.tcp.get(side));
        let fail = |side| lanes(side).iter().for_each(|lane| lane.fail());
        let flight = Flight { method: Method::CONNECT, path: None, since_us: clock::now_us() };
        let Ok(mut pass) =
            site.gate.enter(self.place.number(), flight, |_| Weight::default()).await
        else {
            fail(site.gate.side());
            return;
        };
        if pass.waited() && client.peer_closed() {
            return;
        }
        let side = pass.side();
        let Some(server) = self.dial(*servers.get(side)).await else {
            fail(side);
            return;
        };
        lanes(side).iter().for_each(|lane| lane.came());
        self.front.note_straggler(site.gate.unit(), self.peer.ip().to_canonical(), side, side);
        // Counted as a stream; the end of those is not its own.
        let _end = pass.become_stream();
        self.both(client, bytes, server, lanes(side).map(Some)).await;
    }

    /// Passes a certificate authority on to the side that takes the site's requests. It does not
    /// wait while the site is held: an authority does not either.
    async fn authority(&self, mut client: Shared, bytes: &[u8], name: &str) {
        let Some(site) = self.front.site(name) else { return };
        let side = site.gate.side();
        let behind = self.live().filter(|_| side == self.front.side());
        match behind.or(*site.authority.get(side)) {
            Some(server) => {
                if let Some(server) = self.dial(server).await {
                    // It shakes hands and leaves. Whoever speaks on is none, and past every hold.
                    let asked = self.both(client, bytes, server, Default::default());
                    let _ = tokio::time::timeout(self.front.limits().handshake, asked).await;
                }
            }
            None => {
                self.front.count_unshaken();
                if let Err(error) = no_protocol(&mut client).await {
                    tracing::debug!(%error, peer = %self.peer, "no TLS");
                }
            }
        }
    }

    async fn dial(&self, server: Unread) -> Option<TcpStream> {
        let (limit, egress) = (self.front.limits().connect, self.front.options().egress);
        let opened = async {
            let mut stream = dial(server.address, egress).await?;
            give_up(&stream);
            if server.introduces {
                let (client, listen) = (self.peer, self.entrance.options().listen);
                stream.write_all(&introduction(Some(&Caller { client, listen }))).await?;
            }
            io::Result::Ok(stream)
        };
        match tokio::time::timeout(limit, opened).await {
            Ok(Ok(stream)) => Some(stream),
            _ => {
                if self.front.may_warn() {
                    tracing::warn!(server = %server.address, "the server takes no connection");
                }
                None
            }
        }
    }

    /// Passes what comes both ways, beginning with what was read from the client.
    async fn both(
        &self,
        mut client: Shared,
        bytes: &[u8],
        mut server: TcpStream,
        lanes: tcp::Lanes<'_>,
    ) {
        let mut client = tcp::Counted::new(&mut client, lanes, bytes);
        let both = async {
            server.write_all(bytes).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        };
        tokio::select! {
            _ = both => {}
            () = self.hurry.cancelled() => {}
        }
    }

    /// Serves HTTP/1 over a stream that ends in the connection's socket.
    async fn http<S>(self, scheme: Scheme, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { front, entrance, peer, place, socket, hurry } = self;
        let number = place.number();
        let limits = front.limits().clone();
        let told = Arc::new(Told::default());
        let also = socket.clone();
        let talk = Talk::One(told.clone());
        let conn = Conn::new(front.clone(), entrance, scheme, peer, number, also, talk);
        let timer = conn.timer().clone();
        let service = service_fn(move |request| proxy::handle(conn.clone(), request, None));
        let mut builder = http1::Builder::new();
        if limits.headers != HEADERS {
            // Any number but the usual one takes memory for each head.
            builder.max_headers(limits.headers);
        }
        let serving = builder
            .timer(timer)
            .header_read_timeout(limits.head_read)
            .max_buf_size(BUFFER_MAX)
            // A head and a small body copied together go out sooner than as two pieces.
            .writev(false)
            .serve_connection(TokioIo::new(Wire::new(stream, told.clone())), service)
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
        if let Some(refusal) = told.refusal() {
            front.count_refusal(refusal);
            tracing::debug!(%peer, why = refusal.why(), "request refused");
            // In a box, so that ordinary connections do not carry its room along.
            let _ = tokio::time::timeout(LINGER, Box::pin(linger(socket))).await;
        }
    }
}

async fn linger(mut socket: Shared) {
    let (mut room, mut read) = (vec![0; 8 << 10], 0);
    while read < LINGER_MAX {
        match socket.read(&mut room).await {
            Ok(more) if more > 0 => read += more,
            _ => return,
        }
    }
}
