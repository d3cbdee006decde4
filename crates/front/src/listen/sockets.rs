//! Opening the listening sockets: all of them or none, alone or beside a live server.

use crate::options::{FrontOptions, PortOptions};
use segue_doors::join::{self, Joined};
use segue_doors::takeover;
use segue_model::{Fault, FaultKind};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use tokio::net::TcpSocket;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// What became of opening the sockets of a front.
pub(crate) struct Opened {
    /// Those that were opened, in the order of [`in_order`]. With a fault they have to go back:
    /// connections that they took meanwhile are the front's to serve.
    pub(crate) sockets: Vec<TcpListener>,
    /// Why the next one could not be opened.
    pub(crate) fault: Option<Fault>,
}

/// Returns ports in the order in which they are opened. What disturbs nobody comes first: if it
/// fails, no live server was touched.
pub(crate) fn in_order(ports: &[PortOptions]) -> Vec<&PortOptions> {
    let mut ports: Vec<_> = ports.iter().collect();
    ports.sort_by_key(|port| port.is_shared());
    ports
}

/// Returns how many of the sockets each port has, both in the order of [`in_order`]: one, or all
/// at one address where a server was joined. Ports for which there are none are left out.
pub(crate) fn shares(ports: &[&PortOptions], sockets: &[TcpListener]) -> Vec<usize> {
    let mut left = sockets;
    let mut shares = Vec::new();
    for port in ports {
        let Some(first) = left.first() else { break };
        let address = first.local_addr().ok();
        let same = left.iter().take_while(|socket| socket.local_addr().ok() == address).count();
        let share = if port.join { same } else { 1 };
        shares.push(share);
        left = &left[share..];
    }
    shares
}

/// Opens the sockets, up to the first that cannot be had. Of those that were handed in, each
/// port takes the one at its address; one that nobody wants is a mistake. Needs a runtime.
pub(crate) fn open_all(options: &FrontOptions, mut handed: Vec<TcpListener>) -> Opened {
    let mut opened = Opened { sockets: Vec::new(), fault: None };
    let wanted = |socket: &TcpListener| {
        let address = socket.local_addr().ok();
        options.ports.iter().any(|port| Some(port.bound()) == address && !port.is_shared())
    };
    if let Some(other) = handed.iter().find(|socket| !wanted(socket)) {
        let at = other.local_addr().map_or_else(|e| e.to_string(), |address| address.to_string());
        let cause = format!("a socket at `{at}` was handed in, which no port of the front wants");
        let fault = Fault::new("SG0121", FaultKind::Invalid, "open the front's ports", cause)
            .hint("hand in sockets at the addresses of ports that are not taken over or joined");
        opened.fault = Some(fault);
        return opened;
    }
    for port in in_order(&options.ports) {
        let at = handed.iter().position(|s| s.local_addr().ok() == Some(port.bound()));
        let socket = match at {
            Some(at) => {
                let socket = handed.swap_remove(at);
                socket.set_nonblocking(true).map(|()| socket).map_err(|e| refused(port, &e, BUSY))
            }
            None if port.join => {
                let Joined { sockets, fault } = join::join(port.listen);
                opened.sockets.extend(sockets);
                opened.fault = fault;
                if opened.fault.is_some() {
                    break;
                }
                continue;
            }
            None => open(port, options.egress),
        };
        match socket {
            Ok(socket) => opened.sockets.push(socket),
            Err(fault) => {
                opened.fault = Some(fault);
                break;
            }
        }
    }
    opened
}

const BUSY: &str = "find out what else uses the address";

fn refused(port: &PortOptions, cause: &dyn std::fmt::Display, hint: &str) -> Fault {
    let op = format!("listen at `{}`", port.bound());
    Fault::new("SG0121", FaultKind::Unreachable, op, cause).hint(hint)
}

/// Listens, beside the live server if the front shall take its port over.
fn open(port: &PortOptions, egress: Option<IpAddr>) -> Result<TcpListener, Fault> {
    if !port.take_over {
        return bind(port.bound()).map_err(|e| refused(port, &e, BUSY));
    }
    let egress = egress.ok_or_else(|| {
        let cause =
            "a takeover needs an egress address: it tells the front's own connections apart";
        refused(port, &cause, "name `egress`, an address of this machine that no client uses")
    })?;
    takeover::take_over(port.listen, egress)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
