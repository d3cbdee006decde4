//! A disk of its own for a daemon's data, small enough to be filled.

use super::daemon::Recipe;
use super::programs::locate;
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Size of the disk. The redo log of 256 MiB lies on it too.
const SIZE: &str = "640m";

/// What moves the data to the disk, and then becomes the daemon. Only the daemon sees the
/// mount: nothing needs to be taken off again, and no rights are wanted.
const MOVE: &str = r#"
set -e
disk=$(mktemp -d)
mount -t tmpfs -o size="$2" small "$disk"
cp -a "$1/." "$disk/"
mount --bind "$disk" "$1"
umount "$disk"
rmdir "$disk"
shift 2
exec "$@"
"#;

/// Returns a recipe whose daemon has its `folder` on a small disk.
pub(super) fn behind(recipe: Recipe, folder: &Path) -> Result<Recipe> {
    let mut args: Vec<OsString> =
        ["--user", "--map-root-user", "--mount", "--", "sh", "-c", MOVE, "sh"]
            .map(OsString::from)
            .into();
    args.extend([folder.into(), SIZE.into(), recipe.program.into_os_string()]);
    args.extend(recipe.args);
    // Inside it is root, whoever it is outside.
    if !args.iter().any(|arg| arg == "--user=root") {
        args.push("--user=root".into());
    }
    Ok(Recipe { program: locate("unshare", "util-linux")?, args, ..recipe })
}

/// The small disk of a running daemon.
#[derive(Debug)]
pub struct SmallDisk {
    /// The file that takes what is free.
    ballast: PathBuf,
}

impl SmallDisk {
    pub(super) fn of(pid: i32, folder: &Path) -> Self {
        let inside = folder.strip_prefix("/").unwrap_or(folder);
        Self {
            ballast: Path::new("/proc")
                .join(pid.to_string())
                .join("root")
                .join(inside)
                .join("ballast"),
        }
    }

    /// Takes all that is free, to the last page.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(&self.ballast)
            .with_context(|| format!("create `{}`", self.ballast.display()))?;
        let (mut piece, mut taken) = (1 << 20, 0_u64);
        while piece >= 4096 {
            match file.write(&vec![0; piece]) {
                Ok(bytes) => taken += bytes as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => piece /= 16,
                Err(error) => return Err(error).context("fill the small disk"),
            }
            ensure!(taken < 1 << 30, "the disk is not small: is it mounted?");
        }
        Ok(())
    }

    /// Gives the room back.
    pub fn empty(&self) -> Result<()> {
        std::fs::remove_file(&self.ballast).context("empty the small disk")
    }
}
