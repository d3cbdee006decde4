//! Joining a live server that lets others share its port (`SO_REUSEPORT`), and leaving it.
//!
//! The server goes on listening at its port and is reached at another one. Unlike
//! in a takeover nothing is done to its sockets, so no right to trace it is needed, and it may be
//! reloaded or started anew meanwhile.
//!
//! # How it works
//! The kernel keeps the sockets that share a port as an array. A socket that begins to listen is
//! appended; one that ends leaves a hole, into which the last one moves. A program attached to
//! the group names the number of the socket that a new connection goes to; a number that nobody
//! has means that the kernel spreads connections by a hash, as it does without a program.
//!
//! Where the server has `k` sockets, the front joins with `k + 1` of its own, and the program
//! names number `k`. That is a socket of the front, whatever the server does:
//!
//! * At first it is: the server's have the numbers below `k`.
//! * A socket that is appended gets the number of sockets that are there, and that is `k + 1` at
//!   least, as long as the front has all of its own.
//! * When a socket of the server ends, the last one moves to its number, which is not `k`. The
//!   socket at `k` moves itself only if it is the last one. Then `k + 1` are there, which are the
//!   front's alone, and none of the server's could end.
//!
//! When the front dies its sockets end with it, number `k` is nobody's, and the kernel spreads
//! new connections over those who are left.
//!
//! # Leaving
//! Where the server's sockets are by then is asked of the kernel: connections of the front's own,
//! told apart by their port, are sent to every number by a program ([`Places`]); those that do
//! not come out here are the server's. Then the program names the server's ([`send_to`]), the
//! queues of the front's sockets are emptied, and these are closed. Closing moves sockets, so all
//! of the front's but the one with the lowest number are closed first, while that one gets
//! everything; it stays where it is for the reason above.

use crate::listening::{Listening, at, held, holders, same_user, servers};
use crate::takeover::{
    BACKLOG, Instruction, JUMP_IF_EQUAL, LOAD_WORD, NETWORK, attach, bound, detach, duplicate, ret,
};
use rustix::process::Pid;
use segue_model::{Fault, FaultKind};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

/// Most sockets of a server: a program has 4096 instructions, and needs two for each socket
/// of both.
const SOCKETS_MAX: usize = 1_000;

/// What became of joining.
#[derive(Debug)]
pub struct Joined {
    /// The front's sockets, set to non-blocking. With a fault they get connections as well, if
    /// there are any: the port has to be left in order.
    pub sockets: Vec<TcpListener>,
    /// Why the port is not the front's.
    pub fault: Option<Fault>,
}

/// Joins the server that listens at `listen`, or at the wildcard address of its family, and takes
/// all new connections. They come to any of the sockets returned.
///
/// The fault is `SG0130` if no server listens there; `SG0132` if a socket belongs to another user;
/// `SG0135` if the server does not share its port; `SG0136` if a front has joined it already;
/// `SG0137` if the server's sockets changed at that moment; `SG0133` if the kernel refuses a step.
pub fn join(listen: SocketAddr) -> Joined {
    let mut sockets = Vec::new();
    let fault = share(listen, &mut sockets).err();
    Joined { sockets, fault }
}

/// Says why the server at `listen` could not be joined; touches nothing, listens to nothing.
///
/// # Errors
/// Those of [`join`] but `SG0137`.
pub fn look(listen: SocketAddr) -> Result<(), Fault> {
    let op = format!("look whether port `{listen}` can be joined");
    prepare(listen, &op, 1).map(drop)
}

