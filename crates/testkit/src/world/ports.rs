//! Free ports on loopback.

use anyhow::{Result, bail};
use rand::Rng;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Ports are taken below the range from which the kernel gives ports to outgoing
/// connections: thousands of short connections a second would else sit on a port that
/// a daemon must bind again after a restart.
const FIRST: u16 = 10_240;
/// Ports in a block, and blocks in all.
const BLOCK: u16 = 32;
const BLOCKS: u16 = 680;

/// The loopback address of the source's site and database.
pub(crate) const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// The loopback address of the target's site and database.
pub(crate) const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 12));
/// Where everything else listens. `named` finds addresses by scanning interfaces, and
/// the other loopback addresses are not configured on one.
pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where a block is reserved.
const GUARD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 249));

/// A block of ports, reserved among all worlds of this machine while this value lives.
///
/// A port that is free now may be taken by a world that starts at the same time, before
/// our daemon binds it. So whoever listens at the block's first port on the guard
/// address owns the block; nothing has to be cleaned up after a crash.
#[derive(Debug)]
pub(crate) struct Ports {
    _guard: TcpListener,
    free: Vec<u16>,
}

impl Ports {
    /// Reserves a block.
    pub(crate) fn reserve() -> Result<Self> {
        let mut random = rand::rng();
        for _ in 0..500 {
            let first = FIRST + BLOCK * random.random_range(0..BLOCKS);
            if let Ok(guard) = TcpListener::bind(SocketAddr::new(GUARD, first)) {
                return Ok(Self { _guard: guard, free: (first..first + BLOCK).collect() });
            }
        }
        bail!("reserve ports on {GUARD} from {FIRST} on: no block is free; do many worlds run?")
    }

    /// Returns a port that is free for TCP and UDP on every one of `addresses`.
    pub(crate) fn free_on(&mut self, addresses: &[IpAddr]) -> Result<u16> {
        let free = |port: u16| {
            addresses.iter().all(|address| {
                let socket = SocketAddr::new(*address, port);
                TcpListener::bind(socket).is_ok() && UdpSocket::bind(socket).is_ok()
            })
        };
        while let Some(port) = self.free.pop() {
            if free(port) {
                return Ok(port);
            }
        }
        bail!("find a free port on {addresses:?}: the reserved block of {BLOCK} is used up")
    }

    /// Returns a free address on `address`.
    pub(crate) fn free(&mut self, address: IpAddr) -> Result<SocketAddr> {
        Ok(SocketAddr::new(address, self.free_on(&[address])?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_share_no_port_and_a_taken_port_is_left_out() {
        let (mut one, mut two) = (Ports::reserve().unwrap(), Ports::reserve().unwrap());
        let taken =
            TcpListener::bind(SocketAddr::new(LOCAL, one.free[BLOCK as usize - 1])).unwrap();
        let mut all = Vec::new();
        for _ in 0..10 {
            all.push(one.free_on(&[LOCAL]).unwrap());
            all.push(two.free_on(&[LOCAL, SOURCE]).unwrap());
        }
        assert!(!all.contains(&taken.local_addr().unwrap().port()));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20);
    }
}
