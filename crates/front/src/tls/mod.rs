//! TLS at a front's port: whose certificate a client gets, and the handshake.
//!
//! Keys are read from the disk by the front itself and go over no socket. Files that change
//! are read anew ([`certs`]); a connection that stands keeps what it had.

mod certs;
mod files;
mod hello;
#[cfg(test)]
mod tests;

pub(crate) use certs::Certs;

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
        let TlsPlan { certificates, default_certificate } = plan;
        let certs = Certs::open(certificates.clone(), default_certificate.clone())?;
        let config = config(certs.clone()).map_err(|e| {
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
    /// take all of it. If strangers `pass`, one that has no certificate here, or comes for a
    /// certificate's own protocol (RFC 8737), is given back with what it said.
    ///
    /// # Errors
    /// If there is no certificate for the name the client asks for (which it is told by an
    /// alert), it speaks something else, leaves, or takes too long.
    pub(crate) async fn accept<S>(&self, socket: S, pass: bool) -> io::Result<Client<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let full = self.handshakes.available_permits() * 2 < self.limits.handshakes_max;
        let limit = if full { self.limits.handshake / 4 } else { self.limits.handshake };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(limit, self.shake(socket, pass)).await.map_err(late)?
    }

    async fn shake<S>(&self, mut socket: S, pass: bool) -> io::Result<Client<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let _room = self.handshakes.acquire().await.map_err(io::Error::other)?;
        let Hello { accepted, bytes } = hello::read(&mut socket).await?;
        let wanted = accepted.client_hello();
        let known = self.certs.find(wanted.server_name(), wanted.signature_schemes()).is_some();
        let authority = wanted.alpn().is_some_and(|mut all| all.any(|name| name == ACME));
        if pass && (authority || !known) {
            return Ok(Client::Stranger { socket, bytes });
        }
        if !known {
            let text = format!("no certificate for {:?}", wanted.server_name());
            hello::unknown_name(&mut socket).await?;
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let start = StartHandshake::from_parts(accepted, socket);
        Ok(Client::Ours(Box::new(start.into_stream(self.config.clone()).await?)))
    }
}

/// A client that said its first word.
pub(crate) enum Client<S> {
    /// It shook hands.
    Ours(Box<TlsStream<S>>),
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
fn config(certs: Arc<Certs>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certs);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}
