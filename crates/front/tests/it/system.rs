//! What the kernel says of this process, in which the front and its clients live.

use std::net::SocketAddr;

/// The most memory that was resident since a moment, beside what was then.
pub(crate) struct Peak {
    before_kib: u64,
}

impl Peak {
    pub(crate) fn begin() -> Self {
        // The peak begins anew (proc(5), clear_refs).
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        Self { before_kib: kib("VmRSS:") }
    }

    pub(crate) fn grown_mib(&self) -> u64 {
        kib("VmHWM:").saturating_sub(self.before_kib) / 1_024
    }
}

fn kib(of: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(of)).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

/// Which end of a connection has an address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Own,
    Other,
}

/// Returns how many connections with an address at that end there are, and how many of them the
/// kernel will ask within `seconds` whether the other end is there.
pub(crate) fn watched(address: SocketAddr, end: End, seconds: u64) -> (usize, usize) {
    let SocketAddr::V4(v4) = address else { panic!("{address} is not in the table") };
    let octets = u32::from_le_bytes(v4.ip().octets());
    let wanted = format!("{octets:08X}:{:04X}", v4.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let (mut all, mut asked) = (0, 0);
    for line in table.lines() {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let place = if end == End::Own { 1 } else { 2 };
        // 01 is an established connection; its timer 02 is that of keepalive.
        if fields[place] == wanted && fields[3] == "01" {
            all += 1;
            let (timer, ticks) = fields[5].split_once(':').unwrap();
            let soon = u64::from_str_radix(ticks, 16).unwrap() <= seconds * 100;
            asked += usize::from(timer == "02" && soon);
        }
    }
    (all, asked)
}
