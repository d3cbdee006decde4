//! How many units a server may be busy with at once.

use segue_model::Sides;
use segue_model::plan::{DatabasePlan, Plan, SitePlan};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places at the servers of a run, by address.
pub(crate) struct Places {
    each: usize,
    servers: Mutex<HashMap<SocketAddr, Arc<Semaphore>>>,
}

/// A place at every server of a unit; given back when dropped.
pub(crate) struct Place {
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Places {
    /// Builds places for `each` units at every server.
    pub(crate) fn new(each: usize) -> Self {
        Self { each, servers: Mutex::new(HashMap::new()) }
    }

    /// Waits for a place at every server that the unit's data stands on.
    pub(crate) async fn take(&self, plan: &Plan) -> Place {
        let mut permits = Vec::new();
        // In order of addresses, so that two units never wait for each other.
        for server in servers(plan) {
            let semaphore = {
                let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
                let new = || Arc::new(Semaphore::new(self.each));
                Arc::clone(servers.entry(server).or_insert_with(new))
            };
            // It is never closed.
            permits.extend(semaphore.acquire_owned().await);
        }
        Place { _permits: permits }
    }
}

fn servers(plan: &Plan) -> BTreeSet<SocketAddr> {
    let unit = &plan.unit;
    let of_database = |d: &DatabasePlan| [d.servers.source.address, d.servers.target.address];
    let databases = unit.databases.iter().flat_map(of_database);
    let of_site = |s: &SitePlan| {
        let Sides { source, target } = s.backends.clone();
        source.addresses().chain(target.addresses()).collect::<Vec<_>>()
    };
    let backends = unit.sites.iter().flat_map(of_site);
    databases.chain(backends).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Places;
    use futures_util::FutureExt;
    use segue_model::plan::Plan;

    fn plan() -> Plan {
        segue_plan::parse(segue_plan::template(), "example.toml").unwrap()
    }

    #[test]
    fn a_server_has_so_many_places_and_another_server_its_own() {
        let (places, plan) = (Places::new(2), plan());
        let one = places.take(&plan).now_or_never().expect("the first");
        let _two = places.take(&plan).now_or_never().expect("the second");
        assert!(places.take(&plan).now_or_never().is_none(), "both are taken");
        let text = segue_plan::template().replace("192.0.2.", "198.18.0.");
        let text = text.replace("203.0.113.", "198.18.1.");
        let elsewhere = segue_plan::parse(&text, "elsewhere.toml").unwrap();
        assert!(places.take(&elsewhere).now_or_never().is_some());
        drop(one);
        assert!(places.take(&plan).now_or_never().is_some(), "given back");
    }
}
