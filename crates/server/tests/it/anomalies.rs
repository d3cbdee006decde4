//! Every kind of anomaly is planted and raises its alert in time, through the samplers, the
//! board and the default triggers as a plan has them.

use crate::site::{Habit, Manner, Site, run};
use crate::stubs::{Planted, Readings, http, log, proc, resolver};
use segue_dns::ResolverSampler;
use segue_engine::{Board, SystemClock, TriggerWatch};
use segue_model::gate::{Reference, Standing, Trigger};
use segue_model::plan::{HostFigures, HostPlan, Plan};
use segue_model::{Side, What};
use segue_port::{Clock, Sampler};
use segue_probe::{
    AppLogSampler, CanarySampler, Connection, CustomSampler, HealthProbe, HostSampler, HttpProbe,
    MailLogSampler, ProbeSettings,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long everything is as it should be, and no trigger may fire.
const HEALTHY: Duration = Duration::from_millis(3_200);
/// As long, where the level of that time is what later values are compared with.
const LEVEL: Duration = Duration::from_millis(5_600);
/// The alert must be there by then.
const IN_TIME: Duration = Duration::from_secs(30);
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const TARGET: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);

/// A plan with everything that can be measured, and its default triggers.
fn plan() -> Plan {
    let text = segue_plan::template().replace(
        "[backend.target]\n",
        "[backend.target]\naccess_log = \"/var/log/nginx/access.log\"\n",
    );
    let measures = r#"
[measure]
mail_log = "/var/log/mail.log"
[measure.application_log]
source = "/srv/source/app.log"
target = "/srv/target/app.log"
[measure.resolvers]
addresses = ["198.51.100.1:53"]
name = "www.example.test"
[[measure.host]]
side = "target"
proc = "/proc"
[[measure.custom]]
name = "number"
command = ["/bin/cat", "/nowhere"]
"#;
    segue_plan::parse(&(text + measures), "whole.toml").unwrap()
}

/// A trigger over a measure of the plan's own.
fn custom(name: &str, limit: &str) -> Trigger {
    let text = format!(
        "{}\n[[measure.custom]]\nname = \"{name}\"\ncommand = [\"/bin/true\"]\n\
         [[trigger]]\nname = \"custom_{name}\"\nwhat = \"custom\"\nof = \"{name}\"\n{limit}\naction = \"alert\"\n",
        segue_plan::template()
    );
    segue_plan::parse(&text, "custom.toml").unwrap().policy.triggers[0].clone()
}

/// One anomaly: the trigger that must see it, and the board it is measured on.
struct Case {
    trigger: Trigger,
    board: Board,
    planted: Planted,
    /// What lives as long as the case.
    _world: Box<dyn std::any::Any + Send + Sync>,
}

struct Bench {
    clock: Arc<dyn Clock>,
    plan: Plan,
    cases: Vec<Case>,
    folder: TempDir,
}

impl Bench {
    fn trigger(&self, name: &str) -> Trigger {
        let triggers = &self.plan.policy.triggers;
        triggers.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no {name}")).clone()
    }

    /// Adds a case over one sampler; several triggers may look at its board.
    fn add(&mut self, names: &[&str], planted: &Planted, sampler: Arc<dyn Sampler>) {
        let board = Board::without_samplers(Arc::clone(&self.clock));
        board.add(sampler);
        for name in names {
            let (trigger, board) = (self.trigger(name), board.clone());
            let planted = Arc::clone(planted);
            self.cases.push(Case { trigger, board, planted, _world: Box::new(()) });
        }
    }

    fn readings(&mut self, name: &str, every_ms: u64, good: f64, bad: Option<f64>) {
        let planted = Planted::default();
        let (what, every) = (self.trigger(name).bound.what, Duration::from_millis(every_ms));
        let readings = Readings { what, every, good, bad, planted: Arc::clone(&planted) };
        self.add(&[name], &planted, Arc::new(readings));
    }

    /// Adds a site with fronts; `spoil` is called once the anomaly is planted.
    async fn site(
        &mut self,
        name: &str,
        before: Habit,
        at: Side,
        spoil: impl Fn(&Site) + Send + Sync + 'static,
    ) {
        let site = Arc::new(Site::start(self.plan.clone(), at).await);
        *site.habit.lock().unwrap() = before;
        let planted = Planted::default();
        let board = Board::without_samplers(Arc::clone(&self.clock));
        board.add(site.fronts.sampler());
        let (watched, told) = (Arc::clone(&site), Arc::clone(&planted));
        tokio::spawn(async move {
            while !told.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if at == Side::Source {
                watched.switch().await;
            }
            spoil(&watched);
        });
        let trigger = self.trigger(name);
        self.cases.push(Case { trigger, board, planted, _world: Box::new(site) });
    }
}

fn spoil(site: &Site, status: u16, takes_ms: u64) {
    let takes = Duration::from_millis(takes_ms);
    *site.target.lock().unwrap() = Manner { status, takes };
}

