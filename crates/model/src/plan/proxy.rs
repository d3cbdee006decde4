//! The operator's own proxy in the place of a front, and what each kind of them can do.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A proxy that is there already and is driven where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProxyPlan {
    /// HAProxy, driven by its Runtime socket, which stands as the front's `control`.
    Haproxy(HaproxyPlan),
    /// nginx, driven by a file and a reload.
    Nginx(NginxPlan),
}

/// HAProxy as a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaproxyPlan {
    /// Its configuration, read to see whether what Segue needs is in it; never written.
    pub config: PathBuf,
    /// The folder of Segue's maps and script, which HAProxy reads and Segue writes.
    pub folder: PathBuf,
}

/// nginx as a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NginxPlan {
    /// The folder of Segue's part of the configuration, which nginx includes and Segue writes.
    pub folder: PathBuf,
    /// The file with the process id of its main process.
    pub pid: PathBuf,
    /// The operator takes the requests that a reload loses.
    pub accept_reload_losses: bool,
    /// The operator takes that requests are refused with 503 during the pause, as nothing queues.
    pub accept_refusals: bool,
}

/// What happens to a request that comes during a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// It waits, and those that came first go first.
    InOrder,
    /// It waits; which goes first is not said.
    AnyOrder,
    /// It is answered 503 with `Retry-After`.
    Refuses,
}

/// What a kind of front can do. A plan that needs more is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// What a hold does with requests.
    pub queue: Queue,
    /// A hold ends by itself if nobody renews it, with the controller or without.
    pub leased: bool,
    /// How exactly a hold ends, milliseconds after it should.
    pub grain_ms: u64,
    /// A switch loses no request.
    pub lossless: bool,
    /// Requests that waited are let through no faster than the side takes them.
    pub paced: bool,
    /// Whoever left is not sent on after a hold.
    pub drops_leavers: bool,
    /// It says which paths run.
    pub tells_paths: bool,
    /// Reads on `harmless_paths` pass a hold.
    pub passes_harmless: bool,
    /// What waits in a hold is bounded in bytes, not in number alone.
    pub weighs: bool,
    /// Whoever waits in vain gets the operator's page.
    pub shows_page: bool,
    /// A hold ends event streams, so that they do not keep it from being idle.
    pub ends_event_streams: bool,
    /// It gives visitors who read a share of the target, with what they met.
    pub splits: bool,
    /// It copies users' requests for the target and compares the answers.
    pub mirrors: bool,
    /// It tells web servers with the PROXY protocol who the client is.
    pub introduces: bool,
    /// It counts requests, failures and answer times by side and second.
    pub counts: bool,
    /// It knows who still comes to the address that a unit has left.
    pub knows_stragglers: bool,
    /// A route and a sealed hold survive its restart.
    pub survives: bool,
}

impl Abilities {
    /// What Segue's own front can do.
    pub const OWN: Self = Self {
        queue: Queue::InOrder,
        leased: true,
        grain_ms: 1,
        lossless: true,
        paced: true,
        drops_leavers: true,
        tells_paths: true,
        passes_harmless: true,
        weighs: true,
        shows_page: true,
        ends_event_streams: true,
        splits: true,
        mirrors: true,
        introduces: true,
        counts: true,
        knows_stragglers: true,
        survives: true,
    };

    /// What HAProxy can do with Segue's script and maps. A request that waits looks every 10 to
    /// 100 ms, the more wait the less often.
    pub const HAPROXY: Self = Self {
        queue: Queue::AnyOrder,
        grain_ms: 100,
        paced: false,
        drops_leavers: false,
        tells_paths: false,
        passes_harmless: false,
        weighs: false,
        shows_page: false,
        ends_event_streams: false,
        splits: false,
        mirrors: false,
        knows_stragglers: false,
        ..Self::OWN
    };

    /// What nginx can do with a file and a reload.
    pub const NGINX: Self = Self {
        queue: Queue::Refuses,
        grain_ms: 1_000,
        lossless: false,
        introduces: false,
        counts: false,
        ..Self::HAPROXY
    };

    /// Returns what a table prints: each ability in words, and whether it is there.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let queue = match self.queue {
            Queue::InOrder => "waits, in order",
            Queue::AnyOrder => "waits, in any order",
            Queue::Refuses => "is refused with 503",
        };
        vec![
            ("a request during a hold", queue.to_owned()),
            ("a hold nobody renews ends by itself", yes(self.leased)),
            ("a hold ends after its time by up to", format!("{} ms", self.grain_ms)),
            ("a switch loses no request", yes(self.lossless)),
            ("a release goes at the side's pace", yes(self.paced)),
            ("whoever left is not sent on", yes(self.drops_leavers)),
            ("`slow_paths` are waited for", yes(self.tells_paths)),
            ("`harmless_paths` pass a hold", yes(self.passes_harmless)),
            ("what waits is bounded in bytes (`hold_bytes_max`)", yes(self.weighs)),
            ("who waits in vain gets a `hold_page`", yes(self.shows_page)),
            ("a hold ends event streams", yes(self.ends_event_streams)),
            ("traffic split with gates", yes(self.splits)),
            ("users' requests copied and compared", yes(self.mirrors)),
            ("web servers are told of clients by the PROXY protocol", yes(self.introduces)),
            ("requests and times by side and second", yes(self.counts)),
            ("who still comes to the former address is known", yes(self.knows_stragglers)),
            ("route and sealed hold survive a restart", yes(self.survives)),
        ]
    }
}

impl ProxyPlan {
    /// Returns its name, as in a plan file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Haproxy(_) => "haproxy",
            Self::Nginx(_) => "nginx",
        }
    }

    /// Returns what it can do.
    pub fn abilities(&self) -> Abilities {
        match self {
            Self::Haproxy(_) => Abilities::HAPROXY,
            Self::Nginx(_) => Abilities::NGINX,
        }
    }

    /// Returns the folder that Segue writes into.
    pub fn folder(&self) -> &PathBuf {
        match self {
            Self::Haproxy(plan) => &plan.folder,
            Self::Nginx(plan) => &plan.folder,
        }
    }
}
