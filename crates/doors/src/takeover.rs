//! Taking over a listening port from a live server, without a moment in which nobody
//! listens and without a change to that server.
//!
//! # How it works
//! 1. The live server's listening socket is found in `/proc` and duplicated with
//!    `pidfd_getfd`. Both descriptors are one socket: what is set on the duplicate
//!    holds for the server's own. `SO_REUSEPORT` is set on it; then the duplicate is
//!    closed.
//! 2. A second socket binds the same address with `SO_REUSEPORT` and listens. Both now
//!    form a reuseport group, the live server's as number 0, the new one as number 1.
//! 3. A classic BPF program is attached to the group: a new connection from the egress
//!    address goes to number 0, every other one to number 1.
//!
//! Connections are never moved: those that are open stay where they are. Between 2 and
//! 3 new connections spread over both sockets, which is harmless because both serve the
//! same site. When the new socket is closed, or its process dies, the group has one
//! socket left and everything goes to the live server again.
//!
//! [`give_back`] swaps the program for one that sends everything to number 0. Only then
//! can the new socket's queue become empty for good and the socket be closed without
//! resetting a connection nobody had accepted yet.
//!
//! # What it needs
//! Linux 5.6 (`pidfd_getfd`); the right to trace one process that holds the socket (root,
//! or the same user where `kernel.yama.ptrace_scope` is 0); and, because the kernel joins
//! sockets of one user only, the same effective user as the one that opened the live
//! server's socket. While the port is taken over the live server may be reloaded but not
//! started anew: its `bind` lacks `SO_REUSEPORT` and would find the address in use.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, geteuid, pidfd_getfd, pidfd_open};
use segue_model::{EffectLeft, Fault, FaultKind};
use socket2::{Domain, Protocol, Socket, Type};
use std::fs;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Number of the live server's socket in the group: it was there first.
const LIVE: u32 = 0;
/// Number of the socket that joins it.
const JOINED: u32 = 1;

/// Takes new connections to `listen` away from the server that listens there, except
/// those from `egress`. Returns the socket that gets them, set to non-blocking.
///
/// The server may listen at `listen` itself or at the wildcard address of its family;
/// the socket returned listens where the server does.
///
/// # Errors
/// `SG0130` if no server listens there, or several sockets do; `SG0131` if none of the
/// server's processes may be traced; `SG0132` if the socket belongs to another user;
/// `SG0133` if the kernel refuses a step. Nothing is left behind.
pub fn take_over(listen: SocketAddr, egress: IpAddr) -> Result<TcpListener, Fault> {
    let op = format!("take over port `{listen}`");
    let live = find(listen, &op)?;
    if live.uid != geteuid().as_raw() {
        let cause = format!("the live server's socket belongs to user {}", live.uid);
        return Err(Fault::new("SG0132", FaultKind::Denied, op, cause)
            .hint("start the front as the user who started the live server"));
    }
    let server = duplicate(&live, &op)?;
    let step = |what: &str, e: io::Error| {
        Fault::new("SG0133", FaultKind::Unsupported, op.clone(), format!("{what}: {e}"))
            .hint("look whether the kernel is Linux 5.6 or newer and what else uses the port")
    };
    server.set_reuse_port(true).map_err(|e| step("set SO_REUSEPORT on the live socket", e))?;
    let joined = join(live.address).and_then(|joined| {
        attach(&joined, &select(egress))?;
        Ok(joined)
    });
    match joined {
        Ok(joined) => Ok(joined.into()),
        Err(e) => {
            // The socket that joined is closed by now; best effort for the option.
            let _ = server.set_reuse_port(false);
            Err(step("join the live socket", e))
        }
    }
}

/// Sends all new connections to the live server again. The socket still holds those
/// that came before: accept them, then close it.
///
/// # Errors
/// `SG0133` if the kernel refuses; closing the socket gives the port back as well, but
/// resets connections that nobody has accepted yet.
pub fn give_back(listener: &impl AsFd) -> Result<(), Fault> {
    attach(listener, &[ret(LIVE)]).map_err(|e| {
        Fault::new("SG0133", FaultKind::Unsupported, "give port back to the live server", e)
            .leaving(EffectLeft::None)
            .hint("stop the front: the kernel then gives the port back")
    })
}

/// A listening socket as `/proc` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listening {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

