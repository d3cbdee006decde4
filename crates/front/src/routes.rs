//! Where requests go, by host name. Read without a lock, changed in parts.
//!
//! The table is cut into shards, each replaced as a whole: a change of one site copies a
//! hundredth of ten thousand, and a reader sees a shard before a change or after it. That one
//! host of a unit is seen changed a moment before another makes no difference: what has to
//! change at once for all of a unit is its gate.

use crate::gate::Gate;
use crate::mirror::Mirror;
use crate::policy::Policy;
use crate::split::Split;
use crate::stats::Counts;
use crate::upstream::Group;
use arc_swap::{ArcSwap, ArcSwapOption};
use segue_model::{RunId, Sides, UnitName};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Parts of the table; a power of two.
const SHARDS: usize = 64;

/// A site of a unit as requests see it.
pub(crate) struct Site {
    /// Lets requests of the unit pass or makes them wait; the same one for all its sites.
    pub(crate) gate: Arc<Gate>,
    /// Counts requests of the unit.
    pub(crate) counts: Arc<Counts>,
    /// The site's servers at each side.
    pub(crate) backends: Sides<Arc<Group>>,
    /// From a request to the head of its answer; none for the front's limit.
    pub(crate) answer: Option<Duration>,
    /// Where TLS for its hosts goes unread; none if it ends here.
    pub(crate) passthrough: Option<Sides<Unread>>,
    /// Where a certificate authority's question by TLS goes at each side, if that is known.
    pub(crate) authority: Sides<Option<Unread>>,
    /// The split of the unit, if it has or had one; the same place for all its sites.
    pub(crate) split: Arc<ArcSwapOption<Split>>,
    /// The copies of the unit's requests, if there are any; the same place for all its sites.
    pub(crate) mirror: Arc<ArcSwapOption<Mirror>>,
    /// What requests of the unit meet during a hold, if something was said.
    pub(crate) policy: Arc<ArcSwapOption<Policy>>,
}

impl Site {
    /// Builds a site of which nothing is said but who answers for it.
    #[cfg(any(feature = "testing", debug_assertions))]
    pub(crate) fn plain(gate: Arc<Gate>, counts: Arc<Counts>, backends: Sides<Arc<Group>>) -> Self {
        Self {
            gate,
            counts,
            backends,
            answer: None,
            passthrough: None,
            authority: Sides::default(),
            split: Arc::default(),
            mirror: Arc::default(),
            policy: Arc::default(),
        }
    }

    /// Returns its servers that get no requests.
    pub(crate) fn out(&self) -> impl Iterator<Item = SocketAddr> {
        let Sides { source, target } = &self.backends;
        source.out().chain(target.out())
    }
}

/// A server that connections go to unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) address: SocketAddr,
    /// Whether it is told who the client is.
    pub(crate) introduces: bool,
}

/// The unit of a front that has one only: connections that name no host are its own.
pub(crate) struct Only {
    /// Lets its connections pass or makes them wait.
    pub(crate) gate: Arc<Gate>,
    /// Counts them.
    pub(crate) counts: Arc<Counts>,
}

/// Sites by host name in lower case.
type Shard = HashMap<Arc<str>, Arc<Site>>;

/// All sites.
pub(crate) struct Routes {
    run: ArcSwapOption<RunId>,
    only: ArcSwapOption<Only>,
    shards: Box<[ArcSwap<Shard>]>,
    /// Tells that something changed.
    changed: watch::Sender<()>,
}

impl Routes {
    /// Builds a table without sites.
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| ArcSwap::from_pointee(Shard::new()));
        Self {
            run: ArcSwapOption::empty(),
            only: ArcSwapOption::empty(),
            shards: shards.collect(),
            changed: watch::Sender::new(()),
        }
    }

    /// Sets the run that has the front.
    pub(crate) fn set_run(&self, run: Option<RunId>) {
        self.run.store(run.map(Arc::new));
    }

    /// Returns the run that has the front.
    pub(crate) fn run(&self) -> Option<Arc<RunId>> {
        self.run.load_full()
    }

    /// Returns whether a run of this name has the front.
    pub(crate) fn is_claimed_by(&self, run: &[u8]) -> bool {
        self.run.load().as_ref().is_some_and(|own| own.as_str().as_bytes() == run)
    }

    /// Sets the only unit of the front; none if it has none or several.
    pub(crate) fn set_only(&self, only: Option<Only>) {
        self.only.store(only.map(Arc::new));
        self.changed.send_replace(());
    }

    /// Returns what tells of changes from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns the only unit of the front.
    pub(crate) fn only(&self) -> Option<Arc<Only>> {
        self.only.load_full()
    }

    /// Takes hosts out, then puts others in or in the place of what they had. Changes are made
    /// one at a time. Names are [`canonical`].
    pub(crate) fn change<'a>(
        &self,
        gone: impl IntoIterator<Item = &'a str>,
        come: impl IntoIterator<Item = (&'a str, Arc<Site>)>,
    ) {
        let mut changed: HashMap<usize, Shard> = HashMap::new();
        let copied = |at: usize| Shard::clone(&self.shards[at].load());
        for name in gone {
            let at = shard_of(name);
            changed.entry(at).or_insert_with(|| copied(at)).remove(name);
        }
        for (name, site) in come {
            let at = shard_of(name);
            let shard = changed.entry(at).or_insert_with(|| copied(at));
            match shard.get_mut(name) {
                Some(known) => *known = site,
                None => drop(shard.insert(name.into(), site)),
            }
        }
        for (at, mut shard) in changed {
            if shard.capacity() > 4 * shard.len() {
                shard.shrink_to_fit();
            }
            self.shards[at].store(Arc::new(shard));
        }
        self.changed.send_replace(());
    }

    /// Calls `with` for every site; for one with several hosts several times.
    pub(crate) fn each(&self, mut with: impl FnMut(&Arc<Site>)) {
        for shard in &self.shards {
            shard.load().values().for_each(&mut with);
        }
    }

    /// Returns the site that a `Host` header names.
    pub(crate) fn find(&self, host: &str) -> Option<Arc<Site>> {
        let name = bare(host);
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            self.known(&name.to_ascii_lowercase())
        } else {
            self.known(name)
        }
    }

    /// Returns the unit to which a host belongs; the name is [`canonical`].
    pub(crate) fn owner(&self, name: &str) -> Option<UnitName> {
        Some(self.known(name)?.gate.unit().clone())
    }

    fn known(&self, name: &str) -> Option<Arc<Site>> {
        self.shards[shard_of(name)].load().get(name).cloned()
    }
}

/// Returns the part of the table in which a name stands, by its bytes (FNV-1a). Names that
/// somebody chooses so that all stand in one part make that part larger, no more.
fn shard_of(name: &str) -> usize {
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 16)) as usize % SHARDS
}

/// Returns a host name as it stands in the table: lower case, no port, no final dot.
pub(crate) fn canonical(host: &str) -> String {
    bare(host).to_ascii_lowercase()
}

/// Returns a host name without port and final dot.
pub(crate) fn bare(host: &str) -> &str {
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

    #[test]
    fn names_of_one_kind_spread_over_all_parts() {
        let mut counts = [0_usize; SHARDS];
        for number in 0..10_000 {
            counts[shard_of(&format!("acc{number:06}.example.test"))] += 1;
        }
        let most = counts.iter().max().copied().unwrap_or_default();
        assert!(most < 2 * 10_000 / SHARDS, "{counts:?}");
    }
}
