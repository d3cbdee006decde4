//! Free ports on loopback.

use anyhow::{Result, bail};
use rand::Rng;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Ports are taken below the range from which the kernel gives ports to outgoing
/// connections: thousands of short connections a second would else sit on a port that
/// a daemon must bind again after a restart.
const FIRST: u16 = 10_240;
const LAST: u16 = 32_000;

/// The loopback address of the source's site and database.
pub(crate) const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// The loopback address of the target's site and database.
pub(crate) const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 12));
/// Where everything else listens. `named` finds addresses by scanning interfaces, and
/// the other loopback addresses are not configured on one.
pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Hands out ports that are free at the moment, none twice.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    given: Vec<u16>,
}

impl Ports {
    /// Returns a port that is free for TCP and UDP on every one of `addresses`.
    pub(crate) fn free_on(&mut self, addresses: &[IpAddr]) -> Result<u16> {
        let mut random = rand::rng();
        for _ in 0..500 {
            let port = random.random_range(FIRST..LAST);
            let free = |address: &IpAddr| {
                let socket = SocketAddr::new(*address, port);
                TcpListener::bind(socket).is_ok() && UdpSocket::bind(socket).is_ok()
            };
            if !self.given.contains(&port) && addresses.iter().all(free) {
                self.given.push(port);
                return Ok(port);
            }
        }
        bail!("find a free port on {addresses:?} between {FIRST} and {LAST}: none in 500 tries")
    }

    /// Returns a free address on `address`.
    pub(crate) fn free(&mut self, address: IpAddr) -> Result<SocketAddr> {
        Ok(SocketAddr::new(address, self.free_on(&[address])?))
    }
}