fn find(listen: SocketAddr, op: &str) -> Result<Listening, Fault> {
    let table = if listen.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let none =
        |cause: String, hint: &str| Fault::new("SG0130", FaultKind::NotFound, op, cause).hint(hint);
    let text = fs::read_to_string(table)
        .map_err(|e| none(format!("read `{table}`: {e}"), "mount /proc"))?;
    let all: Vec<_> = text.lines().skip(1).filter_map(listening).collect();
    let wildcard = match listen {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    for address in [listen, SocketAddr::new(wildcard, listen.port())] {
        let mut there = all.iter().filter(|l| l.address == address);
        match (there.next(), there.next()) {
            (Some(one), None) => return Ok(one.clone()),
            (Some(_), Some(_)) => {
                return Err(none(
                    "several sockets listen there: it is taken over already, or the server \
                     uses reuseport itself"
                        .into(),
                    "stop the other front, or take `reuseport` out of the server's listen lines",
                ));
            }
            (None, _) => {}
        }
    }
    Err(none("no server listens there".into(), "start the live server, or correct `listen`"))
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

/// Duplicates the live socket out of the first process that allows it.
fn duplicate(live: &Listening, op: &str) -> Result<Socket, Fault> {
    let mut causes = Vec::new();
    for (pid, fd) in holders(live.inode) {
        match copy_of(pid, fd) {
            // The descriptor may mean another file by now.
            Ok(socket) if listens_at(&socket, live.address) => return Ok(socket),
            Ok(_) => causes.push(format!("process {}: its socket is gone", pid.as_raw_nonzero())),
            Err(e) => causes.push(format!("process {}: {e}", pid.as_raw_nonzero())),
        }
    }
    if causes.is_empty() {
        causes.push("no process that holds the socket can be seen".into());
    }
    Err(Fault::new("SG0131", FaultKind::Denied, op, causes.join("; ")).hint(
        "start the front as root or as the live server's user; the latter needs \
         kernel.yama.ptrace_scope = 0",
    ))
}

fn copy_of(pid: Pid, fd: RawFd) -> io::Result<Socket> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let copy = pidfd_getfd(&process, fd, PidfdGetfdFlags::empty())?;
    Ok(Socket::from(copy))
}

fn listens_at(socket: &Socket, address: SocketAddr) -> bool {
    let bound = socket.local_addr().ok().and_then(|a| a.as_socket());
    bound == Some(address) && socket.is_listener().unwrap_or(false)
}

/// Returns who holds a socket, as far as this user may see.
fn holders(inode: u64) -> Vec<(Pid, RawFd)> {
    let link = format!("socket:[{inode}]");
    let mut found = Vec::new();
    for (pid, process) in numbered(Path::new("/proc")) {
        let Some(pid) = Pid::from_raw(pid) else { continue };
        for (fd, path) in numbered(&process.join("fd")) {
            if fs::read_link(path).is_ok_and(|l| l.as_os_str() == link.as_str()) {
                found.push((pid, fd));
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

fn join(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // The live socket may take IPv4 as well; its own table shows only one address.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// One instruction of classic BPF, as the kernel lays it out.
type Instruction = libc::sock_filter;

const SO_ATTACH_REUSEPORT_CBPF: libc::c_int = 51;
const LOAD_WORD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Where offsets count from the network header (`SKF_NET_OFF`).
const NETWORK: i32 = -0x10_0000;

/// Builds the program that sends connections from `egress` to the live server and all
/// others to the socket that joined it. The source address of a packet stands at byte 12
/// of an IPv4 header and at byte 8 of an IPv6 header.
fn select(egress: IpAddr) -> Vec<Instruction> {
    let (start, bytes) = match egress {
        IpAddr::V4(v4) => (12, v4.octets().to_vec()),
        IpAddr::V6(v6) => (8, v6.octets().to_vec()),
    };
    let words: Vec<_> =
        bytes.chunks_exact(4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]])).collect();
    let mut program = Vec::new();
    for (at, word) in (0_i32..).zip(&words) {
        let offset = NETWORK + start + 4 * at;
        program.push(Instruction { code: LOAD_WORD, jt: 0, jf: 0, k: offset as u32 });
        // Unequal: skip the remaining comparisons and the first of the two returns.
        let left = words.len() as u8 - at as u8 - 1;
        program.push(Instruction { code: JUMP_IF_EQUAL, jt: 0, jf: 2 * left + 1, k: *word });
    }
    program.extend([ret(LIVE), ret(JOINED)]);
    program
}

fn ret(number: u32) -> Instruction {
    Instruction { code: RETURN, jt: 0, jf: 0, k: number }
}

/// Attaches a program to the reuseport group of a socket, in place of the former one.
fn attach(socket: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `SO_ATTACH_REUSEPORT_CBPF` reads a `sock_fprog` of the size given and, through
    // it, `len` instructions; both live until the call returns, the kernel copies them and
    // writes to neither. The descriptor is borrowed from `socket` and open.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Runs a program on the source address of a packet.
    fn run(program: &[Instruction], source: IpAddr) -> u32 {
        let (start, bytes) = match source {
            IpAddr::V4(v4) => (12, v4.octets().to_vec()),
            IpAddr::V6(v6) => (8, v6.octets().to_vec()),
        };
        let (mut at, mut loaded) = (0, 0);
        loop {
            let i = program[at];
            match i.code {
                LOAD_WORD => {
                    let from = (i.k as i32 - NETWORK - start) as usize;
                    loaded = u32::from_be_bytes(bytes[from..from + 4].try_into().unwrap());
                }
                JUMP_IF_EQUAL => at += usize::from(if loaded == i.k { i.jt } else { i.jf }),
                _ => return i.k,
            }
            at += 1;
        }
    }

    #[test]
    fn sends_only_the_egress_address_to_the_live_server() {
        for (egress, other) in [("127.0.0.250", "127.0.0.251"), ("fd00::1:2:3", "fd00::1:2:4")] {
            let (egress, other) = (egress.parse().unwrap(), other.parse().unwrap());
            assert_eq!(run(&select(egress), egress), LIVE);
            assert_eq!(run(&select(egress), other), JOINED);
        }
        let egress = "fd00::1:2:3".parse().unwrap();
        assert_eq!(run(&select(egress), "fd01::1:2:3".parse().unwrap()), JOINED);
    }

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

    #[test]
    fn refuses_a_port_where_nobody_listens() {
        let bound = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = bound.local_addr().unwrap();
        drop(bound);
        let fault = take_over(address, "127.0.0.250".parse().unwrap()).unwrap_err();
        assert_eq!(fault.code, "SG0130");
    }
}
