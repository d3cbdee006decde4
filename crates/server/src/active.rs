//! The registry of drivers: everything that acts and measures for one plan.

use crate::around;
use crate::rehearsal::{self, Bent};
use crate::spread::Watching;
use segue_database::{MariaReplica, Settings as DatabaseSettings};
use segue_dns::{Settings as ZoneSettings, Zone};
use segue_engine::Board;
use segue_engine::board::SampleStore;
use segue_files::{TreeReplica, TreeSettings};
use segue_migration::Families;
use segue_migration::fleet::Meeting;
use segue_model::gate::Judged;
use segue_model::plan::{Plan, UnitPlan, labelled};
use segue_model::{Epoch, Fault, FaultKind, RunId, Side};
use segue_port::{Clock, Sampler};
use segue_probe::{
    AppLogSampler, CanarySampler, CertificateSampler, Connection, CustomSampler, HealthProbe,
    HostSampler, HttpProbe, LoginSampler, MailLogSampler, ProbeSettings, Tls,
};
use segue_traffic::{Cdn, FrontSettings, Fronts};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Time between two turns of a sampler while the unit sleeps: as good as none.
const ASLEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// Least time between two turns of a sampler of a unit that rests among many: nobody waits
/// for its numbers, and they are fresh enough for its triggers.
const RESTING: Duration = Duration::from_millis(400);
/// How often the fronts are looked after.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// What the units of a run have in common.
pub(crate) struct Shared {
    /// The run directory.
    pub(crate) dir: PathBuf,
    /// Where every board's samples are kept.
    pub(crate) samples: SampleStore,
    /// Where the readings of a room stand; only the controller of one has them.
    pub(crate) readings: Option<PathBuf>,
    /// The units that switch together, in a run whose strategy is a maintenance window.
    pub(crate) meeting: RwLock<Arc<Meeting>>,
}

