//! Where requests go, by host name. Replaced as a whole, read without a lock.

use crate::gate::Gate;
use crate::upstream::Pool;
use segue_model::{RunId, Sides};
use std::collections::HashMap;
use std::sync::Arc;

/// A unit as requests see it.
pub(crate) struct Unit {
    /// Lets its requests pass or makes them wait.
    pub(crate) gate: Arc<Gate>,
    /// Connections to its application at each side.
    pub(crate) backends: Sides<Arc<Pool>>,
}

/// All units, by host name in lower case.
#[derive(Default)]
pub(crate) struct Routes {
    run: Option<RunId>,
    hosts: HashMap<String, Arc<Unit>>,
}

impl Routes {
    /// Builds the table from the run that has the front and units with their host names.
    pub(crate) fn new<'a>(
        run: Option<RunId>,
        units: impl IntoIterator<Item = (&'a [String], Arc<Unit>)>,
    ) -> Self {
        let mut hosts = HashMap::new();
        for (names, unit) in units {
            for name in names {
                hosts.insert(canonical(name), unit.clone());
            }
        }
        Self { run, hosts }
    }

    /// Returns the run that has the front.
    pub(crate) fn run(&self) -> Option<&RunId> {
        self.run.as_ref()
    }

    /// Returns every unit; one with several hosts several times.
    pub(crate) fn units(&self) -> impl Iterator<Item = &Arc<Unit>> {
        self.hosts.values()
    }

    /// Returns the unit that a `Host` header names.
    pub(crate) fn find(&self, host: &str) -> Option<&Arc<Unit>> {
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