async fn users(bench: &mut Bench) {
    let (at_target, at_source) = (Habit::at(Side::Target), Habit::at(Side::Source));
    bench.site("target_failing", at_target, Side::Target, |s| spoil(s, 500, 2)).await;
    bench.site("target_slow", at_target, Side::Target, |s| spoil(s, 200, 2_300)).await;
    bench.site("client_errors", at_source, Side::Source, |s| spoil(s, 404, 2)).await;
    bench.site("slower_than_before", at_source, Side::Source, |s| spoil(s, 200, 60)).await;
    let drop = |site: &Site| site.habit.lock().unwrap().rate = 2;
    bench.site("traffic_drop", at_source, Side::Source, drop).await;
    let both = Habit { both: true, rate: 48, ..at_target };
    bench.site("slower_p50", both, Side::Target, |s| spoil(s, 200, 60)).await;
    bench.site("slower_p95", both, Side::Target, |s| spoil(s, 200, 60)).await;
    let stay = |site: &Site| site.habit.lock().unwrap().front = Side::Source;
    bench.site("arrivals_slow", at_target, Side::Target, stay).await;
    bench.site("arrivals_late", at_target, Side::Target, stay).await;
}

async fn servers(bench: &mut Bench) {
    let planted = Planted::default();
    let address = http(Arc::clone(&planted), "ok", None, None).await;
    let health = HealthProbe::new(Side::Target, address, "www.example.test", "/healthz", None);
    bench.add(&["target_down"], &planted, health);

    let planted = Planted::default();
    let address = http(Arc::clone(&planted), "Example site", None, None).await;
    let probe = HttpProbe::new(ProbeSettings {
        name: "probe".into(),
        address,
        host: "www.example.test".into(),
        tls: None,
        path: "/".into(),
        marker: "Example site".into(),
        per_second: 20,
        run: run(),
        connection: Connection::New,
    });
    probe.start();
    bench.add(&["probe_failing", "probe_interrupted"], &planted, probe);

    let planted = Planted::default();
    let path = bench.folder.path().join("access.log");
    std::fs::File::create(&path).unwrap();
    let address = http(Arc::clone(&planted), "ok", Some("ok"), Some(path.clone())).await;
    let mut unit = bench.plan.unit.clone();
    unit.sites[0].backends.target.address = address;
    unit.sites[0].backends.target.access_log = Some(path);
    bench.add(
        &["canary_lost"],
        &planted,
        CanarySampler::of(&unit, &unit.sites[0], &run()).unwrap(),
    );
}

async fn resolvers(bench: &mut Bench) {
    for (name, good, bad) in
        [("resolvers_failing", TARGET, None), ("resolvers_late", TARGET, Some(SOURCE))]
    {
        let planted = Planted::default();
        let mut unit = bench.plan.unit.clone();
        let plan = &mut unit.measures.resolvers[0];
        plan.addresses.clear();
        for _ in 0..4 {
            plan.addresses.push(resolver(Arc::clone(&planted), good, bad).await);
        }
        bench.add(&[name], &planted, ResolverSampler::of(&unit).remove(0));
    }
}

fn files(bench: &mut Bench) {
    let planted = Planted::default();
    let folder = bench.folder.path().join("proc");
    std::fs::create_dir(&folder).unwrap();
    proc(&folder, Arc::clone(&planted));
    let figures = HostFigures::Proc(folder);
    let host = HostSampler::new(HostPlan { side: Side::Target, figures });
    bench.add(&["cpu_high", "ram_high"], &planted, host);

    let planted = Planted::default();
    let path = bench.folder.path().join("mail.log");
    let (sent, bounced) = ("smtp[1]: A1: status=sent (250 ok)\n", "smtp[1]: A2: status=bounced\n");
    log(path.clone(), Arc::clone(&planted), sent, bounced);
    bench.add(&["bounces"], &planted, MailLogSampler::new(path));

    // Both logs, for the level before is the source's.
    let planted = Planted::default();
    let board = Board::without_samplers(Arc::clone(&bench.clock));
    for (side, bad) in [(Side::Source, "ok\n"), (Side::Target, "PHP Fatal error: x\n")] {
        let path = bench.folder.path().join(format!("{side}.log"));
        log(path.clone(), Arc::clone(&planted), "ok\n", bad);
        let words = bench.plan.unit.measures.application_logs[0].words.clone();
        board.add(AppLogSampler::new(side, path, words));
    }
    let trigger = bench.trigger("app_errors");
    bench.cases.push(Case { trigger, board, planted, _world: Box::new(()) });
}

