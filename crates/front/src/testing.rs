//! The parts of a front that its benchmark measures; in nothing that is shipped.

use crate::control::{HoldPolicy, SiteRoute};
use crate::front::Front;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::options::FrontOptions;
use crate::routes::{Routes, Site};
use crate::stats::Counts;
use crate::store::{self, Head, Saved, SavedUnit};
use crate::upstream::Group;
use segue_model::{Fault, RunId, Side, Sides, UnitName};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes the state file of a front with `count` units that a run has set, one site each: what
/// thousands of requests would leave behind.
///
/// # Errors
/// If the file cannot be written.
pub fn many_units(
    state: &Path,
    run: &RunId,
    count: usize,
    backends: &Sides<SocketAddr>,
) -> std::io::Result<()> {
    let unit = |number: usize| {
        let (name, hosts) = name_of(number);
        let site = SiteRoute { hosts: vec![hosts], backends: backends.clone(), reach: None };
        let unit = SavedUnit {
            generation: 0,
            sites: vec![site],
            write_side: Side::Source,
            concurrency: Sides { source: 64, target: 64 },
            hold: None,
            split: None,
            mirror: None,
            policy: HoldPolicy::default(),
        };
        (name, unit)
    };
    let head = Head { claim: Some(run.clone()), ..Head::default() };
    let units = (0..count).map(unit).collect();
    store::put(state, Saved { head, units, ..Saved::default() })
}

/// Returns name and host of one of many units.
pub fn name_of(number: usize) -> (UnitName, String) {
    let name = format!("acc{number:06}");
    (name.as_str().into(), format!("{name}.example.test"))
}

/// A table of many sites, all of one unit.
pub struct Table {
    routes: Routes,
    names: Vec<String>,
    gate: Arc<Gate>,
    sites: [Vec<Arc<Site>>; 2],
}

impl Table {
    /// Builds a table of `count` sites, one host each.
    ///
    /// # Errors
    /// None that a name without special characters could cause.
    pub fn new(count: usize, options: FrontOptions) -> Result<Self, Fault> {
        let front = Front::new(options, Limits::default())?;
        let names: Vec<_> = (0..count).map(|number| name_of(number).1).collect();
        let room = Sides { source: 8, target: 8 };
        let gate = Gate::new("shop".into(), Side::Source, room);
        let sites = |port: u16| {
            let group =
                Group::of(front.pool(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), None, false));
            let counts = Arc::new(Counts::new());
            let one = |_: &String| {
                let backends = Sides::from_fn(|_| group.clone());
                Arc::new(Site::plain(gate.clone(), counts.clone(), backends))
            };
            names.iter().map(one).collect::<Vec<_>>()
        };
        let sites = [sites(1), sites(2)];
        let table = Self { routes: Routes::new(), names, gate, sites };
        table.swap(0);
        Ok(table)
    }

    /// Puts other sites in the place of all, as a new route of the unit does; returns how long that
    /// took.
    pub fn swap(&self, to: usize) -> Duration {
        let began = Instant::now();
        let names = || self.names.iter().map(String::as_str);
        self.routes.change([], names().zip(self.sites[to % 2].iter().cloned()));
        began.elapsed()
    }

    /// Sends the unit to the other side, as the release of a hold does; returns how long it took
    /// until every site sends its requests there.
    ///
    /// # Panics
    /// If one does not.
    pub fn switch(&self) -> Duration {
        let began = Instant::now();
        let to = self.gate.side().other();
        self.gate.set_route(to, Sides { source: 8, target: 8 });
        for name in &self.names {
            let site = self.routes.find(name);
            assert!(site.is_some_and(|site| site.gate.side() == to), "{name} goes elsewhere");
        }
        began.elapsed()
    }

    /// Puts another site in the place of one; returns how long that took.
    pub fn swap_one(&self, number: usize) -> Duration {
        let name = self.names[number % self.names.len()].as_str();
        let site = self.sites[1][number % self.names.len()].clone();
        let began = Instant::now();
        self.routes.change([], [(name, site)]);
        began.elapsed()
    }

    /// Finds every site once; returns how long that took.
    ///
    /// # Panics
    /// If one is missing.
    pub fn find_all(&self) -> Duration {
        let began = Instant::now();
        for name in &self.names {
            assert!(self.routes.find(name).is_some(), "{name} is gone");
        }
        began.elapsed()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_model::plan::{FrontLimits, PortKind};

    #[test]
    fn ten_thousand_sites_are_swapped_before_anybody_notices() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let port = crate::PortOptions {
            tls: None,
            kind: PortKind::Http,
            listen: address,
            take_over: false,
            redirect: None,
            join: false,
            default_backend: address,
            proxy_in: false,
            proxy_out: false,
            tcp: None,
        };
        let options = FrontOptions {
            name: "a".into(),
            side: Side::Source,
            run: None,
            ports: vec![port],
            egress: None,
            control: "a".into(),
            state: "b".into(),
            trusted: Vec::new(),
            limits: FrontLimits::default(),
            metrics: None,
            access_log: None,
        };
        let table = Table::new(10_000, options).unwrap();
        let best = |work: &mut dyn FnMut(usize) -> Duration| (1..8).map(work).min().unwrap();
        let all = best(&mut |to| table.swap(to));
        let one = best(&mut |number| table.swap_one(number));
        let find = table.find_all() / 10_000;
        let switched = best(&mut |_| table.switch());
        // Goals are for the benchmark; here the machine is busy and the code less optimised.
        assert!(all < Duration::from_millis(100), "all in {all:?}");
        assert!(one < Duration::from_millis(2), "one in {one:?}");
        assert!(find < Duration::from_micros(20), "found in {find:?}");
        assert!(switched < Duration::from_millis(200), "switched in {switched:?}");
    }
}
