//! Whether clients can verify what a server shows, and for how long.

use super::Shown;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use segue_model::{Fault, FaultKind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// More days than any certificate is valid for that a public authority signs, by far.
const DAYS_MAX: u32 = 4_000;

/// Returns whether what was shown is for a name, whoever vouches for it.
pub(super) fn is_for(name: &str, shown: &Shown) -> bool {
    let Ok(server) = ServerName::try_from(name.to_owned()) else { return false };
    let Some(first) = shown.first() else { return false };
    let parsed = rustls::server::ParsedCertificate::try_from(first);
    parsed.is_ok_and(|one| rustls::client::verify_server_name(&one, &server).is_ok())
}

/// The authorities that clients trust.
pub(crate) struct Authorities(Arc<WebPkiServerVerifier>);

impl Authorities {
    /// Reads those of a file, or of this machine. Blocks.
    ///
    /// # Errors
    /// `SG0529` if there are none.
    pub(crate) fn read(roots: Option<&Path>) -> Result<Self, Fault> {
        let mut store = RootCertStore::empty();
        let fault = |cause: &dyn std::fmt::Display| {
            let place = roots.map_or("this machine".into(), |path| path.display().to_string());
            let op = format!("read the authorities trusted by {place}");
            Fault::new("SG0529", FaultKind::Invalid, op, cause)
                .hint("install ca-certificates, or name a PEM file as `roots`")
        };
        let found = match roots {
            Some(path) => CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect)
                .map_err(|e| fault(&e))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let (taken, _) = store.add_parsable_certificates(found);
        if taken == 0 {
            return Err(fault(&"there is none"));
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider);
        verifier.build().map(Self).map_err(|e| fault(&e))
    }

    /// Returns what takes those certificates only that clients would take.
    pub(crate) fn verifier(&self) -> Arc<WebPkiServerVerifier> {
        Arc::clone(&self.0)
    }

    /// Returns for how many whole days from now what was shown for a name can be verified, up to
    /// [`DAYS_MAX`].
    ///
    /// # Errors
    /// Why it cannot be verified now, in words.
    pub(super) fn days(&self, name: &str, shown: &Shown) -> Result<u32, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.verify(name, shown, now)?;
        // Valid now, and no longer than its first certificate: one moment parts the days.
        let (mut valid, mut over) = (0, DAYS_MAX);
        while over - valid > 1 {
            let middle = valid.midpoint(over);
            let then = now + Duration::from_secs(u64::from(middle) * 86_400);
            match self.verify(name, shown, then) {
                Ok(()) => valid = middle,
                Err(_) => over = middle,
            }
        }
        Ok(valid)
    }

    fn verify(&self, name: &str, shown: &Shown, then: Duration) -> Result<(), String> {
        let server = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
        let (first, between) = shown.split_first().ok_or("no certificate was shown")?;
        let then = UnixTime::since_unix_epoch(then);
        let verified = self.0.verify_server_cert(first, between, &server, &[], then);
        verified.map(drop).map_err(|e| e.to_string())
    }
}
