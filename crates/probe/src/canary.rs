//! A canary: a request to the target's web server that must show in the target's own log.
//!
//! It proves that the address of the plan leads to the machine whose log is read, that the
//! server answers for the host, and that it writes its log.

use crate::client::Line;
use crate::lock;
use crate::tail::{Tail, interval};
use async_trait::async_trait;
use segue_model::plan::{SitePlan, UnitPlan, labelled};
use segue_model::{Fault, FaultKind, RunId, Sample, Side, What};
use segue_port::{Outcome, Sampler};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for the answer.
const LIMIT: Duration = Duration::from_secs(1);
/// How long the server may take to write its log, milliseconds; some write in blocks.
const WRITTEN_MS: u64 = 5_000;

/// Sends canaries and looks for them.
pub struct CanarySampler {
    /// What tells the site from others of its unit.
    label: Option<String>,
    address: SocketAddr,
    egress: Option<IpAddr>,
    host: String,
    path: String,
    log: PathBuf,
    run: RunId,
    reader: Arc<Mutex<Option<Tail>>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    number: u64,
    /// Sent and not seen yet: the text to look for, and when it was sent.
    open: Vec<(String, u64)>,
    /// When the newest one that was seen had been sent.
    seen_ms: Option<u64>,
    /// When the first one was sent.
    first_ms: Option<u64>,
}

impl CanarySampler {
    /// Builds the sampler of `CanarySeen` of a site; none without the target's log.
    ///
    /// The canary asks the health path, which touches no data, so the server must not leave
    /// that path out of its log.
    pub fn of(unit: &UnitPlan, site: &SitePlan, run: &RunId) -> Option<Arc<Self>> {
        let backend = &site.backends.target;
        let log = backend.access_log.clone()?;
        Some(Arc::new(Self {
            label: unit.site_label(site),
            address: backend.asked_at(),
            egress: unit.egress_to(Side::Target, backend.asked_at()),
            host: site.hosts.first().cloned().unwrap_or_default(),
            path: backend.health_path.clone(),
            log,
            run: run.clone(),
            reader: Arc::default(),
            state: Arc::default(),
        }))
    }

    async fn send(&self, now_ms: u64) {
        let token = {
            let mut state = lock(&self.state);
            state.number += 1;
            // Canaries of several sites may be written to one log.
            let site = self.label.as_deref().map_or_else(String::new, |label| format!("-{label}"));
            let token = format!("segue-canary={}{site}-{now_ms}-{}", self.run, state.number);
            state.open.push((token.clone(), now_ms));
            state.first_ms.get_or_insert(now_ms);
            token
        };
        let mark = if self.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{mark}{token}", self.path);
        let asked = async {
            let mut line = Line::open(self.address, self.egress).await?;
            line.get(&self.host, &path, None, true).await
        };
        // Whatever came of it: the log tells.
        drop(timeout(LIMIT, asked).await);
    }
}

#[async_trait]
impl Sampler for CanarySampler {
    fn name(&self) -> String {
        labelled("canary", self.label.as_deref())
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Returns no sample until the first canary was seen, or had its time.
    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let op = format!("look for the canary in `{}`", self.log.display());
        let (log, reader, state) = (self.log.clone(), self.reader.clone(), self.state.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = lock(&reader);
            let result = interval(&log, &mut reader, &mut |line| {
                let mut state = lock(&state);
                let found = state.open.iter().position(|(token, _)| {
                    line.windows(token.len()).any(|piece| piece == token.as_bytes())
                });
                if let Some(found) = found {
                    let (_, sent_ms) = state.open.remove(found);
                    state.seen_ms = state.seen_ms.max(Some(sent_ms));
                }
            });
            if result.is_err() {
                *reader = None;
            }
            result
        });
        let read = read.await.map_err(|e| Fault::new("SG0599", FaultKind::Bug, op.clone(), e))?;
        read.map_err(|e| {
            Fault::new("SG0525", FaultKind::Denied, op, e)
                .hint("let the controller read the log, or leave it out of the plan")
        })?;
        let seen = {
            let mut state = lock(&self.state);
            state.open.retain(|(_, sent_ms)| sent_ms + WRITTEN_MS > now_boot_ms);
            match (state.seen_ms, state.first_ms) {
                (Some(seen_ms), _) if seen_ms + WRITTEN_MS > now_boot_ms => Some(true),
                (_, Some(first_ms)) if first_ms + WRITTEN_MS <= now_boot_ms => Some(false),
                _ => None,
            }
        };
        self.send(now_boot_ms).await;
        Ok(seen
            .into_iter()
            .map(|seen| Sample {
                what: What::CanarySeen,
                value: f64::from(u8::from(seen)),
                count: 1,
                taken_at_ms: now_boot_ms,
                from: self.name(),
            })
            .collect())
    }
}
