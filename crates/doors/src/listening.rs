//! Who listens where, as `/proc` tells it.

use rustix::process::{Pid, geteuid};
use segue_model::{Fault, FaultKind};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::path::Path;

/// A listening socket as `/proc` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) uid: u32,
    pub(crate) inode: u64,
}

/// Returns the sockets that get connections to `listen`: those that listen at that very address
/// or, without any, those at the wildcard address of its family. One at least.
///
/// # Errors
/// `SG0130` if there is none, or `/proc` cannot be read.
pub(crate) fn servers(listen: SocketAddr, op: &str) -> Result<Vec<Listening>, Fault> {
    let none =
        |cause: String, hint: &str| Fault::new("SG0130", FaultKind::NotFound, op, cause).hint(hint);
    let wildcard = match listen {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    for address in [listen, SocketAddr::new(wildcard, listen.port())] {
        let there =
            at(address).map_err(|e| none(format!("read `/proc/net`: {e}"), "mount /proc"))?;
        if !there.is_empty() {
            return Ok(there);
        }
    }
    Err(none("no server listens there".into(), "start the live server, or correct `listen`"))
}

/// Returns the sockets that listen at this very address.
pub(crate) fn at(address: SocketAddr) -> io::Result<Vec<Listening>> {
    let table = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let text = fs::read_to_string(table)?;
    let all = text.lines().skip(1).filter_map(listening);
    Ok(all.filter(|socket| socket.address == address).collect())
}

/// The kernel joins sockets of one user only.
pub(crate) fn same_user(live: &Listening, op: &str) -> Result<(), Fault> {
    if live.uid == geteuid().as_raw() {
        return Ok(());
    }
    let cause = format!("the live server's socket belongs to user {}", live.uid);
    Err(Fault::new("SG0132", FaultKind::Denied, op, cause)
        .hint("start the front as the user who started the live server"))
}

/// Reads a line of `/proc/net/tcp`; none unless it is a listening socket.
fn listening(line: &str) -> Option<Listening> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let (local, state) = (fields.get(1)?, fields.get(3)?);
    if *state != "0A" {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    // Each group of four bytes stands in the machine's own order.
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::from(four),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?),
    };
    Some(Listening {
        address: SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?),
        uid: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Returns who holds one of these sockets, as far as this user may see.
pub(crate) fn holders(inodes: &[u64]) -> Vec<(Pid, RawFd)> {
    held(inodes).into_iter().map(|(_, pid, fd)| (pid, fd)).collect()
}

/// Returns which of these sockets is held by whom, as far as this user may see. Every process is
/// looked at once, however many sockets are asked about.
pub(crate) fn held(inodes: &[u64]) -> Vec<(u64, Pid, RawFd)> {
    let link = |inode: &u64| (OsString::from(format!("socket:[{inode}]")), *inode);
    let links: HashMap<_, _> = inodes.iter().map(link).collect();
    let mut found = Vec::new();
    if links.is_empty() {
        return found;
    }
    for (pid, process) in numbered(Path::new("/proc")) {
        let Some(pid) = Pid::from_raw(pid) else { continue };
        for (fd, path) in numbered(&process.join("fd")) {
            let Ok(file) = fs::read_link(path) else { continue };
            if let Some(inode) = links.get(file.as_os_str()) {
                found.push((*inode, pid, fd));
            }
        }
    }
    found
}

/// Lists the entries of a folder whose names are numbers.
fn numbered(folder: &Path) -> Vec<(i32, std::path::PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let numbered = |e: fs::DirEntry| Some((e.file_name().to_str()?.parse().ok()?, e.path()));
    entries.flatten().filter_map(numbered).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn finds_listening_sockets_and_no_others_in_the_table() {
        let line = "   0: 0B00007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  \
                    1000        0 4711 1 0000000000000000 100 0 0 10 0";
        let found = listening(line).unwrap();
        assert_eq!((found.uid, found.inode), (1000, 4711));
        if cfg!(target_endian = "little") {
            assert_eq!(found.address, "127.0.0.11:8080".parse().unwrap());
        }
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
    }
}
