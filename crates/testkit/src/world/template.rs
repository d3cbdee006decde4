//! Prepared data folders, kept so that the next world starts quickly.

use super::data;
use super::keeper::Kept;
use super::mariadb::{Instance, Role};
use super::setup::WorldOptions;
use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A prepared pair of data folders.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    /// Data folder of the source: shop and neighbour.
    pub(crate) source: PathBuf,
    /// Data folder of the target: no schema.
    pub(crate) target: PathBuf,
}

/// Returns the template for `options`, made now unless the cache has it.
pub(crate) fn obtain(kept: &mut Kept, options: &WorldOptions, cache: &Path) -> Result<Template> {
    std::fs::create_dir_all(cache)
        .with_context(|| format!("create the template cache `{}`", cache.display()))?;
    let key = fingerprint(kept, options)?;
    let place = cache.join(&key);
    // One maker at a time: two test programs may want the same template.
    let lock = File::create(cache.join(format!("{key}.lock")))?;
    lock.lock().with_context(|| format!("lock the template cache `{}`", cache.display()))?;
    if !place.is_dir() {
        // The socket's path must be short, and the cache may lie deep.
        let building = tempfile::Builder::new().prefix("world").tempdir()?;
        let done = cache.join(format!("{key}.part"));
        if done.exists() {
            std::fs::remove_dir_all(&done)?;
        }
        std::fs::create_dir(&done)?;
        make(kept, options, building.path(), &done)?;
        std::fs::rename(&done, &place)?;
    }
    Ok(Template { source: place.join("source"), target: place.join("target") })
}

fn fingerprint(kept: &Kept, options: &WorldOptions) -> Result<String> {
    let version = Command::new(&kept.programs.mariadbd)
        .args(["--no-defaults", "--version"])
        .output()
        .context("ask `mariadbd` for its version")?;
    let mut hash = blake3::Hasher::new();
    hash.update(&version.stdout);
    hash.update(data::fingerprint().as_bytes());
    hash.update(format!("{} {}", options.orders_rows, options.products_rows).as_bytes());
    hash.update(rustix::process::geteuid().as_raw().to_string().as_bytes());
    Ok(hash.finalize().to_hex()[..16].to_owned())
}

fn make(kept: &mut Kept, options: &WorldOptions, short: &Path, done: &Path) -> Result<()> {
    for side in ["target", "source"] {
        let home = short.join(side);
        let instance =
            Instance { name: format!("template-{side}"), home: home.clone(), role: Role::Filling };
        instance.install(&kept.programs)?;
        let recipe = instance.recipe(&kept.programs)?;
        kept.start(&recipe)?;
        tracing::info!("filling the {side}'s database");
        let filled = fill(kept, &instance, (side == "source").then_some(options));
        let daemon = kept.take(&recipe.name)?;
        if let Err(error) = filled {
            daemon.kill();
            return Err(error).with_context(|| format!("prepare data of the {side}"));
        }
        tracing::info!("the {side}'s database is filled; waiting for its clean end");
        daemon.wait_end(Duration::from_secs(60))?;
        // The template is small on disk: the log is empty after a clean end, and the server
        // makes one of the configured size at its next start.
        copy_tree(&instance.data(), &done.join(side))?;
    }
    Ok(())
}

fn fill(kept: &mut Kept, instance: &Instance, shop: Option<&WorldOptions>) -> Result<()> {
    let mut one = instance.root(kept, None)?;
    let mut two = instance.root(kept, None)?;
    kept.runtime.block_on(async {
        match shop {
            Some(options) => {
                data::create(&mut one).await?;
                data::fill(&mut one, &mut two, options).await?;
                data::finish(&mut one).await?;
            }
            None => one.query_drop(data::ADMIN).await.context("create the administrator")?,
        }
        two.disconnect().await?;
        one.query_drop("SET GLOBAL innodb_fast_shutdown=0").await?;
        one.query_drop("SHUTDOWN").await.context("end the server cleanly")?;
        Ok(())
    })
}

/// Copies a folder with `cp -a`, sharing blocks where the file system can.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let done = Command::new("cp")
        .args(["-a", "--reflink=auto", "--sparse=always", "--"])
        .arg(from)
        .arg(to)
        .output()
        .context("run `cp`")?;
    if !done.status.success() {
        bail!(
            "copy `{}` to `{}`: {}",
            from.display(),
            to.display(),
            String::from_utf8_lossy(&done.stderr)
        );
    }
    Ok(())
}
