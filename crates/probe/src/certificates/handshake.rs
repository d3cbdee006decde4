//! A TLS handshake that believes whatever is shown, to look at it afterwards.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use segue_model::plan::OWN_AGENT;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a handshake may take, and an answer after it.
const LIMIT: Duration = Duration::from_secs(5);

/// Longest head of an answer, bytes.
const HEAD_MAX: u64 = 32 << 10;

/// What a server showed: its certificate and those between it and an authority.
pub(super) type Shown = Vec<CertificateDer<'static>>;

/// Shakes hands in a name's name and returns what was shown.
///
/// # Errors
/// If nobody answers, or not with TLS.
pub(super) async fn shown(name: &str, address: SocketAddr) -> io::Result<Shown> {
    let stream = within(connect(name, address)).await?;
    Ok(certificates(&stream))
}

/// Asks for a page over TLS; returns what was shown and the head of the answer.
///
/// # Errors
/// If nobody answers, or not with HTTP over TLS.
pub(super) async fn ask_over_tls(
    name: &str,
    address: SocketAddr,
    path: &str,
) -> io::Result<(Shown, String)> {
    within(async {
        let mut stream = connect(name, address).await?;
        let ask = format!(
            "HEAD {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: {OWN_AGENT}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await?;
        let mut head = Vec::new();
        let mut limited = (&mut stream).take(HEAD_MAX);
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if limited.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        Ok((certificates(&stream), String::from_utf8_lossy(&head).into_owned()))
    })
    .await
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    tokio::time::timeout(LIMIT, work).await.map_err(late)?
}

async fn connect(name: &str, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    unverified(name, TcpStream::connect(address).await?).await
}

/// Shakes hands over a connection, whatever is shown.
///
/// # Errors
/// If that is no TLS, or `name` is none.
pub(crate) async fn unverified(name: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let server = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config)).connect(server, stream).await
}

fn certificates(stream: &TlsStream<TcpStream>) -> Shown {
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    shown.iter().map(|one| one.clone().into_owned()).collect()
}

/// Takes every certificate, and sees to it that the server has its key.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
