//! Where the daemons' programs are.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Folders of daemons that an ordinary user's PATH lacks.
const SYSTEM: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin"];

/// Paths of all programs that a world runs.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) mariadbd: PathBuf,
    pub(crate) install_db: PathBuf,
    pub(crate) named: PathBuf,
    pub(crate) rndc: PathBuf,
    pub(crate) compilezone: PathBuf,
    pub(crate) nginx: PathBuf,
    pub(crate) setpriv: PathBuf,
    pub(crate) setsid: PathBuf,
    pub(crate) shop: PathBuf,
}

impl Programs {
    /// Finds all of them, or names the Debian package that brings the first one missing.
    pub(crate) fn find(shop: Option<&Path>) -> Result<Self> {
        Ok(Self {
            mariadbd: locate("mariadbd", "mariadb-server")?,
            install_db: locate("mariadb-install-db", "mariadb-server")?,
            named: locate("named", "bind9")?,
            rndc: locate("rndc", "bind9-utils")?,
            compilezone: locate("named-compilezone", "bind9-utils")?,
            nginx: locate("nginx", "nginx")?,
            setpriv: locate("setpriv", "util-linux")?,
            setsid: locate("setsid", "util-linux")?,
            shop: match shop {
                Some(path) => path.to_owned(),
                None => own("segue-shop")?,
            },
        })
    }
}

/// Returns the path of `program`, which Debian's `package` installs.
pub(crate) fn locate(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| {
            format!("find program `{program}`: not installed; run `apt-get install {package}`")
        })
}

/// Returns the path of a program of this package: beside the running one, or one
/// folder up from it, where test programs run.
pub(crate) fn own(program: &str) -> Result<PathBuf> {
    let me = std::env::current_exe().context("find the running program")?;
    for folder in me.ancestors().skip(1).take(2) {
        let candidate = folder.join(program);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!(
        "find program `{program}` beside `{}`: not built; run `cargo build -p segue-testkit`",
        me.display()
    )
}
