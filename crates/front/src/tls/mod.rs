//! TLS at a front's port: whose certificate a client gets, and the handshake.
//!
//! Keys are read from the disk by the front itself and go over no socket. Files that change
//! are read anew ([`certs`]); a connection that stands keeps what it had.

mod certs;
mod files;
mod hello;
mod shown;
#[cfg(test)]
mod tests;

pub(crate) use certs::Certs;
pub(crate) use hello::no_protocol;
pub(crate) use shown::Shown;

use crate::limits::Limits;
use hello::Hello;
use rustls::ServerConfig;
use rustls::crypto::ring;
use segue_model::plan::TlsPlan;
use segue_model::{Fault, FaultKind};
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

/// The protocol in which a certificate authority sees who has a name (RFC 8737).
const ACME: &[u8] = b"acme-tls/1";

/// HTTP/2 over TLS (RFC 9113 3.2), and what is spoken else.
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// Whose TLS for a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// Of no site that is known here.
    Stranger,
    /// It ends here.
    Read,
    /// That of a site's own servers.
    Unread,
}

/// What a TLS port needs.
pub(crate) struct Tls {
    certs: Arc<Certs>,
    config: Arc<ServerConfig>,
    handshakes: Semaphore,
    limits: Arc<Limits>,
}

impl Tls {
    /// Reads the certificates of a port. Blocks.
    ///
    /// # Errors
    /// `SG0124` if none can be used.
    pub(crate) fn open(plan: &TlsPlan, limits: Arc<Limits>) -> Result<Arc<Self>, Fault> {
        let TlsPlan { certificates, default_certificate, http2, .. } = plan;
        let certs = Certs::open(certificates.clone(), default_certificate.clone())?;
        let config = config(certs.clone(), *http2).map_err(|e| {
            Fault::new("SG0124", FaultKind::Unsupported, "prepare TLS", e)
                .hint("look whether the machine has a source of randomness")
        })?;
        let handshakes = Semaphore::new(limits.handshakes_max);
        Ok(Arc::new(Self { certs, config: Arc::new(config), handshakes, limits }))
    }

    /// Returns the certificates.
    pub(crate) fn certs(&self) -> &Certs {
        &self.certs
    }

    /// Looks at the certificates' files again and again, until dropped.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut rest = self.limits.certificates;
        loop {
            tokio::time::sleep(rest).await;
            let (certs, began) = (self.certs.clone(), Instant::now());
            // It cannot panic; if it did, the former certificates would stay.
            let _ = tokio::task::spawn_blocking(move || certs.refresh()).await;
            // With thousands of files a look takes long: never more than a hundredth of the time.
            rest = self.limits.certificates.max(began.elapsed() * 100);
        }
    }

    /// Shakes hands with a client, as many at once and as long as the limits allow. While half
    /// of the room is taken, everybody has a quarter of the time: whoever needs more wants to
    /// take all of it. One whose name is to go unread is given back with what it said, and so is a
    /// certificate authority that comes for a site's name by its own protocol (RFC 8737); if
    /// strangers `pass`, also one that has no certificate here.
    ///
    /// # Errors
    /// If there is no certificate for the name the client asks for (which it is told by an
    /// alert), it speaks something else, leaves, or takes too long.
    pub(crate) async fn accept<S>(
        &self,
        socket: S,
        pass: bool,
        whose: impl Fn(&str) -> Host,
    ) -> io::Result<Client<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let full = self.handshakes.available_permits() * 2 < self.limits.handshakes_max;
        let limit = if full { self.limits.handshake / 4 } else { self.limits.handshake };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(limit, self.shake(socket, pass, whose)).await.map_err(late)?
    }

    async fn shake<S>(
        &self,
        mut socket: S,
        pass: bool,
        whose: impl Fn(&str) -> Host,
    ) -> io::Result<Client<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let _room = self.handshakes.acquire().await.map_err(io::Error::other)?;
        let Hello { accepted, bytes } = hello::read(&mut socket, Vec::new()).await?;
        let wanted = accepted.client_hello();
        // It comes for this alone; whoever names others too is no authority.
        let authority = wanted.alpn().is_some_and(|all| all.eq([ACME]));
        if let Some(name) = wanted.server_name() {
            match whose(name) {
                Host::Read | Host::Unread if authority => {
                    let name = name.into();
                    return Ok(Client::Authority { socket, bytes, name });
                }
                Host::Unread => {
                    let name = name.into();
                    return Ok(Client::Unread { socket, bytes, name });
                }
                Host::Read | Host::Stranger => {}
            }
        }
        let offer = self.certs.find(wanted.server_name(), wanted.signature_schemes());
        if pass && (authority || offer.is_none()) {
            return Ok(Client::Stranger { socket, bytes });
        }
        let Some(offer) = offer else {
            let text = format!("no certificate for {:?}", wanted.server_name());
            hello::unknown_name(&mut socket).await?;
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        };
        let shown = Shown::new(wanted.server_name(), offer.names);
        let start = StartHandshake::from_parts(accepted, socket);
        let stream = start.into_stream(self.config.clone()).await?;
        let many = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok(Client::Ours { stream: Box::new(stream), shown: many.then_some(shown) })
    }
}

/// Reads what a client says first where TLS goes by unread: the host it asks for, if it names one,
/// and the bytes in which it did, those of `begun` first.
///
/// # Errors
/// If it speaks something else (which it is told by an alert), or leaves.
pub(crate) async fn overhear<S>(
    socket: &mut S,
    begun: Vec<u8>,
) -> io::Result<(Option<Box<str>>, Vec<u8>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let said = hello::read(socket, begun).await?;
    Ok((said.accepted.client_hello().server_name().map(Box::from), said.bytes))
}

/// A client that said its first word.
pub(crate) enum Client<S> {
    /// It shook hands.
    Ours {
        /// What it says from now on.
        stream: Box<TlsStream<S>>,
        /// The certificate it got, if it speaks HTTP/2 and may ask for other hosts as well.
        shown: Option<Shown>,
    },
    /// It is for a site whose TLS is not the front's to read.
    Unread {
        /// Its connection.
        socket: S,
        /// What was read from it.
        bytes: Vec<u8>,
        /// The host it asks for.
        name: Box<str>,
    },
    /// It asks whether a site's name is somebody's, before it certifies that.
    Authority {
        /// Its connection.
        socket: S,
        /// What was read from it.
        bytes: Vec<u8>,
        /// The host it asks for.
        name: Box<str>,
    },
    /// It is somebody else's; this is what it said.
    Stranger {
        /// Its connection.
        socket: S,
        /// What was read from it.
        bytes: Vec<u8>,
    },
}

/// TLS 1.2 and 1.3, resumed by tickets whose keys the library changes every six hours: a
/// client that comes back does not wait for a signature, and the front keeps nothing for it.
fn config(certs: Arc<Certs>, http2: bool) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certs);
    let spoken = [http2.then_some(HTTP_2), Some(HTTP_1)];
    config.alpn_protocols = spoken.into_iter().flatten().map(<[u8]>::to_vec).collect();
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}
