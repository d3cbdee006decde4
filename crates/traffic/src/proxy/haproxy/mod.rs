//! HAProxy: routes and holds are maps that its Runtime socket changes, and a script looks them
//! up for each request. Never a reload: it drops connections, and what the socket said with them.
//!
//! Each map stands in a file too, which HAProxy reads when it starts. So a reload of the
//! operator's finds routes and sealed holds as they are. Server weights, the common way, are
//! lost then.

mod count;
mod preflight;
mod read;
mod runtime;

use super::driver::{About, Counted, Driver, Held, Sight, Unit, Waited, start_of};
use super::foreign::boot_ms;
use super::record::replace;
use async_trait::async_trait;
use count::{Seconds, Sum};
pub(super) use preflight::INTRODUCES;
use runtime::Runtime;
use segue_front::control::{Reach, Running, SiteRoute, Totals};
use segue_model::plan::HaproxyPlan;
use segue_model::{EffectLeft, Fault, FaultKind, Finding, Side, Sides, UnitName};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The script that holds requests and counts times.
pub(super) const SCRIPT: &str = include_str!("segue.lua");

/// Host to unit, host to backend, unit to hold.
pub(super) const MAPS: [&str; 3] = [UNITS, SIDES, HOLDS];
const UNITS: &str = "units.map";
const SIDES: &str = "sides.map";
const HOLDS: &str = "holds.map";

/// HAProxy as a front.
pub(super) struct Haproxy {
    runtime: Runtime,
    plan: HaproxyPlan,
    seconds: Mutex<HashMap<UnitName, Seconds>>,
}

/// Returns the backend of a site at a side: the first host names it.
pub(super) fn backend(site: &SiteRoute, side: Side) -> String {
    format!("segue_{}_{side}", site.hosts.first().map_or("", String::as_str))
}

fn backends(unit: Unit<'_>) -> impl Iterator<Item = (Side, String)> {
    let both = |site| [Side::Source, Side::Target].map(|side| (side, backend(site, side)));
    unit.sites.iter().flat_map(both)
}

impl Haproxy {
    pub(super) fn new(control: PathBuf, plan: HaproxyPlan) -> Self {
        Self { runtime: Runtime::new(control), plan, seconds: Mutex::default() }
    }

    fn map(&self, name: &str) -> PathBuf {
        self.plan.folder.join(name)
    }

