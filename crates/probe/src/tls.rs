//! TLS as a visitor's browser speaks it.

use crate::certificates::{Authorities, unverified};
use crate::client::Failure;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long authorities are trusted without another look: the gate on certificates looks as often.
const FRESH: Duration = Duration::from_secs(60);

/// Connectors by the file of authorities that they trust: many sites trust the same ones.
static KNOWN: LazyLock<Mutex<HashMap<Option<PathBuf>, Known>>> = LazyLock::new(Mutex::default);

/// A connector, and what it was made of.
struct Known {
    connector: TlsConnector,
    made: Instant,
    file: Option<Stamp>,
}

/// What tells a file from the one that was read: when it was written, how long it is, and which.
type Stamp = (SystemTime, u64, u64);

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
        let roots = self.roots.clone();
        tokio::task::spawn_blocking(move || connector(roots)).await.ok().flatten()
    }
}

/// Returns a connector that trusts what the file says now.
fn connector(roots: Option<PathBuf>) -> Option<TlsConnector> {
    // Before it is read: what is written meanwhile is read the next time.
    let file = roots.as_deref().and_then(stamp);
    if let Some(known) = crate::lock(&KNOWN).get(&roots)
        && known.file == file
        && known.made.elapsed() < FRESH
    {
        return Some(known.connector.clone());
    }
    let authorities = Authorities::read(roots.as_deref()).ok()?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(authorities.verifier())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let known = Known { connector: connector.clone(), made: Instant::now(), file };
    crate::lock(&KNOWN).insert(roots, known);
    Some(connector)
}

fn stamp(file: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len(), data.ino()))
}
