//! Where requests go, by host name. Replaced as a whole, read without a lock.

use crate::gate::Gate;
use crate::stats::Counts;
use crate::upstream::Pool;
use segue_model::{RunId, Sides};
use std::collections::HashMap;
use std::sync::Arc;

/// A site of a unit as requests see it.
pub(crate) struct Site {
    /// Lets requests of the unit pass or makes them wait; the same one for all its sites.
    pub(crate) gate: Arc<Gate>,
    /// Counts requests of the unit.
    pub(crate) counts: Arc<Counts>,
    /// Connections to the site's application at each side.
    pub(crate) backends: Sides<Arc<Pool>>,
}

/// All sites, by host name in lower case.
#[derive(Default)]
pub(crate) struct Routes {
    run: Option<RunId>,
    hosts: HashMap<String, Arc<Site>>,
}

impl Routes {
    /// Builds the table from the run that has the front and sites with their host names.
    pub(crate) fn new<'a>(
        run: Option<RunId>,
        sites: impl IntoIterator<Item = (&'a [String], Arc<Site>)>,
    ) -> Self {
        let mut hosts = HashMap::new();
        for (names, site) in sites {
            for name in names {
                hosts.insert(canonical(name), site.clone());
            }
        }
        Self { run, hosts }
    }

    /// Returns the run that has the front.
    pub(crate) fn run(&self) -> Option<&RunId> {
        self.run.as_ref()
    }

    /// Returns every site; one with several hosts several times.
    pub(crate) fn sites(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.hosts.values()
    }

    /// Returns the site that a `Host` header names.
    pub(crate) fn find(&self, host: &str) -> Option<&Arc<Site>> {
        let name = bare(host);
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            self.hosts.get(&name.to_ascii_lowercase())
        } else {
            self.hosts.get(name)
        }
    }
}

/// Returns a host name as it stands in the table: lower case, no port, no final dot.
pub(crate) fn canonical(host: &str) -> String {
    bare(host).to_ascii_lowercase()
}

fn bare(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        // The colons of an IPv6 address stand inside brackets.
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_hosts_without_port_case_and_final_dot() {
        for host in ["shop.example.test", "SHOP.example.test:8080", "shop.example.test."] {
            assert_eq!(canonical(host), "shop.example.test");
        }
        assert_eq!(canonical("[::1]:80"), "[::1]");
    }
}
