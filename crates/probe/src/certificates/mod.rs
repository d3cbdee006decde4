//! Certificates as clients meet them: a handshake for each name at each TLS port, and for how
//! many days what is shown there can be verified.

mod handshake;
mod preflight;
mod verify;

pub(crate) use preflight::preflight;

use handshake::Shown;
use verify::Authorities;

use async_trait::async_trait;
use futures_util::future::join_all;
use segue_model::plan::UnitPlan;
use segue_model::{Fault, FaultKind, Sample, What};
use segue_port::{Outcome, Sampler};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Handshakes at once.
const AT_ONCE: usize = 16;

/// Measures `CertificateDays` of every name of a unit at every TLS port.
#[derive(Debug)]
pub struct CertificateSampler {
    names: Vec<(String, SocketAddr)>,
    roots: Option<PathBuf>,
}

impl CertificateSampler {
    /// Builds the sampler; none for a unit without TLS ports.
    pub fn of(unit: &UnitPlan) -> Option<Arc<Self>> {
        let names = unit.certified();
        let roots = unit.measures.certificates.roots.clone();
        (!names.is_empty()).then(|| Arc::new(Self { names, roots }))
    }
}

/// Returns where a sample of a name comes from.
fn origin(name: &str, address: SocketAddr) -> String {
    format!("certificates:{name}@{address}")
}

#[async_trait]
impl Sampler for CertificateSampler {
    fn name(&self) -> String {
        "certificates".into()
    }

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// A name whose chain cannot be verified has 0 days; one whose port does not answer has no
    /// sample, so that the gate waits.
    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let roots = self.roots.clone();
        let authorities = tokio::task::spawn_blocking(move || Authorities::read(roots.as_deref()));
        let authorities = authorities
            .await
            .map_err(|e| Fault::new("SG0599", FaultKind::Bug, "read trusted authorities", e))??;
        let mut samples = Vec::new();
        for names in self.names.chunks(AT_ONCE) {
            let asked = names.iter().map(|(name, address)| handshake::shown(name, *address));
            for ((name, address), shown) in names.iter().zip(join_all(asked).await) {
                let Ok(shown) = shown else { continue };
                let days = authorities.days(name, &shown).unwrap_or(0);
                samples.push(Sample {
                    what: What::CertificateDays,
                    value: f64::from(days),
                    count: 1,
                    taken_at_ms: now_boot_ms,
                    from: origin(name, *address),
                });
            }
        }
        Ok(samples)
    }
}
