//! What the kernel says of this process, in which the front and its clients live.

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
