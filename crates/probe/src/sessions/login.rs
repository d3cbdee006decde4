//! One login of the operator's, tried through every front all the while: what it meets is what
//! those meet who are logged in.

use crate::client::{Answer, Line, Words};
use crate::tls::Tls;
use async_trait::async_trait;
use futures_util::future::join_all;
use http::uri::Scheme;
use http::{Uri, header};
use segue_doors::secrets;
use segue_model::plan::{FrontPlan, LoginPlan, SitePlan, UnitPlan};
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

/// Where a login is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// Name of the front.
    front: String,
    address: SocketAddr,
    /// How TLS is spoken there; none for HTTP in clear.
    tls: Option<Tls>,
}

/// Tries the login of a site.
pub struct LoginSampler {
    site: String,
    host: String,
    login: LoginPlan,
    /// One of every front that has one.
    places: Vec<Place>,
    run: RunId,
    /// What it met, in the order of the places.
    met: Mutex<Vec<LoginTried>>,
}

/// Returns where the login of a site is tried at a front: over TLS, as visitors log in, else in
/// clear; none where neither ends at the front.
fn place(unit: &UnitPlan, site: &SitePlan, front: &FrontPlan) -> Option<Place> {
    let host = site.hosts.first()?;
    let roots = &unit.measures.certificates.roots;
    let secure = front.tls_of(site).next();
    let secure = secure.map(|port| (port.listen, Some(Tls::new(host, roots.clone()))));
    let (address, tls) = secure.or_else(|| Some((front.web().next()?.listen, None)))?;
    Some(Place { front: front.name.clone(), address, tls })
}

/// Returns the fronts at which a login of a site can be tried, and those at which it cannot.
pub(super) fn fronts(unit: &UnitPlan, site: &SitePlan) -> (Vec<String>, Vec<String>) {
    let (can, cannot): (Vec<_>, Vec<_>) =
        unit.fronts.iter().partition(|front| place(unit, site, front).is_some());
    let names = |fronts: Vec<&FrontPlan>| fronts.into_iter().map(|f| f.name.clone()).collect();
    (names(can), names(cannot))
}

impl LoginSampler {
    /// Builds the samplers of a unit's sites that have a login to try.
    pub fn of(unit: &UnitPlan, run: &RunId) -> Vec<Arc<Self>> {
        let one = |sessions: &segue_model::plan::SessionsPlan| {
            let login = sessions.login.clone()?;
            let site = unit.sites.iter().find(|site| site.name == sessions.name)?;
            let host = site.hosts.first()?.clone();
            let places: Vec<_> =
                unit.fronts.iter().filter_map(|front| place(unit, site, front)).collect();
            let met = places
                .iter()
                .map(|place| LoginTried { front: place.front.clone(), ..LoginTried::default() });
            let met = Mutex::new(met.collect());
            let (site, run) = (site.name.to_string(), run.clone());
            Some(Arc::new(Self { site, host, login, places, run, met }))
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
    async fn try_at(&self, place: &Place, cookie: &str) -> Option<bool> {
        let asked = async {
            let mut line = Line::open_as(place.address, None, place.tls.as_ref()).await.ok()?;
            let LoginPlan { path, .. } = &self.login;
            let words =
                Words { run: Some(self.run.as_str()), cookie: Some(cookie), ..Words::default() };
            let answer = line.get_as(&self.host, path, true, words).await.ok()?;
            let marker = self.login.marker.as_bytes();
            let shown = answer.body.windows(marker.len()).any(|part| part == marker);
            // A page that fails says nothing about the login: probes and triggers see to that. Nor
            // does one that leads everybody to the same page over TLS.
            let led = || place.tls.is_none() && leads_to_tls(&answer, &self.host, path);
            let tells = answer.status < 500 && !led();
            tells.then_some(answer.status == 200 && shown)
        };
        timeout(LIMIT, asked).await.ok().flatten()
    }
}

/// Returns whether an answer sends the client to the same page over TLS. One that sends it to
/// another page, to log in, tells of the login.
fn leads_to_tls(answer: &Answer, host: &str, path: &str) -> bool {
    let place = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let Some(place) = place.and_then(|place| place.parse::<Uri>().ok()) else { return false };
    (300..400).contains(&answer.status)
        && place.scheme() == Some(&Scheme::HTTPS)
        && place.host().is_some_and(|there| there.eq_ignore_ascii_case(host))
        && place.path_and_query().is_some_and(|there| there == path)
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
        let tried = join_all(self.places.iter().map(|place| self.try_at(place, cookie))).await;
        self.note(&tried, now_boot_ms);
        let sample = |(place, kept): (&Place, Option<bool>)| {
            Some(Sample {
                what: What::LoginKept,
                value: f64::from(u8::from(kept?)),
                count: 1,
                taken_at_ms: now_boot_ms,
                from: format!("login:{}@{}", self.site, place.front),
            })
        };
        Ok(self.places.iter().zip(tried).filter_map(sample).collect())
    }
}