fn share(listen: SocketAddr, sockets: &mut Vec<TcpListener>) -> Result<(), Fault> {
    let op = format!("join the server at port `{listen}`");
    let refused = |what: &str, e: io::Error| {
        Fault::new("SG0133", FaultKind::Unsupported, op.clone(), format!("{what}: {e}"))
            .hint("look at the kernel's version and limits, and what else uses the port")
    };
    // Bound sockets get nothing yet: what takes time is done before the first one listens.
    let (former, bound) = prepare(listen, &op, 0)?;
    let number = former.len() as u32;
    for socket in bound {
        socket.listen(BACKLOG).map_err(|e| refused("listen", e))?;
        sockets.push(socket.into());
    }
    let first = sockets.first().ok_or_else(|| refused("listen", io::ErrorKind::NotFound.into()))?;
    attach(first, &[ret(number)]).map_err(|e| refused("attach a program", e))?;
    if beside(sockets).is_ok_and(|now| now == former) {
        return Ok(());
    }
    let cause = "the server was reloaded at that very moment: where its sockets are is not sure";
    Err(Fault::new("SG0137", FaultKind::Conflict, op, cause)
        .hint("insert the front again; it was there for a moment and lost nothing"))
}

/// Returns which sockets the server has, and ours, bound: one more, or so many.
fn prepare(
    listen: SocketAddr,
    op: &str,
    count: usize,
) -> Result<(Vec<u64>, Vec<socket2::Socket>), Fault> {
    let there = servers(listen, op)?;
    for live in &there {
        same_user(live, op)?;
    }
    let mut inodes: Vec<_> = there.iter().map(|live| live.inode).collect();
    inodes.sort_unstable();
    if holders(&inodes).iter().any(|(pid, _)| is_front(*pid)) {
        let cause = "a front has joined the server already";
        return Err(Fault::new("SG0136", FaultKind::Conflict, op, cause)
            .hint("use that front, or end it with SIGTERM"));
    }
    if inodes.len() > SOCKETS_MAX {
        let cause = format!("the server has {} sockets there", inodes.len());
        return Err(Fault::new("SG0133", FaultKind::Unsupported, op, cause)
            .hint(format!("let it have {SOCKETS_MAX} at most: fewer workers or threads")));
    }
    let address = there[0].address;
    // Sockets for IPv6 that take IPv4 too are a group of their own. Which one the server's is
    // shows at the socket alone, to who may look at it; as a rule it takes none.
    let only_v6 = address.is_ipv4()
        || !duplicate(&there[0], op)
            .and_then(|live| {
                live.only_v6().map_err(|e| Fault::new("SG0133", FaultKind::Unsupported, op, e))
            })
            .is_ok_and(|only| !only);
    let count = if count == 0 { inodes.len() + 1 } else { count };
    let sockets = (0..count).map(|_| bound(address, only_v6)).collect::<io::Result<Vec<_>>>();
    let sockets = sockets.map_err(|e| {
        let cause = match e.kind() {
            io::ErrorKind::AddrInUse => {
                "the server does not share its port: a socket there is without SO_REUSEPORT".into()
            }
            _ => format!("bind: {e}"),
        };
        Fault::new("SG0135", FaultKind::Conflict, op, cause).hint(
            "add `reuseport` to the server's `listen` line for this address and start it anew, or \
             write `take_over` in place of `join`",
        )
    })?;
    Ok((inodes, sockets))
}

/// A front is known by its program, which is this one.
fn is_front(pid: Pid) -> bool {
    let program = |of: &str| fs::read_link(format!("/proc/{of}/exe")).ok();
    let plain = |path: std::path::PathBuf| {
        let text = path.to_string_lossy().into_owned();
        text.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(text)
    };
    let other = program(&pid.as_raw_nonzero().to_string()).map(plain);
    other.is_some() && other == program("self").map(plain)
}

/// Returns the first of these addresses at which nobody but a front listens, nor at the wildcard
/// address of its family. Looks at every process once, which takes its time where many run.
pub fn unserved(ports: &[SocketAddr]) -> Option<SocketAddr> {
    let there: Vec<_> =
        ports.iter().map(|listen| servers(*listen, "").unwrap_or_default()).collect();
    let inodes: Vec<_> = there.iter().flatten().map(|live| live.inode).collect();
    let held = held(&inodes);
    let fronts: HashSet<_> =
        held.iter().map(|(_, pid, _)| *pid).filter(|pid| is_front(*pid)).collect();
    let by_front =
        |live: &Listening| held.iter().any(|(i, pid, _)| *i == live.inode && fronts.contains(pid));
    let of_fronts = |(_, there): &(_, &Vec<Listening>)| there.iter().all(by_front);
    ports.iter().zip(&there).find(of_fronts).map(|(listen, _)| *listen)
}

