//! The parts of a front that its benchmark measures; in nothing that is shipped.

use crate::front::Front;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::options::FrontOptions;
use crate::routes::{Routes, Site};
use crate::stats::Counts;
use crate::upstream::Group;
use segue_model::{Fault, Side, Sides};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A table of many sites.
pub struct Table {
    routes: Routes,
    names: Vec<String>,
    sites: [Vec<Arc<Site>>; 2],
}

impl Table {
    /// Builds a table of `count` sites, one host each.
    ///
    /// # Errors
    /// None that a name without special characters could cause.
    pub fn new(count: usize, options: FrontOptions) -> Result<Self, Fault> {
        let front = Front::new(options, Limits::default())?;
        let names: Vec<_> = (0..count).map(|n| format!("acc{n:06}.example.test")).collect();
        let sites = |port: u16| {
            let group =
                Group::of(front.pool(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), None, false));
            let counts = Arc::new(Counts::new());
            let one = |name: &String| {
                let room = Sides { source: 8, target: 8 };
                let gate = Gate::new(name.as_str().into(), Side::Source, room);
                let backends = Sides::from_fn(|_| group.clone());
                let (counts, split, policy) = (counts.clone(), Arc::default(), Arc::default());
                let (answer, passthrough, authority) = (None, None, Sides::default());
                Arc::new(Site {
                    gate,
                    counts,
                    backends,
                    answer,
                    passthrough,
                    authority,
                    split,
                    mirror: Arc::default(),
                    policy,
                })
            };
            names.iter().map(one).collect::<Vec<_>>()
        };
        let sites = [sites(1), sites(2)];
        let table = Self { routes: Routes::new(), names, sites };
        table.swap(0);
        Ok(table)
    }

    /// Puts other sites in the place of all; returns how long that took.
    pub fn swap(&self, to: usize) -> Duration {
        let began = Instant::now();
        let names = || self.names.iter().map(String::as_str);
        self.routes.change([], names().zip(self.sites[to % 2].iter().cloned()));
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
        // Goals are for the benchmark; here the machine is busy and the code less optimised.
        assert!(all < Duration::from_millis(100), "all in {all:?}");
        assert!(one < Duration::from_millis(2), "one in {one:?}");
        assert!(find < Duration::from_micros(20), "found in {find:?}");
    }
}
