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
//!
//! A server that shares its port by itself is joined instead: see [`crate::join`].

use crate::listening::{Listening, holders, same_user, servers};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use segue_model::{EffectLeft, Fault, FaultKind};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 4096;

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
    same_user(&live, &op)?;
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

fn find(listen: SocketAddr, op: &str) -> Result<Listening, Fault> {
    let mut there = servers(listen, op)?;
    match (there.pop(), there.pop()) {
        (Some(one), None) => Ok(one),
        _ => Err(Fault::new(
            "SG0130",
            FaultKind::NotFound,
            op,
            "several sockets listen there: it is taken over already, or the server uses \
             reuseport itself",
        )
        .hint(
            "stop the other front; or write `join` in place of `take_over`, or take `reuseport` \
             out of the server's listen lines",
        )),
    }
}

/// Duplicates the live socket out of the first process that allows it.
pub(crate) fn duplicate(live: &Listening, op: &str) -> Result<Socket, Fault> {
    let mut causes = Vec::new();
    for (pid, fd) in holders(&[live.inode]) {
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

fn join(address: SocketAddr) -> io::Result<Socket> {
    // The live socket may take IPv4 as well; its own table shows only one address.
    let socket = bound(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Binds a socket that others may share the address with; it does not listen yet.
pub(crate) fn bound(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// One instruction of classic BPF, as the kernel lays it out.
pub(crate) type Instruction = libc::sock_filter;

const SO_ATTACH_REUSEPORT_CBPF: libc::c_int = 51;
const SO_DETACH_REUSEPORT_BPF: libc::c_int = 68;
pub(crate) const LOAD_WORD: u16 = 0x20;
pub(crate) const JUMP_IF_EQUAL: u16 = 0x15;
pub(crate) const RETURN: u16 = 0x06;

/// Where offsets count from the network header (`SKF_NET_OFF`).
pub(crate) const NETWORK: i32 = -0x10_0000;

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

pub(crate) fn ret(number: u32) -> Instruction {
    Instruction { code: RETURN, jt: 0, jf: 0, k: number }
}

/// Attaches a program to the reuseport group of a socket, in place of the former one.
pub(crate) fn attach(socket: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    set(socket, SO_ATTACH_REUSEPORT_CBPF, program)
}

/// Takes the program of the reuseport group of a socket away.
pub(crate) fn detach(socket: &impl AsFd) -> io::Result<()> {
    set(socket, SO_DETACH_REUSEPORT_BPF, &[])
}

/// Sets one of the two options above; the second one looks at no program.
fn set(socket: &impl AsFd, option: libc::c_int, program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `SO_ATTACH_REUSEPORT_CBPF` reads a `sock_fprog` of the size given and, through
    // it, `len` instructions; both live until the call returns, the kernel copies them and
    // writes to neither. `SO_DETACH_REUSEPORT_BPF` reads no more than an `int` of the value,
    // which is longer, and follows no pointer. The descriptor is borrowed from `socket` and
    // open.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
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
    fn refuses_a_port_where_nobody_listens() {
        let bound = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = bound.local_addr().unwrap();
        drop(bound);
        let fault = take_over(address, "127.0.0.250".parse().unwrap()).unwrap_err();
        assert_eq!(fault.code, "SG0130");
    }
}
