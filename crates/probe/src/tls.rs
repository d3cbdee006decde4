//! TLS as a visitor's browser speaks it.

use crate::certificates::{Authorities, unverified};
use crate::client::Failure;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connectors by the file of authorities that they trust: many sites trust the same ones.
static KNOWN: LazyLock<Mutex<HashMap<Option<PathBuf>, TlsConnector>>> =
    LazyLock::new(Mutex::default);

/// How TLS is spoken with who has a name.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    name: String,
    /// A file with the authorities that are trusted; none for those of this machine.
    roots: Option<PathBuf>,
    /// Whether what is shown has to be valid for the name.
    verified: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS with {}", self.name)
    }
}

impl Tls {
    /// Speaks TLS with whom `name` belongs to, as authorities say that this machine trusts, or
    /// those of a file.
    pub fn new(name: impl Into<String>, roots: Option<PathBuf>) -> Self {
        Self { name: name.into(), roots, verified: true }
    }

    /// Speaks TLS with whoever is there.
    pub(crate) fn unverified(name: &str) -> Self {
        Self { name: name.to_owned(), roots: None, verified: false }
    }

    /// Shakes hands.
    pub(crate) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        if !self.verified {
            return unverified(&self.name, stream).await.map_err(|_| Failure::Tls);
        }
        let name = ServerName::try_from(self.name.clone()).map_err(|_| Failure::Tls)?;
        let connector = self.connector().await.ok_or(Failure::Tls)?;
        connector.connect(name, stream).await.map_err(|_| Failure::Tls)
    }

    async fn connector(&self) -> Option<TlsConnector> {
        if let Some(known) = crate::lock(&KNOWN).get(&self.roots) {
            return Some(known.clone());
        }
        let roots = self.roots.clone();
        let built = tokio::task::spawn_blocking(move || {
            let authorities = Authorities::read(roots.as_deref()).ok()?;
            let mut config =
                ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .ok()?
                    .dangerous()
                    .with_custom_certificate_verifier(authorities.verifier())
                    .with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Some(TlsConnector::from(Arc::new(config)))
        });
        let built = built.await.ok().flatten()?;
        crate::lock(&KNOWN).insert(self.roots.clone(), built.clone());
        Some(built)
    }
}
