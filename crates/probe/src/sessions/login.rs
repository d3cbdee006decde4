//! One login of the operator's, tried through every front all the while: what it meets is what
//! those meet who are logged in.

use crate::client::Line;
use async_trait::async_trait;
use futures_util::future::join_all;
use segue_doors::secrets;
use segue_model::plan::{LoginPlan, UnitPlan};
use segue_model::{RunId, Sample, What};
use segue_port::{Outcome, Sampler};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for the page.
const LIMIT: Duration = Duration::from_secs(4);

/// What one login met at a front since its controller began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LoginTried {
    /// Name of the front.
    pub front: String,
    /// How often a page came back that could tell.
    pub tried: u64,
    /// How often it did not know the login.
    pub lost: u64,
    /// When the first came, by the boot clock; none before it.
    pub first_boot_ms: Option<u64>,
    /// When the last came.
    pub last_boot_ms: Option<u64>,
}

/// Tries the login of a site.
pub struct LoginSampler {
    site: String,
    host: String,
    login: LoginPlan,
    /// Name and address of every front.
    fronts: Vec<(String, SocketAddr)>,
    run: RunId,
    /// What it met, in the order of the fronts.
    met: Mutex<Vec<LoginTried>>,
}

impl LoginSampler {
    /// Builds the samplers of a unit's sites that have a login to try. Fronts are asked where
    /// they speak HTTP in clear.
    pub fn of(unit: &UnitPlan, run: &RunId) -> Vec<Arc<Self>> {
        let fronts: Vec<_> = unit
            .fronts
            .iter()
            .filter_map(|front| Some((front.name.clone(), front.web().next()?.listen)))
            .collect();
        let one = |sessions: &segue_model::plan::SessionsPlan| {
            let login = sessions.login.clone()?;
            let site = unit.sites.iter().find(|site| site.name == sessions.name)?;
            let host = site.hosts.first()?.clone();
            let (site, fronts, run) = (site.name.to_string(), fronts.clone(), run.clone());
            let met = fronts.iter().map(|(front, _): &(String, _)| LoginTried {
                front: front.clone(),
                ..LoginTried::default()
            });
            let met = Mutex::new(met.collect());
            Some(Arc::new(Self { site, host, login, fronts, run, met }))
        };
        unit.measures.sessions.iter().filter_map(one).collect()
    }

    /// Returns the site whose login it is.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// Returns what it met at each front so far.
    pub fn met(&self) -> Vec<LoginTried> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, tried: &[Option<bool>], now_boot_ms: u64) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        for (met, kept) in met.iter_mut().zip(tried) {
            let Some(kept) = kept else { continue };
            met.tried += 1;
            met.lost += u64::from(!kept);
            met.first_boot_ms.get_or_insert(now_boot_ms);
            met.last_boot_ms = Some(now_boot_ms);
        }
    }

    /// Says whether the page knows the login; none if there was no page at all.
    async fn try_at(&self, front: SocketAddr, cookie: &str) -> Option<bool> {
        let asked = async {
            let mut line = Line::open(front, None).await.ok()?;
            let LoginPlan { path, .. } = &self.login;
            let run = self.run.as_str();
            let answer = line.get_as(&self.host, path, Some(run), true, Some(cookie)).await.ok()?;
            let marker = self.login.marker.as_bytes();
            let shown = answer.body.windows(marker.len()).any(|part| part == marker);
            // A page that fails says nothing about the login: probes and triggers see to that.
            (answer.status < 500).then_some(answer.status == 200 && shown)
        };
        timeout(LIMIT, asked).await.ok().flatten()
    }
}

#[async_trait]
impl Sampler for LoginSampler {
    fn name(&self) -> String {
        format!("login:{}", self.site)
    }

    fn every(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        use secrecy::ExposeSecret;
        let cookie = secrets::read(&self.login.cookie)?;
        let cookie = cookie.expose_secret();
        let tried = self.fronts.iter().map(|(_, address)| self.try_at(*address, cookie));
        let tried = join_all(tried).await;
        self.note(&tried, now_boot_ms);
        let sample = |((name, _), kept): (&(String, SocketAddr), Option<bool>)| {
            Some(Sample {
                what: What::LoginKept,
                value: f64::from(u8::from(kept?)),
                count: 1,
                taken_at_ms: now_boot_ms,
                from: format!("login:{}@{name}", self.site),
            })
        };
        Ok(self.fronts.iter().zip(tried).filter_map(sample).collect())
    }
}