/// Returns which sockets of the server share the port with these of the front.
///
/// # Errors
/// `/proc` cannot be read.
pub fn beside(sockets: &[impl AsFd]) -> io::Result<Vec<u64>> {
    let mut own = Vec::new();
    for socket in sockets {
        own.push(rustix::fs::fstat(socket)?.st_ino);
    }
    let Some(first) = sockets.first() else { return Ok(Vec::new()) };
    let mut others: Vec<_> = at(address_of(first)?)?
        .into_iter()
        .map(|listening| listening.inode)
        .filter(|inode| !own.contains(inode))
        .collect();
    others.sort_unstable();
    Ok(others)
}

fn address_of(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let address = socket2::SockRef::from(socket).local_addr()?;
    address.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// How connections that are our own questions go to one socket each.
#[derive(Debug)]
pub struct Places<'a> {
    /// Where they come from: an address of this machine.
    pub source: IpAddr,
    /// The port of the question about each socket, by its number.
    pub ports: &'a [u16],
    /// The number of the socket that everybody else goes to.
    pub others: u32,
}

impl Places<'_> {
    /// Has it so for the group of a socket.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ask(&self, socket: &impl AsFd) -> io::Result<()> {
        attach(socket, &self.program())
    }

    fn program(&self) -> Vec<Instruction> {
        let (start, ports_at, bytes) = match self.source {
            IpAddr::V4(v4) => (12, 20, v4.octets().to_vec()),
            IpAddr::V6(v6) => (8, 40, v6.octets().to_vec()),
        };
        let mut program = Vec::new();
        for (at, word) in (0_i32..).zip(bytes.chunks_exact(4)) {
            let word = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
            program.push(load(LOAD_WORD, NETWORK + start + 4 * at));
            program.push(Instruction { code: JUMP_IF_EQUAL, jt: 1, jf: 0, k: word });
            program.push(ret(self.others));
        }
        // Our own packets have no options before the port.
        program.push(load(LOAD_HALF, NETWORK + ports_at));
        for (number, port) in (0..).zip(self.ports) {
            program.extend(if_equal(u32::from(*port), number));
        }
        program.push(ret(self.others));
        program
    }
}

/// Sends new connections to the sockets with these numbers, evenly; one at least.
///
/// # Errors
/// The kernel refuses.
pub fn send_to(socket: &impl AsFd, numbers: &[u32]) -> io::Result<()> {
    attach(socket, &evenly(numbers)?)
}

fn evenly(numbers: &[u32]) -> io::Result<Vec<Instruction>> {
    let (last, rest) = numbers.split_last().ok_or(io::ErrorKind::InvalidInput)?;
    let mut program = Vec::new();
    if !rest.is_empty() {
        // Not the hash of the packet: that is 0 where the network card computes none.
        program.push(load(LOAD_WORD, EXTENSIONS + RANDOM));
        program.push(Instruction { code: MODULO, jt: 0, jf: 0, k: numbers.len() as u32 });
        for (turn, number) in (0..).zip(rest) {
            program.extend(if_equal(turn, *number));
        }
    }
    program.push(ret(*last));
    Ok(program)
}

/// Takes the program away that is left with the server at `address` once the front's sockets are
/// closed, so that sockets the server adds later get connections. Needs the right to trace the
/// server; returns whether it is gone.
pub fn clear(address: SocketAddr) -> bool {
    let there = at(address).unwrap_or_default();
    there.iter().any(|live| {
        duplicate(live, "take a program away").is_ok_and(|socket| detach(&socket).is_ok())
    })
}

const LOAD_HALF: u16 = 0x28;
const MODULO: u16 = 0x94;

/// Where offsets mean what is not in the packet (`SKF_AD_OFF`), and of it a random number.
const EXTENSIONS: i32 = -0x1000;
const RANDOM: i32 = 56;

fn load(code: u16, offset: i32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k: offset as u32 }
}

fn if_equal(value: u32, number: u32) -> [Instruction; 2] {
    [Instruction { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: value }, ret(number)]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
