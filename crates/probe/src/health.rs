//! Whether a backend's application answers, asked of the backend itself and not of a front.

use crate::client::Line;
use async_trait::async_trait;
use segue_model::plan::{SitePlan, UnitPlan, labelled};
use segue_model::{Sample, Side, What};
use segue_port::{Outcome, Sampler, from_side};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// No answer after this is unhealthy.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks a backend's health path once a second, over a new connection each time.
#[derive(Debug)]
pub struct HealthProbe {
    side: Side,
    /// What tells the site from others of its unit.
    label: Option<String>,
    address: SocketAddr,
    host: String,
    path: String,
    egress: Option<IpAddr>,
}

impl HealthProbe {
    /// Builds the sampler of `BackendHealthy(side)`.
    ///
    /// `egress` is the address it connects from: the front's own, where a port is taken over
    /// and every other address would reach the front instead of the backend.
    pub fn new(
        side: Side,
        address: SocketAddr,
        host: impl Into<String>,
        health_path: impl Into<String>,
        egress: Option<IpAddr>,
    ) -> Arc<Self> {
        let (host, path) = (host.into(), health_path.into());
        Arc::new(Self { side, label: None, address, host, path, egress })
    }

    /// Builds the sampler of one side of a site.
    pub fn of(unit: &UnitPlan, site: &SitePlan, side: Side) -> Arc<Self> {
        let backend = site.backends.get(side);
        Arc::new(Self {
            side,
            label: unit.site_label(site),
            address: backend.asked_at(),
            host: site.hosts.first().cloned().unwrap_or_default(),
            path: backend.health_path.clone(),
            egress: unit.egress_to(side, backend.asked_at()),
        })
    }

    /// Asks once.
    ///
    /// # Errors
    /// Says what came instead of a 200.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        let asked = async {
            let mut line = Line::open(self.address, self.egress).await?;
            line.get(&self.host, &self.path, None, true).await
        };
        match timeout(LIMIT, asked).await {
            Ok(Ok(answer)) if answer.status == 200 => Ok(()),
            Ok(Ok(answer)) => Err(format!("status {}", answer.status)),
            Ok(Err(failure)) => Err(failure.to_string()),
            Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
        }
    }
}

#[async_trait]
impl Sampler for HealthProbe {
    fn name(&self) -> String {
        labelled(&from_side("backend", self.side), self.label.as_deref())
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let value = f64::from(u8::from(self.ask().await.is_ok()));
        Ok(vec![Sample {
            what: What::BackendHealthy(self.side),
            value,
            count: 1,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}
