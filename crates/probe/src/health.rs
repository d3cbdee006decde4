//! Whether a backend's application answers, asked of the backend itself and not of a front.

use crate::client::Line;
use async_trait::async_trait;
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
        Arc::new(Self { side, address, host: host.into(), path: health_path.into(), egress })
    }

    async fn healthy(&self) -> bool {
        let asked = async {
            let mut line = Line::open(self.address, self.egress).await?;
            line.get(&self.host, &self.path, true).await
        };
        timeout(LIMIT, asked).await.is_ok_and(|got| got.is_ok_and(|answer| answer.status == 200))
    }
}

#[async_trait]
impl Sampler for HealthProbe {
    fn name(&self) -> String {
        from_side("backend", self.side)
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let value = f64::from(u8::from(self.healthy().await));
        Ok(vec![Sample {
            what: What::BackendHealthy(self.side),
            value,
            count: 1,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}
