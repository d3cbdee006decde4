//! What can be made to go wrong in a world.

use super::description::{Description, Side};
use super::disk::{self, SmallDisk};
use super::lifetime::World;
use super::mariadb;
use anyhow::{Context, Result, anyhow};
use mysql_async::prelude::Queryable;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

impl World {
    /// Makes the shop at `side` wait so long before dynamic work; 0 ends that. In force
    /// within 100 ms.
    pub fn set_slow_ms(&self, side: Side, slow_ms: u64) -> Result<()> {
        self.set_fault(side, "slow_ms", slow_ms)
    }

    /// Makes the shop at `side` answer 500 to such a share of dynamic requests; 0 ends
    /// that. In force within 100 ms.
    pub fn set_fail_percent(&self, side: Side, percent: u64) -> Result<()> {
        self.set_fault(side, "fail_percent", percent)
    }

    fn set_fault(&self, side: Side, name: &str, value: u64) -> Result<()> {
        let folder = self.description().shop_dir.get(side);
        let part = folder.join(format!("{name}.part"));
        std::fs::write(&part, value.to_string())
            .and_then(|()| std::fs::rename(&part, folder.join(name)))
            .with_context(|| format!("set fault `{name}` of the shop at the {side}"))
    }

    /// Kills the target's database server with SIGKILL.
    pub fn kill_target_database(&self) -> Result<()> {
        self.kill_database(Side::Target)
    }

    /// Starts the target's database server again after it was killed; returns once it answers.
    pub fn restart_target_database(&self) -> Result<()> {
        self.restart_database(Side::Target)
    }

    /// Kills a side's database server with SIGKILL.
    pub fn kill_database(&self, side: Side) -> Result<()> {
        self.keeper.run(move |kept| {
            kept.take(&format!("mariadbd-{side}"))?.kill();
            Ok(())
        })
    }

    /// Starts a side's database server again after it was killed; returns once it answers.
    pub fn restart_database(&self, side: Side) -> Result<()> {
        self.restart_database_with(side, "")
    }

    /// The same with further lines of configuration, until the next start.
    pub fn restart_database_with(&self, side: Side, lines: &str) -> Result<()> {
        self.restart(side, lines, None)
    }

    /// The same on a small disk of its own, which [`SmallDisk::fill`] fills. The data
    /// moves there, and what is written from now on is lost with this server.
    pub fn restart_database_on_small_disk(&self, side: Side) -> Result<SmallDisk> {
        let instance = self.databases.get(side).clone();
        self.restart(side, "", Some(&instance.data()))?;
        let name = format!("mariadbd-{side}");
        let pid = *Description::load(&self.path())?.pids.get(&name).context("its process")?;
        Ok(SmallDisk::of(pid, &instance.data()))
    }

    fn restart(&self, side: Side, lines: &str, disk: Option<&Path>) -> Result<()> {
        let lines = lines.to_owned();
        let disk = disk.map(Path::to_owned);
        let instance = self.databases.get(side).clone();
        let server = self.description().database.server(side).clone();
        let password = Description::secret(&server.admin_password_file)?;
        let pids = self.keeper.run(move |kept| {
            let mut recipe = instance.recipe(&kept.programs)?;
            instance.configure_further(&lines)?;
            if let Some(folder) = &disk {
                recipe = disk::behind(recipe, folder)?;
            }
            kept.start(&recipe)?;
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            loop {
                kept.daemon(&instance.name)?.still_runs()?;
                let connecting = mariadb::connect(server.address, &server.admin, &password);
                match kept.runtime.block_on(connecting) {
                    Ok(conn) => break kept.runtime.block_on(conn.disconnect())?,
                    Err(error) if std::time::Instant::now() > deadline => return Err(error),
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
                }
            }
            Ok(kept.pids())
        })?;
        let mut description = self.description().clone();
        description.pids = pids.into_iter().collect();
        description.save()
    }

    /// Keeps the target's replica from applying anything to `orders` until the returned
    /// guard is dropped. The table must exist there.
    pub fn block_target_apply(&self) -> Result<TargetBlock> {
        TargetBlock::new(self.description())
    }
}

/// A session at the target that holds `LOCK TABLES orders WRITE`.
pub struct TargetBlock {
    /// Dropping it tells the session to end.
    release: Option<mpsc::Sender<()>>,
    session: Option<JoinHandle<()>>,
}

impl TargetBlock {
    fn new(description: &Description) -> Result<Self> {
        let server = description.database.target.clone();
        let schema = description.database.schema.clone();
        let password = Description::secret(&server.admin_password_file)?;
        let (release, released) = mpsc::channel::<()>();
        let (locked, has_locked) = mpsc::sync_channel(1);
        let session =
            std::thread::Builder::new().name("target-block".to_owned()).spawn(move || {
                let hold = || -> Result<()> {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                    let mut conn = runtime.block_on(mariadb::connect(
                        server.address,
                        &server.admin,
                        &password,
                    ))?;
                    runtime.block_on(async {
                        conn.query_drop("SET lock_wait_timeout=10").await?;
                        conn.query_drop(format!("LOCK TABLES `{schema}`.orders WRITE")).await
                    })?;
                    let _ = locked.send(Ok(()));
                    // Ends when the guard drops its end.
                    let _ = released.recv();
                    runtime.block_on(conn.disconnect())?;
                    Ok(())
                };
                if let Err(error) = hold() {
                    let _ = locked.send(Err(error));
                }
            })?;
        let guard = Self { release: Some(release), session: Some(session) };
        has_locked
            .recv()
            .map_err(|_| anyhow!("the session ended"))?
            .context("lock table `orders` at the target")?;
        Ok(guard)
    }
}

impl Drop for TargetBlock {
    fn drop(&mut self) {
        self.release = None;
        if let Some(session) = self.session.take() {
            // Its panic was shown already; the server released the lock with the connection.
            let _ = session.join();
        }
    }
}