async fn own_measures(bench: &mut Bench) {
    use segue_model::plan::{CustomPlan, CustomSource};
    let value = |value: &str| {
        let text = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{{\"metric\":{{}},\"value\":[1,\"{value}\"]}}]}}}}"
        );
        Box::leak(text.into_boxed_str())
    };
    let (up, server) = (Planted::default(), Planted::default());
    let web = http(Arc::clone(&up), "ok", None, None).await;
    let prometheus = http(Arc::clone(&server), value("3"), Some(value("30")), None).await;
    let command = Planted::default();
    let file = bench.folder.path().join("number");
    std::fs::write(&file, "3").unwrap();
    let (told, written) = (Arc::clone(&command), file.clone());
    tokio::spawn(async move {
        while !told.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::fs::write(written, "30").unwrap();
    });
    let words = vec!["/bin/cat".into(), file.display().to_string()];
    let query = "sum(queue)".to_owned();
    let path = "/".to_owned();
    for (name, limit, planted, source) in [
        ("http", "min = 1", up, CustomSource::Http { address: web, host: "x".into(), path }),
        ("command", "max = 5", command, CustomSource::Command(words)),
        ("prometheus", "max = 5", server, CustomSource::Prometheus { address: prometheus, query }),
    ] {
        let board = Board::without_samplers(Arc::clone(&bench.clock));
        board.add(CustomSampler::new(CustomPlan { name: name.into(), source, every_ms: 500 }));
        let trigger = custom(name, limit);
        bench.cases.push(Case { trigger, board, planted, _world: Box::new(()) });
    }
}

fn copies(bench: &mut Bench) {
    for (name, every_ms, good, bad) in [
        ("lag", 100, 3.0, 6_000.0),
        ("lag_back", 100, 3.0, 6_000.0),
        ("way_back_late", 100, 3.0, 31_000.0),
        ("files_late", 250, 0.0, 61_000.0),
        ("files_late_back", 250, 0.0, 61_000.0),
        ("clock_source", 2_000, 1.0, 120.0),
        ("clock_target", 2_000, 1.0, 120.0),
        ("counts_differ", 10_000, 0.0, 1.0),
        ("room_low", 5_000, 3.0, 1.1),
        ("database_differs", 1_000, 0.0, 1.0),
        ("files_differ", 250, 0.0, 1.0),
    ] {
        bench.readings(name, every_ms, good, Some(bad));
    }
    // Silence is what this one must not take for health.
    bench.readings("data_unreadable", 500, 1.0, None);
}

fn compares_with_before(trigger: &Trigger) -> bool {
    trigger.against.is_some_and(|against| against.with == Reference::Before)
}

/// Watches one case; returns how long the alert took, and its numbers.
async fn found(case: Case, clock: Arc<dyn Clock>, healthy_until: Instant) -> (Duration, String) {
    let Case { trigger, board, planted, _world } = case;
    // What counts later after a cutover counts from here on.
    let since_ms = clock.boot_ms().saturating_sub(trigger.after_ms);
    let begin = |since_ms| {
        let triggers = vec![trigger.clone()];
        TriggerWatch::new(triggers, board.clone(), Arc::clone(&clock), since_ms).unwrap()
    };
    let mut watch = begin(since_ms);
    while Instant::now() < healthy_until {
        let fired = watch.look();
        assert!(fired.is_empty(), "{} fires while all is well: {fired:?}", trigger.name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The level before is taken at the cutover.
    if compares_with_before(&trigger) {
        watch = begin(clock.boot_ms());
    }
    planted.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let waited = tokio::time::timeout(IN_TIME, watch.next()).await;
    let verdict = watch.verdicts().remove(0);
    let Ok(mut fired) = waited else { panic!("{} never fired: {verdict:?}", trigger.name) };
    assert_eq!(verdict.standing, Standing::Fired);
    assert_eq!(fired[0].action, trigger.action);
    (began.elapsed(), fired.remove(0).because)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_anomaly_of_each_kind_raises_its_alert_within_30_s() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let folder = TempDir::new().unwrap();
    let mut bench = Bench { clock: Arc::clone(&clock), plan: plan(), cases: Vec::new(), folder };
    users(&mut bench).await;
    servers(&mut bench).await;
    resolvers(&mut bench).await;
    files(&mut bench);
    own_measures(&mut bench).await;
    copies(&mut bench);

    // No default goes without its anomaly, but for the slow twin of `target_failing`.
    let tried: Vec<String> = bench.cases.iter().map(|case| case.trigger.name.clone()).collect();
    for trigger in &bench.plan.policy.triggers {
        let known = tried.contains(&trigger.name) || trigger.name == "target_failing_still";
        assert!(known, "no anomaly is planted for {}", trigger.name);
    }

    let began = Instant::now();
    let mut watches = BTreeMap::new();
    for case in std::mem::take(&mut bench.cases) {
        let name = case.trigger.name.clone();
        let what = case.trigger.bound.what;
        let healthy = if compares_with_before(&case.trigger) { LEVEL } else { HEALTHY };
        let healthy_until = began + healthy;
        watches.insert(name, (what, tokio::spawn(found(case, Arc::clone(&clock), healthy_until))));
    }
    println!("{:<22} {:<34} {:>7}  numbers", "anomaly", "measure", "seconds");
    let mut failed = Vec::new();
    for (name, (what, watch)) in watches {
        match watch.await {
            Ok((took, because)) => {
                let what: What = what;
                println!(
                    "{name:<22} {:<34} {:>7.2}  {because}",
                    what.to_string(),
                    took.as_secs_f64()
                );
            }
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
