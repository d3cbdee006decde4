//! Certificates made for a test, and clients that trust them.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate signed with its own key.
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    chain: String,
    key: String,
}

impl Certificate {
    pub(crate) fn made(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Self { der: made.der().clone(), chain: made.pem(), key: key.serialize_pem() }
    }

    /// What a server needs that shows it.
    pub(crate) fn for_server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .unwrap();
        Arc::new(config)
    }

    /// Its SHA-256, in hexadecimal digits with colons.
    pub(crate) fn sha256(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.der);
        let bytes: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }

    /// Lays chain and key into a folder as certbot does.
    pub(crate) fn lay(&self, folder: &Path) {
        self.lay_chain(folder);
        replace(&folder.join("privkey.pem"), &self.key);
    }

    pub(crate) fn lay_chain(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        replace(&folder.join("fullchain.pem"), &self.chain);
    }

    /// Whether this is what the server of a connection showed.
    pub(crate) fn is_of<S>(&self, stream: &TlsStream<S>) -> bool {
        stream.get_ref().1.peer_certificates().is_some_and(|shown| shown[0] == self.der)
    }
}

fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(&next, path).unwrap();
}

/// What a client trusts.
#[derive(Clone)]
pub(crate) struct Trust(ClientConfig);

impl Trust {
    pub(crate) fn of(
        certificates: &[&Certificate],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.der.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(config)
    }

    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> Result<TlsStream<TcpStream>, String> {
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        self.shake(name, stream).await
    }

    /// Connects for a protocol.
    pub(crate) async fn connect_for(
        &self,
        address: SocketAddr,
        name: &str,
        protocol: &[u8],
    ) -> Result<TlsStream<TcpStream>, String> {
        self.connect_for_all(address, name, &[protocol]).await
    }

    /// Connects for one of several protocols.
    pub(crate) async fn connect_for_all(
        &self,
        address: SocketAddr,
        name: &str,
        protocols: &[&[u8]],
    ) -> Result<TlsStream<TcpStream>, String> {
        let mut other = self.clone();
        other.0.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
        other.connect(address, name).await
    }

    pub(crate) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        name: &str,
        stream: S,
    ) -> Result<TlsStream<S>, String> {
        let connector = TlsConnector::from(Arc::new(self.0.clone()));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        connector.connect(name, stream).await.map_err(|e| e.to_string())
    }
}

/// A connection that sends a few octets at a time.
pub(crate) struct Pieces(pub(crate) TcpStream);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        // Long enough for the other end to read what came before.
        std::thread::sleep(std::time::Duration::from_millis(1));
        Pin::new(&mut self.0).poll_write(cx, &buf[..buf.len().min(20)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
