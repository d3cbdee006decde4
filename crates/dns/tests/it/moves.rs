//! Zones that move between providers, in the lab of delegations, under the eyes of two resolvers
//! that validate.

mod guided;
mod refused;
mod visitors;

use crate::lab::providers::{Kind, Provider, Signing};
use crate::lab::{
    BIND_RESOLVER, DelegationLab, SOURCE, UNBOUND, Wanted, ip, source_names, target_names,
    zone_text,
};
use segue_dns::moves::{Move, Standing, State, Who, Wish};
use segue_model::Sides;
use segue_model::plan::{ProviderPlan, SigningWish, ZoneMove};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Far longer than the TTLs of the lab add up to.
const LIMIT: Duration = Duration::from_secs(90);

/// TTL of everything in the zone, and of its NS set while it moves: every wait is paid for in
/// time of the tests.
const TTL_S: u32 = 3;
const LOW_S: u32 = 1;

/// A lab whose target has an empty zone.
fn lab(source: (Kind, Signing), target: (Kind, Signing), glue: bool) -> DelegationLab {
    let mut wanted = Wanted::new(source, target);
    wanted.glue = glue;
    wanted.parent_ttl = 2;
    let text = zone_text(&source_names(glue), "192.0.2.1");
    wanted.source_zone = text.replace("$TTL 5", "$TTL 3").replace(" 6000 5", " 6000 3");
    let [one, two] = target_names();
    wanted.target_zone = format!(
        "$TTL 3\n@ SOA {one} hostmaster.example.test. 10 60 5 6000 3\n@ NS {one}\n@ NS {two}\n"
    );
    DelegationLab::start(&wanted)
}

fn provider(name: &str, provider: &Provider, names: &[String; 2]) -> ProviderPlan {
    ProviderPlan {
        name: name.into(),
        name_servers: names.iter().map(|name| name.trim_end_matches('.').to_owned()).collect(),
        servers: vec![provider.primary, provider.secondary],
        authority: provider.authority(),
    }
}

/// The move of the lab's zone; the parent's servers are found by the resolvers.
fn plan(lab: &DelegationLab, dnssec: SigningWish) -> ZoneMove {
    let glue = lab.parent.delegation().glue.iter().any(|(_, address)| address == SOURCE[0]);
    ZoneMove {
        zone: "example.test".into(),
        providers: Sides {
            source: provider("source", &lab.source, &source_names(glue)),
            target: provider("target", &lab.target, &target_names()),
        },
        dnssec,
        lowered_ttl_s: LOW_S,
        resolvers: [UNBOUND, BIND_RESOLVER].map(|address| (ip(address), 53).into()).to_vec(),
        parents: Vec::new(),
        replace: false,
    }
}

/// Somebody who goes on with a move and does what it asks for.
struct Operator<'l> {
    lab: &'l DelegationLab,
    moving: Move,
    folder: PathBuf,
    /// What was asked of a person so far.
    asked: Vec<&'static str>,
    /// Each attempt is given up after a time that grows from nothing: a process that is killed.
    interrupted: bool,
}

impl<'l> Operator<'l> {
    fn new(lab: &'l DelegationLab, plan: ZoneMove) -> Self {
        let folder = lab.dir.path().join("moves");
        Self { lab, moving: Move::new(plan), folder, asked: Vec::new(), interrupted: false }
    }

    async fn go(&self, wish: Wish) -> Standing {
        if self.interrupted {
            for tenths in 0..12_u64 {
                let time = Duration::from_millis(tenths * 7);
                // Given up wherever it is; a lock that is held is let go with it.
                let _ =
                    tokio::time::timeout(time, self.moving.go(wish, &self.folder, |_| ())).await;
            }
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match self.moving.go(wish, &self.folder, |what| println!("{what}")).await {
                Ok(standing) => return standing,
                // A child that another thread just made has the lock until it is `dig`.
                Err(fault) if fault.code == "SG0331" && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(fault) => panic!("{fault}"),
            }
        }
    }

    /// Goes on until it stands at a stage (or is done, for none), doing what a person has to do.
    async fn until(&mut self, wish: Wish, stage: Option<&str>) -> Standing {
        let deadline = Instant::now() + LIMIT;
        let mut last = "";
        loop {
            let standing = self.go(wish).await;
            assert!(standing.alarms.is_empty(), "{:?}", standing.alarms);
            let Some(current) = standing.current() else {
                assert!(stage.is_none(), "done before `{stage:?}`");
                return standing;
            };
            if stage == Some(current.name) {
                return standing;
            }
            assert!(Instant::now() < deadline, "after {LIMIT:?}: {:#?}", standing.stages);
            match &current.state {
                State::Waits { until_ms } => {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                    let left = Duration::from_millis(*until_ms).saturating_sub(now);
                    tokio::time::sleep(left.min(Duration::from_secs(1))).await;
                }
                // What was done a moment ago is not seen everywhere yet.
                State::Due if current.who == Who::Person && last != current.name => {
                    last = current.name;
                    println!("{}: {:?}", current.name, current.task);
                    self.asked.push(current.name);
                    match current.name {
                        // Whoever keeps the zone where it stays.
                        "signed" => self.lab.source.sign(Signing::Csk),
                        "unsigned" => self.lab.source.unsign(),
                        name => registrar(self.lab, name, &current.task),
                    }
                }
                // A secondary, or the parent, is a moment behind.
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

/// Does at the registrar what the lines of a task say, and nothing else.
fn registrar(lab: &DelegationLab, stage: &str, task: &[String]) {
    let mut delegation = lab.parent.delegation();
    let ds: BTreeSet<String> = task
        .iter()
        .filter_map(|line| line.trim().strip_prefix("example.test. IN DS "))
        .map(str::to_owned)
        .collect();
    match stage {
        "ds" => delegation.ds.extend(ds),
        "former_ds" => delegation.ds.retain(|known| !ds.contains(known)),
        "no_ds" => delegation.ds.clear(),
        "delegation" => {
            let named = |line: &String| line.starts_with("  ") && !line.contains("(glue)");
            let names =
                task.iter().filter(|line| named(line)).map(|line| format!("{}.", line.trim()));
            delegation.ns = names.collect();
            let mut last = String::new();
            delegation.glue.clear();
            for line in task {
                match line.split_once("(glue) ") {
                    Some((_, address)) => {
                        delegation.glue.insert((last.clone(), address.to_owned()));
                    }
                    None => last = format!("{}.", line.trim()),
                }
            }
        }
        other => panic!("the registrar was asked for `{other}`"),
    }
    lab.parent.delegate(&delegation);
}