impl Shared {
    /// Returns the present meeting.
    pub(crate) fn meeting(&self) -> Arc<Meeting> {
        Arc::clone(&self.meeting.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets units meet from now on.
    pub(crate) fn meet(&self, meeting: Arc<Meeting>) {
        *self.meeting.write().unwrap_or_else(PoisonError::into_inner) = meeting;
    }
}

/// A plan's drivers at work: samplers poll, probes ask, fronts are looked after.
pub(crate) struct Active {
    pub(crate) families: Arc<Families>,
    pub(crate) board: Board,
    pub(crate) probes: Vec<Arc<HttpProbe>>,
    /// Logins that are tried.
    pub(crate) logins: Vec<Arc<LoginSampler>>,
    /// How far what was published has come.
    pub(crate) watching: Watching,
    /// The latest verdict of every trigger that is watched.
    verdicts: Mutex<Vec<Judged>>,
    /// Since when they count, by the wall clock: one controller's counts from another's.
    since_ms: u64,
    awake: watch::Sender<bool>,
    tending: Option<AbortHandle>,
}

impl Active {
    /// Builds the drivers of a plan; touches nothing.
    ///
    /// # Errors
    /// If this program cannot name itself, which starting a front needs.
    pub(crate) fn families(plan: &Plan, run: &RunId, dir: &Path) -> Result<Families, Fault> {
        let program = std::env::current_exe().map_err(|e| {
            Fault::new("SG0809", FaultKind::Unsupported, "find this program's own path", e)
        })?;
        let unit = &plan.unit;
        Ok(Families {
            plan: plan.clone(),
            run: run.clone(),
            fronts: Fronts::new(FrontSettings {
                unit: unit.clone(),
                policy: plan.policy.clone(),
                run: run.clone(),
                program,
            }),
            databases: unit
                .databases
                .iter()
                .zip(unit.database_labels())
                .map(|(database, label)| {
                    MariaReplica::new(DatabaseSettings {
                        plan: database.clone(),
                        run: run.clone(),
                        // What a replica leaves at the servers has its name, so each has its own.
                        unit: labelled(unit.name.as_str(), label.as_deref()).as_str().into(),
                        lease_ms: plan.policy.lease_ms,
                    })
                })
                .collect(),
            trees: unit
                .trees
                .iter()
                .map(|tree| {
                    TreeReplica::new(TreeSettings {
                        plan: tree.clone(),
                        run: run.clone(),
                        unit: unit.name.clone(),
                        state_dir: dir.to_owned(),
                    })
                })
                .collect(),
            cdns: unit.cdns.iter().map(|cdn| Cdn::new(cdn.clone())).collect(),
            zones: unit
                .zones
                .iter()
                .map(|zone| {
                    Zone::new(ZoneSettings {
                        plan: zone.clone(),
                        run: run.clone(),
                        unit: unit.name.clone(),
                    })
                })
                .collect(),
        })
    }

    /// Puts a plan to work under a lease.
    ///
    /// # Errors
    /// If a resource refuses the lease: another run has it, or a newer controller.
    pub(crate) async fn start(
        plan: &Plan,
        run: &RunId,
        shared: &Shared,
        epoch: Epoch,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Fault> {
        let families = Arc::new(Self::families(plan, run, &shared.dir)?);
        families.fronts.take_epoch(epoch).await?;
        for database in &families.databases {
            database.take_epoch(epoch).await?;
        }
        let probes = probes(plan, run);
        let since_ms = clock.wall_ms();
        let samples = shared.samples.of(&plan.unit.name);
        let watching = Watching::of(&plan.unit);
        let logins = LoginSampler::of(&plan.unit, run);
        let mut measured = samplers(&families, &probes, run);
        measured.extend(logins.iter().map(|login| Arc::clone(login) as Arc<dyn Sampler>));
        measured.extend(watching.samplers());
        if let Some(file) = &shared.readings {
            measured = measured.into_iter().map(|one| Bent::wrap(one, file)).collect();
            measured.push(rehearsal::given(file));
        }
        let board = Board::start(measured, clock, samples);
        let (awake, waking) = watch::channel(true);
        let fronts = Arc::clone(&families.fronts);
        let has_fronts = !plan.unit.fronts.is_empty();
        let tending = has_fronts.then(|| tokio::spawn(tend(fronts, waking)).abort_handle());
        let verdicts = Mutex::default();
        Ok(Arc::new(Self {
            families,
            board,
            probes,
            logins,
            watching,
            verdicts,
            since_ms,
            awake,
            tending,
        }))
    }

    /// Lets everything of the unit be measured at its own rate, and its fronts be looked after.
    pub(crate) fn wake(&self) {
        self.awake.send_replace(true);
        self.board.set_pace(Duration::ZERO);
    }

    /// Lets everything be measured as often as a turn among many needs.
    pub(crate) fn stir(&self) {
        self.awake.send_replace(true);
        self.board.set_pace(RESTING);
    }

    /// Lets nothing be measured until it is woken: what is known grows old, and is unknown
    /// then. Only for a unit that rests; see [`crate::rest`].
    pub(crate) fn sleep(&self) {
        self.awake.send_replace(false);
        self.board.set_pace(ASLEEP);
        self.judged(Vec::new());
    }

    /// Starts the probes; they ask the fronts, so they begin once those stand.
    pub(crate) fn start_probes(&self) {
        for probe in &self.probes {
            probe.start();
        }
    }

    /// Returns what the probes saw, all together.
    pub(crate) fn probe_totals(&self) -> Option<serde_json::Value> {
        let summaries: Vec<_> = self.probes.iter().map(|probe| probe.summary()).collect();
        if summaries.iter().all(|summary| summary.sent == 0) {
            return None;
        }
        let longest = summaries.iter().map(|s| s.max_ms).fold(0.0, f64::max);
        let interruption = summaries
            .iter()
            .filter_map(|summary| summary.longest_interruption)
            .map(|interruption| interruption.length_ms)
            .max()
            .unwrap_or(0);
        Some(serde_json::json!({
            "since": self.since_ms,
            "sent": summaries.iter().map(|s| s.sent).sum::<u64>(),
            "failed": summaries.iter().map(|s| s.failed).sum::<u64>(),
            "longest_ms": longest,
            "longest_interruption_ms": interruption,
            "probes": summaries,
        }))
    }

    /// Returns what copies of users' requests showed.
    pub(crate) async fn mirrored(&self) -> Vec<segue_traffic::FrontMirrored> {
        self.families.fronts.mirrored().await
    }

    /// Returns since when the unit's counts are counted, by the wall clock.
    pub(crate) fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Returns who still comes to a front of the side that the unit has left.
    pub(crate) async fn stragglers(&self) -> Vec<segue_traffic::FrontStragglers> {
        self.families.fronts.stragglers().await
    }

    /// Returns the same by front; none of one that does not answer.
    pub(crate) async fn late_comers(
        &self,
    ) -> Vec<(String, Option<segue_traffic::FrontStragglers>)> {
        self.families.fronts.late_comers().await
    }

    /// Returns what became of each trigger.
    pub(crate) fn verdicts(&self) -> Vec<Judged> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the verdicts of one look.
    pub(crate) fn judged(&self, verdicts: Vec<Judged>) {
        *self.verdicts.lock().unwrap_or_else(PoisonError::into_inner) = verdicts;
    }

    /// Ends what this process runs for the plan; fronts and replication go on.
    pub(crate) async fn close(&self) {
        if let Some(tending) = &self.tending {
            tending.abort();
        }
        self.families.fronts.close();
        for probe in &self.probes {
            probe.stop().await;
        }
        for tree in &self.families.trees {
            tree.stop().await;
        }
        for database in &self.families.databases {
            database.close().await;
        }
        if let Err(fault) = self.board.flush().await {
            tracing::warn!(%fault, "the last samples are not kept");
        }
    }
}

/// Looks after the fronts while the unit is awake.
async fn tend(fronts: Arc<Fronts>, mut awake: watch::Receiver<bool>) {
    while awake.wait_for(|awake| *awake).await.is_ok() {
        tokio::time::sleep(TEND_EVERY).await;
        fronts.tend().await;
    }
}

fn probes(plan: &Plan, run: &RunId) -> Vec<Arc<HttpProbe>> {
    let unit = &plan.unit;
    let kinds = [(Connection::Keepalive, "keepalive"), (Connection::New, "new")];
    let mut all = Vec::new();
    for site in &unit.sites {
        let (Some(probe), Some(host)) = (&site.probe, site.hosts.first()) else { continue };
        let name = labelled("probe", unit.site_label(site).as_deref());
        let secure = || Tls::new(host, unit.measures.certificates.roots.clone());
        let ports = unit.fronts.iter().flat_map(|front| {
            let tls = front.tls_of(site).map(move |port| (front, port, true));
            front.web().map(move |port| (front, port, false)).chain(tls)
        });
        for (front, port, is_tls) in ports {
            // What tells its ports apart stands in the name only where there are several.
            let at = match front.ports.len() {
                1 => front.name.clone(),
                _ => format!("{}@{}", front.name, port.listen),
            };
            all.extend(kinds.map(|(connection, kind)| {
                HttpProbe::new(ProbeSettings {
                    name: format!("{name}:{at}:{kind}"),
                    address: port.listen,
                    host: host.clone(),
                    tls: is_tls.then(secure),
                    path: probe.path.clone(),
                    marker: probe.marker.clone(),
                    per_second: probe.per_second,
                    run: run.clone(),
                    connection,
                })
            }));
        }
    }
    all
}

fn samplers(
    families: &Arc<Families>,
    probes: &[Arc<HttpProbe>],
    run: &RunId,
) -> Vec<Arc<dyn Sampler>> {
    let unit = &families.plan.unit;
    let mut all: Vec<Arc<dyn Sampler>> = vec![families.fronts.sampler()];
    for database in &families.databases {
        all.extend(database.samplers());
    }
    for tree in &families.trees {
        all.extend(tree.samplers());
    }
    for zone in &families.zones {
        all.extend(zone.samplers());
    }
    for probe in probes {
        all.push(Arc::clone(probe) as Arc<dyn Sampler>);
    }
    for site in &unit.sites {
        for side in [Side::Source, Side::Target] {
            all.push(HealthProbe::of(unit, site, side));
        }
        all.extend(CanarySampler::of(unit, site, run).map(|canary| canary as Arc<dyn Sampler>));
    }
    all.extend(around::samplers(unit, &families.fronts));
    all.extend(CertificateSampler::of(unit).map(|certificates| certificates as Arc<dyn Sampler>));
    all.extend(further(unit));
    all
}

/// The samplers of what the plan measures besides.
fn further(unit: &UnitPlan) -> Vec<Arc<dyn Sampler>> {
    let measures = &unit.measures;
    let mut all: Vec<Arc<dyn Sampler>> = Vec::new();
    let several = measures.application_logs.len() > 1;
    for log in &measures.application_logs {
        for side in [Side::Source, Side::Target] {
            let Some(path) = log.files.get(side).clone() else { continue };
            let label = several.then(|| log.name.to_string());
            all.push(AppLogSampler::labelled(label, side, path, log.words.clone()));
        }
    }
    let several = measures.mail_logs.len() > 1;
    for log in &measures.mail_logs {
        let label = several.then(|| log.display().to_string());
        all.push(MailLogSampler::labelled(label, log.clone()));
    }
    for host in &measures.hosts {
        all.push(HostSampler::new(host.clone()));
    }
    for custom in &measures.custom {
        all.push(CustomSampler::new(custom.clone()));
    }
    all
}
