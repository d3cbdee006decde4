//! The thread that owns a world's children.
//!
//! The kernel ties a child to the thread that started it, so one thread starts all of
//! them and lives as long as the world. It has a runtime of its own, so that a world
//! can be used from inside another runtime.

use super::daemon::{Daemon, Ending, Recipe};
use super::programs::Programs;
use anyhow::{Context, Result, anyhow};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;

type Job = Box<dyn FnOnce(&mut Kept) + Send>;

/// What the thread owns. Dropping it ends every child.
pub(crate) struct Kept {
    pub(crate) runtime: Runtime,
    pub(crate) programs: Programs,
    detached: bool,
    daemons: Vec<Daemon>,
}

impl Kept {
    /// Starts a child that lives as long as the world.
    pub(crate) fn start(&mut self, recipe: &Recipe) -> Result<i32> {
        let daemon = recipe.start(&self.programs, self.detached)?;
        let pid = daemon.pid();
        self.daemons.push(daemon);
        Ok(pid)
    }

    /// Returns the child called `name`.
    pub(crate) fn daemon(&mut self, name: &str) -> Result<&mut Daemon> {
        self.daemons
            .iter_mut()
            .find(|daemon| daemon.name() == name)
            .with_context(|| format!("find `{name}` among the world's processes: not running"))
    }

    /// Takes the child called `name` out of the world's care.
    pub(crate) fn take(&mut self, name: &str) -> Result<Daemon> {
        let at =
            self.daemons.iter().position(|daemon| daemon.name() == name).with_context(|| {
                format!("find `{name}` among the world's processes: not running")
            })?;
        Ok(self.daemons.remove(at))
    }

    /// Fails if any child has ended.
    pub(crate) fn all_run(&mut self) -> Result<()> {
        self.daemons.iter_mut().try_for_each(Daemon::still_runs)
    }

    /// Returns name and process id of every child.
    pub(crate) fn pids(&self) -> Vec<(String, i32)> {
        self.daemons.iter().map(|daemon| (daemon.name().to_owned(), daemon.pid())).collect()
    }

    /// Leaves every child running and forgets it.
    pub(crate) fn let_go(&mut self) {
        self.daemons.clear();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Writers are asked first, so that their ledgers agree with a database that still runs.
        let (mut asked, mut killed): (Vec<_>, Vec<_>) = std::mem::take(&mut self.daemons)
            .into_iter()
            .partition(|daemon| daemon.recipe().ending == Ending::Ask);
        asked.iter_mut().for_each(Daemon::begin_end);
        asked.into_iter().for_each(|daemon| daemon.finish(Duration::from_secs(3)));
        killed.iter_mut().for_each(Daemon::begin_end);
        killed.into_iter().for_each(|daemon| daemon.finish(Duration::from_secs(5)));
    }
}

/// Handle to the thread.
pub(crate) struct Keeper {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    pub(crate) fn new(programs: Programs, detached: bool) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("build the world's runtime")?;
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new()
            .name("world-keeper".to_owned())
            .spawn(move || {
                let mut kept = Kept { runtime, programs, detached, daemons: Vec::new() };
                for job in inbox {
                    job(&mut kept);
                }
            })
            .context("start the world's keeper")?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `job` on the thread and waits for its result.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Kept) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let gone = || anyhow!("the world's keeper has ended: a former operation panicked");
        let (answer, answered) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |kept| {
            // Nobody listens only if the caller is gone.
            let _ = answer.send(job(kept));
        });
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already shown; its children ended while it unwound.
            let _ = thread.join();
        }
    }
}
