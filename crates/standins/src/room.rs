//! The closed room: how it is opened from outside, and what is done first inside.

use crate::mounts;
use rustix::process::geteuid;
use segue_doors::first;
use segue_doors::process::{Finished, Invocation, find_program};
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Programs that a room and its stand-ins need, with the Debian package of each.
pub const PROGRAMS: [(&str, &str); 5] = [
    ("unshare", "util-linux"),
    ("ip", "iproute2"),
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
    ("named", "bind9"),
];

/// Where the room's own memory lies, inside it.
pub const MEMORY: &str = "/run/segue-room";

/// What a room is made of.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Walls {
    /// The rehearsal's folder: the only one that can be written.
    pub home: PathBuf,
    /// Every address that the plan names.
    pub addresses: BTreeSet<IpAddr>,
    /// Files and folders of `home` that stand in the place of others: (own, the other's path).
    pub instead: Vec<(PathBuf, PathBuf)>,
    /// Files that must stay readable whatever is covered: the places of secrets.
    pub kept: Vec<PathBuf>,
}

fn refused(op: &str, cause: impl std::fmt::Display) -> Fault {
    Fault::new("SG0850", FaultKind::Unsupported, op, cause).hint(
        "egress cannot be closed, so nothing is rehearsed: run the controller as root, or let users make namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces)",
    )
}

/// Words before a program that start it in new namespaces. The first process of the room is
/// killed when `unshare` ends, and the whole room with it.
fn unshare() -> Vec<&'static str> {
    let mut words = Vec::new();
    if !geteuid().is_root() {
        words.extend(["--user", "--map-root-user"]);
    }
    words.extend(["--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"]);
    words.push("--");
    words
}

/// Makes sure that a room can be made here.
///
/// # Errors
/// `SG0850` if a program is missing or namespaces are not permitted.
pub async fn check() -> Outcome<()> {
    let op = "make a closed room";
    for (program, package) in PROGRAMS {
        if find_program(program).is_none() {
            let cause = format!("`{program}` is missing; Debian has it in `{package}`");
            return Err(Fault::new("SG0850", FaultKind::NotFound, op, cause)
                .hint(format!("apt-get install {package}; nothing was touched")));
        }
    }
    let tried = Invocation::new("unshare", Duration::from_secs(10)).args(unshare()).arg("true");
    let ended = tried.run().await?;
    match ended.code() {
        Some(0) => Ok(()),
        _ => Err(refused(op, ended.last_words())),
    }
}

/// Runs `program` as the first process of a new room until it ends.
///
/// # Errors
/// Those of [`Invocation::run_reporting`].
pub async fn run(
    program: &Path,
    args: &[String],
    secrets: &[String],
    limit: Duration,
    on_line: &mut (dyn FnMut(&str) + Send),
) -> Outcome<Finished> {
    let mut room = Invocation::new("unshare", limit).args(unshare()).arg(program).args(args);
    // A secret that the plan keeps in this process's environment is needed inside as well, and
    // inherited as this process inherited it.
    for name in secrets {
        if let Some(value) = std::env::var_os(name) {
            room = room.env(name, value);
        }
    }
    room.run_reporting(on_line).await
}

/// Closes the room around this process, the first one in it.
///
/// # Errors
/// `SG0850` if a wall does not stand: nothing may be started then.
pub fn close(walls: &Walls) -> Outcome<()> {
    let op = "close the room";
    // Anything else would be the machine's own network.
    if std::process::id() != 1 {
        return Err(refused(op, "this process is not the first one of a room"));
    }
    mounts::close(walls).map_err(|e| refused(op, e))?;
    let ip = |args: &[&str]| first::run("ip", args);
    ip(&["link", "set", "lo", "up"]).map_err(|e| refused(op, e))?;
    for address in &walls.addresses {
        let one = match address {
            // The loopback's own; a wildcard is none.
            IpAddr::V4(v4) if v4.octets() == [127, 0, 0, 1] || v4.is_unspecified() => continue,
            IpAddr::V4(_) => vec![format!("{address}/32"), "dev".into(), "lo".into()],
            IpAddr::V6(v6) if v6.is_loopback() || v6.is_unspecified() => continue,
            IpAddr::V6(_) => {
                vec![format!("{address}/128"), "dev".into(), "lo".into(), "nodad".into()]
            }
        };
        let words: Vec<&str> =
            ["addr", "add"].into_iter().chain(one.iter().map(String::as_str)).collect();
        ip(&words).map_err(|e| refused(op, e))?;
    }
    only_loopback().map_err(|e| refused(op, e))
}

/// Makes sure that the room has no interface but the loopback.
fn only_loopback() -> Result<(), String> {
    let text = std::fs::read_to_string("/proc/self/net/dev").map_err(|e| e.to_string())?;
    let names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    let others: Vec<&str> = names.filter(|name| *name != "lo").collect();
    // Tunnels that the kernel puts into every namespace are down and lead nowhere.
    let up = |name: &&str| {
        let flags = std::fs::read_to_string(format!("/sys/class/net/{name}/flags"));
        let flags = flags
            .ok()
            .and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok());
        flags.is_some_and(|flags| flags & 1 == 1)
    };
    match others.iter().find(|name| up(name)) {
        Some(name) => Err(format!("interface `{name}` leads out of it")),
        None => Ok(()),
    }
}

/// Tries to reach addresses outside; returns those that answered. None may.
pub async fn leaks(outside: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut reached = Vec::new();
    for address in outside {
        let trying = tokio::net::TcpStream::connect(address);
        if matches!(tokio::time::timeout(Duration::from_secs(1), trying).await, Ok(Ok(_))) {
            reached.push(*address);
        }
    }
    reached
}