    /// Returns the lines of a map's file, by key.
    fn lines(&self, name: &str) -> Result<BTreeMap<String, String>, Fault> {
        let path = self.map(name);
        let text = std::fs::read_to_string(&path).map_err(|e| self.unwritten(name, &e))?;
        let line = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.to_owned()))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Changes lines of a map's file; a key without a value goes.
    fn keep(&self, name: &str, changes: &[(String, Option<String>)]) -> Result<(), Fault> {
        let mut lines = self.lines(name)?;
        for (key, value) in changes {
            match value {
                Some(value) => lines.insert(key.clone(), value.clone()),
                None => lines.remove(key),
            };
        }
        let text: String = lines.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        // HAProxy reads it as its own user.
        replace(&self.map(name), text.as_bytes(), 0o644).map_err(|e| self.unwritten(name, &e))
    }

    fn unwritten(&self, name: &str, cause: &std::io::Error) -> Fault {
        let op = format!("keep map `{}`", self.map(name).display());
        Fault::new("SG0167", FaultKind::Invalid, op, cause)
            .hint("make the folder with `segue fragments`, writable for the user who runs Segue")
    }

    /// Changes entries of a map in the running process.
    async fn set(&self, name: &str, changes: &[(String, Option<String>)]) -> Result<(), Fault> {
        let path = self.map(name);
        let path = path.display();
        for (key, value) in changes {
            let there = self.runtime.ask(&format!("get map {path} {key}")).await?;
            let there = read::value(&there).is_some();
            match value {
                Some(value) => {
                    let verb = if there { "set" } else { "add" };
                    self.runtime.tell(&format!("{verb} map {path} {key} {value}")).await?;
                }
                None if there => self.runtime.tell(&format!("del map {path} {key}")).await?,
                None => {}
            }
        }
        Ok(())
    }

    /// Writes where each host of a unit goes.
    fn sides(unit: Unit<'_>, side: Option<Side>) -> Vec<(String, Option<String>)> {
        let site = |site| {
            let goal = side.map(|side| backend(site, side));
            site.hosts.iter().map(move |host| (host.clone(), goal.clone()))
        };
        unit.sites.iter().flat_map(site).collect()
    }

    fn hold_of(unit: Unit<'_>, held: Option<&Held>) -> [(String, Option<String>); 1] {
        [(unit.name.to_string(), Some(read::written(held)))]
    }

    async fn script(&self, unit: Unit<'_>) -> Result<read::Script, Fault> {
        Ok(read::script(&self.runtime.ask(&format!("show segue {}", unit.name)).await?))
    }

    async fn sessions(&self, unit: Unit<'_>) -> Result<Vec<read::Session>, Fault> {
        let names: Vec<String> = backends(unit).map(|(_, name)| name).collect();
        Ok(read::sessions(&self.runtime.ask("show sess").await?, &names))
    }

    /// Returns one line of counters for each backend.
    async fn rows(&self, unit: Unit<'_>) -> Result<Vec<(Side, String)>, Fault> {
        let mut rows = Vec::new();
        for (side, name) in backends(unit) {
            rows.push((side, self.runtime.ask(&format!("show stat {name} 2 -1")).await?));
        }
        Ok(rows)
    }

    /// Checks that each backend of a unit asks the server that the plan names.
    async fn has_servers(&self, unit: Unit<'_>) -> Result<(), Fault> {
        for site in unit.sites {
            for side in [Side::Source, Side::Target] {
                let (name, wanted) = (backend(site, side), site.backends.get(side));
                let answer = self.runtime.ask(&format!("show servers state {name}")).await?;
                let servers = read::servers(&answer);
                if servers.as_slice() != [*wanted] {
                    let op = format!("use backend `{name}` of HAProxy");
                    let cause = match servers.as_slice() {
                        [] => "there is no such backend, or no server in it".to_owned(),
                        other => format!("it asks {other:?}, the plan says {wanted}"),
                    };
                    return Err(Fault::new("SG0169", FaultKind::Invalid, op, cause)
                        .hint("put what `segue fragments PLAN` prints into its configuration"));
                }
                self.introduces(site, side, &name)?;
            }
        }
        Ok(())
    }

    /// Checks that the server of a backend is told who the client is, where the plan says so. Its
    /// socket does not tell.
    fn introduces(&self, site: &SiteRoute, side: Side, name: &str) -> Result<(), Fault> {
        let wanted = |reach: &Reach| reach.servers.get(side).proxy_out;
        if !site.reach.as_deref().is_some_and(wanted) {
            return Ok(());
        }
        let path = &self.plan.config;
        let cause = match std::fs::read_to_string(path) {
            Ok(text) if preflight::introduces(&text, name) => return Ok(()),
            Ok(_) => format!("its server is without `{}`", preflight::INTRODUCES),
            Err(error) => format!("`{}`: {error}", path.display()),
        };
        Err(Fault::new(
            "SG0169",
            FaultKind::Invalid,
            format!("use backend `{name}` of HAProxy"),
            cause,
        )
        .hint("put what `segue fragments PLAN` prints into its configuration"))
    }

    /// Returns where all hosts of a unit go; none if they do not go to one side of it.
    async fn side(&self, unit: Unit<'_>) -> Result<Option<Side>, Fault> {
        let (path, mut found) = (self.map(SIDES), None);
        for site in unit.sites {
            for host in &site.hosts {
                let answer =
                    self.runtime.ask(&format!("get map {} {host}", path.display())).await?;
                let here = [Side::Source, Side::Target]
                    .into_iter()
                    .find(|side| read::value(&answer) == Some(&backend(site, *side)));
                match (here, found) {
                    (None, _) => return Ok(None),
                    (Some(here), Some(there)) if here != there => return Ok(None),
                    (here, _) => found = here,
                }
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Driver for Haproxy {
    async fn about(&self) -> Result<About, Fault> {
        let info = self.runtime.ask("show info").await?;
        let field = |name| read::info(&info, name).unwrap_or_default();
        let pid = field("Pid").parse().unwrap_or(0);
        Ok(About { pid, start: start_of(pid), version: format!("HAProxy {}", field("Version")) })
    }

    async fn put(&self, unit: Unit<'_>, side: Side, held: Option<&Held>) -> Result<(), Fault> {
        self.has_servers(unit).await?;
        let hosts = unit.sites.iter().flat_map(|site| &site.hosts);
        let units: Vec<_> = hosts.map(|host| (host.clone(), Some(unit.name.to_string()))).collect();
        let (sides, holds) = (Self::sides(unit, Some(side)), Self::hold_of(unit, held));
        self.keep(HOLDS, &holds)?;
        self.keep(SIDES, &sides)?;
        self.keep(UNITS, &units)?;
        let left = |fault: Fault| fault.leaving(EffectLeft::Maybe);
        // A hold first: nothing shall pass because its host is known before it.
        self.set(HOLDS, &holds).await.map_err(left)?;
        self.set(SIDES, &sides).await.map_err(left)?;
        self.set(UNITS, &units).await.map_err(left)
    }

    async fn take_out(&self, unit: Unit<'_>) -> Result<(), Fault> {
        let hosts: Vec<_> = Self::sides(unit, None);
        let name = [(unit.name.to_string(), None)];
        self.set(SIDES, &hosts).await?;
        self.set(UNITS, &hosts).await?;
        self.set(HOLDS, &name).await?;
        self.keep(SIDES, &hosts)?;
        self.keep(UNITS, &hosts)?;
        self.keep(HOLDS, &name)
    }

    async fn hold(&self, unit: Unit<'_>, _side: Side, held: Option<&Held>) -> Result<(), Fault> {
        let holds = Self::hold_of(unit, held);
        match held {
            // A hold that ends by itself ends with the process too: no file says otherwise.
            Some(Held { until_ms: Some(_), .. }) => {
                self.set(HOLDS, &holds).await?;
                let gone = Self::hold_of(unit, None);
                match self.lines(HOLDS)?.get(unit.name.as_str()) {
                    Some(value) if gone.iter().all(|(_, free)| free.as_ref() == Some(value)) => {
                        Ok(())
                    }
                    _ => self.keep(HOLDS, &gone),
                }
            }
            _ => {
                // In force first: while the disk is written no lease may run out.
                self.set(HOLDS, &holds).await?;
                self.keep(HOLDS, &holds)
            }
        }
    }

    async fn release(&self, unit: Unit<'_>, to: Side) -> Result<(), Fault> {
        let (sides, holds) = (Self::sides(unit, Some(to)), Self::hold_of(unit, None));
        let left = |fault: Fault| fault.leaving(EffectLeft::Maybe);
        self.set(SIDES, &sides).await.map_err(left)?;
        self.set(HOLDS, &holds).await.map_err(left)?;
        let done = |fault: Fault| fault.leaving(EffectLeft::Done);
        self.keep(SIDES, &sides).map_err(done)?;
        self.keep(HOLDS, &holds).map_err(done)
    }

    async fn look(&self, unit: Unit<'_>) -> Result<Sight, Fault> {
        let path = self.map(HOLDS);
        let held = self.runtime.ask(&format!("get map {} {}", path.display(), unit.name)).await?;
        let held = read::value(&held).and_then(read::held);
        let rows = self.rows(unit).await?;
        let there = |row: &(Side, String)| read::number(&read::row(&row.1), "scur");
        let there: u64 = rows.iter().map(there).sum();
        // Looking at each session costs more, and mostly there is none that matters.
        let streams = match there {
            0 => 0,
            _ => self.sessions(unit).await?.iter().filter(|session| session.is_stream).count(),
        };
        Ok(Sight {
            side: self.side(unit).await?,
            held,
            running: usize::try_from(there).unwrap_or(usize::MAX).saturating_sub(streams),
            streams,
            waiting: self.script(unit).await?.waiting,
        })
    }

    async fn running(&self, unit: Unit<'_>) -> Result<Vec<Running>, Fault> {
        let sessions = self.sessions(unit).await?;
        Ok(sessions.iter().filter(|session| !session.is_stream).map(Running::from).collect())
    }

    async fn end_streams(&self, unit: Unit<'_>) -> Result<u64, Fault> {
        let mut ended = 0;
        for session in self.sessions(unit).await?.iter().filter(|session| session.is_stream) {
            // One that ended meanwhile is no error.
            let answer = self.runtime.ask(&format!("shutdown session {}", session.id)).await?;
            ended += u64::from(answer.is_empty());
        }
        Ok(ended)
    }

    async fn waited(&self, unit: Unit<'_>) -> Result<Waited, Fault> {
        let script = self.script(unit).await?;
        #[allow(clippy::cast_precision_loss)] // Microseconds of a pause.
        let longest_ms = script.longest_us as f64 / 1_000.0;
        Ok(Waited { count: script.held, longest_ms, refused: script.refused })
    }

    async fn counted(&self, unit: Unit<'_>) -> Result<Counted, Fault> {
        let script = self.script(unit).await?;
        let mut sums = Sides { source: Sum::default(), target: Sum::default() };
        for (side, row) in self.rows(unit).await? {
            let row = read::row(&row);
            let sum = sums.get_mut(side);
            sum.failed += read::number(&row, "hrsp_5xx");
            sum.refused += read::number(&row, "hrsp_4xx");
            sum.requests += ["1xx", "2xx", "3xx", "4xx", "5xx", "other"]
                .map(|class| read::number(&row, &format!("hrsp_{class}")))
                .iter()
                .sum::<u64>();
        }
        for side in [Side::Source, Side::Target] {
            sums.get_mut(side).times = script.times.get(side).clone();
        }
        let longest = count::longest(&script);
        let totals = |sum: &Sum, longest_ms: f64| Totals {
            requests: sum.requests,
            failed: sum.failed,
            longest_ms,
        };
        let sides = Sides {
            source: totals(&sums.source, longest.source),
            target: totals(&sums.target, longest.target),
        };
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = seconds.entry(unit.name.clone()).or_default();
        seconds.look(boot_ms() / 1_000, sums);
        Ok(Counted { sides, windows: seconds.windows() })
    }

    async fn preflight(&self) -> Vec<Finding> {
        self.findings().await
    }
}
