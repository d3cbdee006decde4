//! TLS to the servers behind the front.
//!
//! Whose certificate a server has to show is said with its route: one that a root vouches for,
//! one of those that are pinned, or any, which keeps out those who listen and nobody who stands
//! between. Sessions are resumed, for every request with a body has a new connection.

use crate::control::{ServerTls, Verify};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use segue_model::{Fault, FaultKind};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where Debian and its kin keep the roots that their programs trust.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Largest file of roots, bytes. Debian's has 220 KB.
const ROOTS_MAX: u64 = 8 << 20;

/// What it takes to speak TLS to a server.
pub(crate) struct Tls {
    /// None if nobody can be reached.
    connector: Option<TlsConnector>,
    name: ServerName<'static>,
}

impl Tls {
    /// Prepares TLS to servers that show a certificate for `host`, unless another name is said.
    /// Reads the roots, which blocks.
    ///
    /// # Errors
    /// `SG0134` if the roots cannot be read, a pin is none, or the name is none of a host.
    pub(crate) fn new(plan: &ServerTls, host: &str) -> Result<Arc<Self>, Fault> {
        let name = plan.name.as_deref().unwrap_or(host);
        let fault = |cause: &dyn std::fmt::Display| {
            let op = format!("prepare TLS to the servers of `{host}`");
            Fault::new("SG0134", FaultKind::Invalid, op, cause).hint(
                "name the server as its certificate does, a file of roots that can be read, or \
                 pins of 64 hexadecimal digits",
            )
        };
        let server = ServerName::try_from(name.to_owned())
            .map_err(|e| fault(&format!("`{name}` names no server: {e}")))?;
        let config = config(&plan.verify).map_err(|cause| fault(&cause))?;
        let connector = Some(TlsConnector::from(Arc::new(config)));
        Ok(Arc::new(Self { connector, name: server }))
    }

    /// Returns TLS that takes no certificate of anybody.
    pub(crate) fn none() -> Arc<Self> {
        Arc::new(Self {
            connector: None,
            name: ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into()),
        })
    }

    /// Shakes hands. Takes as long as the server does: the caller limits it.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        match &self.connector {
            Some(connector) => connector.connect(self.name.clone(), stream).await,
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn config(verify: &Verify) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let lenient = |pins: Option<Vec<[u8; 32]>>| Arc::new(Lenient { pins, provider });
    let builder = match verify {
        Verify::Roots { file } => builder.with_root_certificates(roots(file.as_deref())?),
        Verify::Pins { sha256 } => {
            let pins = sha256.iter().map(|pin| pin_of(pin)).collect::<Result<_, _>>()?;
            builder.dangerous().with_custom_certificate_verifier(lenient(Some(pins)))
        }
        Verify::Off => builder.dangerous().with_custom_certificate_verifier(lenient(None)),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let path = file.map_or_else(|| PathBuf::from(ROOTS), Path::to_owned);
    let told = |e: &dyn std::fmt::Display| format!("`{}`: {e}", path.display());
    let size = std::fs::metadata(&path).map_err(|e| told(&e))?.len();
    if size > ROOTS_MAX {
        return Err(told(&"it is larger than any file of roots"));
    }
    let text = std::fs::read(&path).map_err(|e| told(&e))?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|e| told(&e))?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates);
    if added == 0 { Err(told(&"no root certificate is in it")) } else { Ok(store) }
}

/// Reads 32 bytes in hexadecimal digits, with or without colons.
fn pin_of(text: &str) -> Result<[u8; 32], String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let wrong = || format!("`{text}` is no SHA-256");
    let mut pin = [0; 32];
    if digits.len() != 64 {
        return Err(wrong());
    }
    for (byte, two) in pin.iter_mut().zip(digits.chunks(2)) {
        let digit = |of: u8| char::from(of).to_digit(16).ok_or_else(wrong);
        *byte = (digit(two[0])? << 4 | digit(two[1])?) as u8;
    }
    Ok(pin)
}

/// Takes one of a few certificates, or any. That the server has its key is seen to in any case.
#[derive(Debug)]
struct Lenient {
    /// SHA-256 of the certificates; none for any.
    pins: Option<Vec<[u8; 32]>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = ::ring::digest::digest(&::ring::digest::SHA256, end_entity);
        let fits = |pins: &Vec<[u8; 32]>| pins.iter().any(|pin| pin == shown.as_ref());
        if self.pins.as_ref().is_none_or(fits) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let all = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, all)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let all = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, all)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
