//! A world from its start to its end.

use super::bind::Servers;
use super::description::{Description, PerSide};
use super::keeper::Keeper;
use super::mariadb::Instance;
use super::ports::Ports;
use super::programs::Programs;
use super::setup::{self, WorldOptions};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running world. Dropping it ends all of its processes; its folder stays.
pub struct World {
    description: Description,
    pub(crate) names: Servers,
    pub(crate) databases: PerSide<Instance>,
    pub(crate) keeper: Keeper,
    detached: bool,
    /// Dropped after the keeper: the ports are in use until then.
    _ports: Ports,
}

impl World {
    /// Brings up a world: name servers, databases with their rows, files, web servers,
    /// shop, cron and the neighbour. Returns once every one of them answers.
    ///
    /// May be called from inside a runtime; it blocks for some seconds.
    pub fn start(options: WorldOptions) -> Result<Self> {
        let programs = Programs::find(options.shop_program.as_deref())?;
        let mut options = options;
        options.dir = setup::prepare_dir(&options.dir)?;
        let detached = options.detach;
        let keeper = Keeper::new(programs, detached)?;
        let place = options.dir.display().to_string();
        let parts = keeper
            .run(move |kept| setup::start(kept, &options))
            .with_context(|| format!("start a world in `{place}`"))?;
        let setup::Parts { ports, description, names, databases } = parts;
        Ok(Self { description, names, databases, keeper, detached, _ports: ports })
    }

    /// Returns its description.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Returns the path of its `world.json`.
    pub fn path(&self) -> PathBuf {
        self.description.path()
    }

    /// Leaves it running when this process ends; [`stop`] ends it later.
    ///
    /// Only for a world started with `detach`: the kernel ends the others' processes
    /// together with this one, and that cannot be taken back.
    pub fn keep(self) -> Result<Description> {
        if !self.detached {
            bail!(
                "keep the world in `{}`: not started with `detach`",
                self.description.dir.display()
            );
        }
        self.keeper.run(|kept| {
            kept.let_go();
            Ok(())
        })?;
        Ok(self.description.clone())
    }

    /// Fails if one of its processes has ended, with the end of its log.
    pub fn check(&self) -> Result<()> {
        self.keeper.run(super::keeper::Kept::all_run)
    }

    /// Returns the zone at the primary as sorted lines in canonical form.
    pub fn dump_zone(&self) -> Result<Vec<String>> {
        self.names.zone_at(self.names.primary)
    }

    /// Returns the zone at one of its name servers as sorted lines in canonical form.
    pub fn zone_at(&self, server: SocketAddr) -> Result<Vec<String>> {
        self.names.zone_at(server)
    }

    /// Returns a plan file for moving the shop from source to target.
    pub fn plan_toml(&self) -> String {
        self.description.plan_toml()
    }
}

/// Returns name and id of the processes of a world that still run.
///
/// A process counts only if the world's folder stands in its command line: its number
/// may belong to another by now.
pub(crate) fn running(description: &Description) -> Vec<(String, i32)> {
    description
        .pids
        .iter()
        .filter(|(_, pid)| is_of(**pid, &description.dir))
        .map(|(name, pid)| (name.clone(), *pid))
        .collect()
}

fn is_of(pid: i32, dir: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(&*dir.display().to_string())
}

/// Ends a world that was started with `detach` and kept. Returns the names of what was ended.
pub fn stop(dir: &Path) -> Result<Vec<String>> {
    let dir = dir.canonicalize().with_context(|| format!("open folder `{}`", dir.display()))?;
    let description = Description::load(&dir.join("world.json"))?;
    let mut left = running(&description);
    let names = left.iter().map(|(name, _)| name.clone()).collect();
    // Clients of the databases first, so that their last line is written.
    let (data, clients): (Vec<_>, Vec<_>) = left
        .drain(..)
        .partition(|(name, _)| name.starts_with("mariadbd") || name.starts_with("named"));
    for group in [clients, data] {
        end(&description.dir, &group, Signal::TERM, Duration::from_secs(8));
        let stubborn: Vec<_> =
            group.into_iter().filter(|(_, pid)| is_of(*pid, &description.dir)).collect();
        end(&description.dir, &stubborn, Signal::KILL, Duration::from_secs(8));
        if let Some((name, pid)) = stubborn.iter().find(|(_, pid)| is_of(*pid, &description.dir)) {
            bail!("stop `{name}` (process {pid}): still there after SIGKILL");
        }
    }
    Ok(names)
}

fn end(dir: &Path, processes: &[(String, i32)], signal: Signal, patience: Duration) {
    for (_, pid) in processes {
        if let Some(pid) = Pid::from_raw(*pid) {
            // Gone is as good as signalled.
            let _ = kill_process_group(pid, signal);
        }
    }
    // Not an error here: the caller looks which of them are left.
    let _ = super::daemon::wait_until("the world's processes end", patience, || {
        Ok(processes.iter().all(|(_, pid)| !is_of(*pid, dir)))
    });
}
