//! Certificates as clients meet them: a handshake for each name at each TLS port, and for how
//! many days what is shown there can be verified.

mod handshake;
mod preflight;
mod verify;

pub(crate) use handshake::unverified;
pub(crate) use preflight::preflight;
pub(crate) use verify::Authorities;

use handshake::Shown;

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

/// Measures `CertificateDays` of every name of a unit at every TLS port, and of the ports where
/// clients go by name.
#[derive(Debug)]
pub struct CertificateSampler {
    names: Vec<(String, SocketAddr)>,
    ports: Vec<ByName>,
    roots: Option<PathBuf>,
}

impl CertificateSampler {
    /// Builds the sampler; none for a unit without TLS ports.
    pub fn of(unit: &UnitPlan) -> Option<Arc<Self>> {
        let (names, ports) = (unit.certified(), ByName::all(unit));
        let roots = unit.measures.certificates.roots.clone();
        let any = !names.is_empty() || !ports.is_empty();
        any.then(|| Arc::new(Self { names, ports, roots }))
    }
}

/// A port where the unit's clients are told by the name that they ask for: mail, a panel. Its
/// server need not have all of the unit's names; which it has shows in what it shows.
#[derive(Debug)]
struct ByName {
    address: SocketAddr,
    names: Vec<String>,
}

impl ByName {
    fn all(unit: &UnitPlan) -> Vec<Self> {
        let hosts = unit.sites.iter().flat_map(|site| &site.hosts);
        let names: Vec<String> = hosts.cloned().collect();
        let one = |address| Self { address, names: names.clone() };
        unit.certified_by_name().into_iter().map(one).collect()
    }

    /// Returns for how many days everything can be verified that it shows for a name of its own,
    /// and what cannot; none while it does not answer.
    async fn days(&self, authorities: &Authorities) -> Option<Result<u32, String>> {
        let mut answered = Vec::new();
        for names in self.names.chunks(AT_ONCE) {
            let asked = names.iter().map(|name| handshake::shown(name, self.address));
            for (name, shown) in names.iter().zip(join_all(asked).await) {
                answered.extend(shown.ok().map(|shown| (name, shown)));
            }
        }
        let own: Vec<_> =
            answered.iter().filter(|(name, shown)| verify::is_for(name, shown)).collect();
        if own.is_empty() {
            let (name, _) = answered.first()?;
            return Some(Err(format!("is for none of the unit's names, such as `{name}`")));
        }
        let days = own.iter().map(|(name, shown)| {
            let days = authorities.days(name, shown);
            days.map_err(|cause| format!("cannot be verified for `{name}`: {cause}"))
        });
        // The worst counts.
        Some(days.reduce(|a, b| Ok(a?.min(b?))).unwrap_or(Ok(0)))
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
        for port in &self.ports {
            let Some(days) = port.days(&authorities).await else { continue };
            samples.push(Sample {
                what: What::CertificateDays,
                value: f64::from(days.unwrap_or(0)),
                count: 1,
                taken_at_ms: now_boot_ms,
                from: origin("by-name", port.address),
            });
        }
        Ok(samples)
    }
}
