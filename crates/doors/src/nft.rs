//! A packet filter that leads new connections of a live port to a front: for hosts where the
//! port cannot be taken over (another user's server, a kernel that forbids tracing).
//!
//! All of it is one table of our own, `inet segue_<run>_<front>`, changed as a whole in one
//! transaction of `nft -f -`. No other table is read or written, and removing ours leaves
//! the rest as it was. Needs the right to change the filter (root, or CAP_NET_ADMIN).
//!
//! Only a connection's first packet (SYN) is led elsewhere, by changing its destination port;
//! the kernel's connection tracking does the same to the rest of it. A connection that was open
//! before is not touched: without the look at SYN it would be, because the kernel takes up
//! connections in the middle that began before it tracked any. What the front itself sends comes
//! from its egress address and is let through.
//!
//! Connections that were led to the front live by the table: with the last table that changes
//! addresses the kernel forgets to change those of open connections too. So a front leaves in two
//! steps: [`Table::open`] lets new connections through to the live server, and
//! [`Table::delete`] follows once the front has none any more.
//!
//! What leads connections to a process must not outlive it. So the rules look for the live port
//! in a set whose elements end by themselves after [`LAPSES`] unless [`Table::renew`] comes: with
//! nobody left to renew it the table stands there and does nothing. [`Lasts::Stays`] is for the
//! time in which the live server must get no request, come what may.

mod claims;

pub use claims::Claim;

use crate::process::{Finished, Invocation, find_program};
use segue_model::{EffectLeft, Fault, FaultKind};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long the filter's tool may take.
const TIME: Duration = Duration::from_secs(10);

/// How long new connections are led to a front that is not heard of.
pub const LAPSES: Duration = Duration::from_secs(2);

/// How long a renewal may take: with the pause before it three quarters of the time are over.
const RENEWAL: Duration = Duration::from_secs(1);

/// How long making a table again may take: nothing is led anywhere meanwhile, and whoever wants
/// something else of the filter waits.
const AGAIN: Duration = Duration::from_millis(1_500);

/// How long opening it may take; it is tried again.
const OPENING: Duration = Duration::from_secs(3);

/// Bytes that a listing of all rules may have.
const LISTED_MAX: usize = 16 * 1024 * 1024;

/// Longest name of a table (`NFT_NAME_MAXLEN` is 256).
const NAME_MAX: usize = 120;

/// A live port and where its new connections go: another port of the same address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The live port.
    pub from: SocketAddr,
    /// The front's port.
    pub to: u16,
}

/// The table of one front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    name: String,
    redirects: Vec<Redirect>,
    egress: IpAddr,
}

/// Until when new connections are led to the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// Until it was not renewed for [`LAPSES`].
    Renewed,
    /// Until it is changed.
    Stays,
}

/// What stands in the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No table of this name.
    None,
    /// The table, and it leads new connections to the front.
    Redirects,
    /// The table, and its time is over: it leads no new connections anywhere.
    Lapsed,
    /// The table, opened: it leads no new connections anywhere.
    Open,
    /// A table of this name with something else in it.
    Other,
}

impl Table {
    /// Describes the table of a front of a run; touches nothing.
    pub fn new(run: &str, front: &str, redirects: Vec<Redirect>, egress: IpAddr) -> Self {
        let plain = |text: &str| {
            let kept =
                text.bytes().map(|b| if b.is_ascii_alphanumeric() { b as char } else { '_' });
            kept.collect::<String>()
        };
        let mut name = format!("segue_{}_{}", plain(run), plain(front));
        name.truncate(NAME_MAX);
        Self { name, redirects, egress }
    }

    /// Returns the table's name with its family.
    pub fn name(&self) -> String {
        format!("inet {}", self.name)
    }

    /// Leads new connections to the front, whatever the table did before.
    ///
    /// # Errors
    /// `SG0190` if the filter cannot be changed; it is then as it was.
    pub async fn insert(&self, lasts: Lasts) -> Result<(), Fault> {
        self.inserted(lasts, TIME).await
    }

    /// The same in place of a renewal that failed: it gives up sooner.
    ///
    /// # Errors
    /// `SG0190` if the filter cannot be changed; it is then as it was. `SG0883` if that took too
    /// long.
    pub async fn insert_again(&self, lasts: Lasts) -> Result<(), Fault> {
        self.inserted(lasts, AGAIN).await
    }

    async fn inserted(&self, lasts: Lasts, time: Duration) -> Result<(), Fault> {
        let rules = self.redirecting(lasts);
        self.change("lead new connections to the front", &rules, &["-f", "-"], time).await
    }

    /// Looks whether [`Table::insert`] would be done, and changes nothing: the kernel reads the
    /// rules and lets them go.
    ///
    /// # Errors
    /// `SG0190` if it would not.
    pub async fn try_insert(&self) -> Result<(), Fault> {
        let rules = self.redirecting(Lasts::Renewed);
        self.change("try to lead new connections to a front", &rules, &["-c", "-f", "-"], TIME)
            .await
    }

    /// Goes on with a table that leads new connections to the front, or has led them.
    ///
    /// # Errors
    /// `SG0190` if the table is gone, as after a firewall was loaded anew, or the filter cannot
    /// be changed.
    pub async fn renew(&self, lasts: Lasts) -> Result<(), Fault> {
        let name = self.name();
        let rules = format!("flush set {name} led\n{}", self.elements(lasts));
        let done = nft(&["-f", "-"], &rules, RENEWAL).await?;
        if done.status.success() {
            return Ok(());
        }
        Err(self.fault("renew it", &done.last_words()))
    }

    /// Lets new connections through to the live server. Those that were led to the front go on.
    ///
    /// # Errors
    /// `SG0190` if the filter cannot be changed; it is then as it was.
    pub async fn open(&self) -> Result<(), Fault> {
        let rules = self.replacing("open", "ct state new accept\n", "");
        self.change("let new connections through", &rules, &["-f", "-"], OPENING).await
    }

    /// Takes the table away, if it is there. Connections that were led to the front break.
    ///
    /// # Errors
    /// `SG0190` if the filter cannot be changed; it is then as it was.
    pub async fn delete(&self) -> Result<(), Fault> {
        let name = self.name();
        let rules = format!("table {name} {{}}\ndelete table {name}\n");
        self.change("take the table away", &rules, &["-f", "-"], TIME).await
    }

    /// Looks at what stands in the filter.
    ///
    /// # Errors
    /// `SG0190` if it cannot be looked at.
    pub async fn standing(&self) -> Result<Standing, Fault> {
        let listed = nft(&["list", "tables", "inet"], "", TIME).await?;
        if !listed.status.success() {
            return Err(self.fault("look at the filter", &listed.last_words()));
        }
        let tables = String::from_utf8_lossy(&listed.stdout).into_owned();
        if !tables.lines().any(|line| line.trim() == format!("table {}", self.name())) {
            return Ok(Standing::None);
        }
        for (mark, standing) in
            [(self.mark(), Standing::Redirects), ("open".to_owned(), Standing::Open)]
        {
            let found = nft(&["list", "chain", "inet", &self.name, &mark], "", TIME).await?;
            if found.status.success() {
                return if standing == Standing::Redirects {
                    self.lapse().await
                } else {
                    Ok(standing)
                };
            }
        }
        Ok(Standing::Other)
    }

    /// Tells a table that leads connections from one whose time is over.
    async fn lapse(&self) -> Result<Standing, Fault> {
        let set = nft(&["list", "set", "inet", &self.name, "led"], "", TIME).await?;
        let leads = String::from_utf8_lossy(&set.stdout).contains("elements");
        Ok(if leads { Standing::Redirects } else { Standing::Lapsed })
    }

    async fn change(
        &self,
        what: &str,
        rules: &str,
        args: &[&str],
        time: Duration,
    ) -> Result<(), Fault> {
        let done = nft(args, rules, time).await?;
        if done.status.success() {
            return Ok(());
        }
        Err(self.fault(what, &done.last_words()).leaving(EffectLeft::None))
    }

    fn fault(&self, what: &str, cause: &str) -> Fault {
        let op = format!("{what} with table `{}`", self.name());
        Fault::new("SG0190", FaultKind::Denied, op, cause).hint(
            "run Segue as root or with CAP_NET_ADMIN, with `nft` (package nftables) and a kernel \
             with nf_tables and nf_nat; or take the port over instead",
        )
    }

    /// Returns the table that leads connections away, in place of what it was.
    fn redirecting(&self, lasts: Lasts) -> String {
        let family = |ip: IpAddr| if ip.is_ipv4() { "ip" } else { "ip6" };
        let mut rules = format!("{} saddr {} accept\n", family(self.egress), self.egress);
        for Redirect { from, to } in &self.redirects {
            let (ip, port) = (from.ip(), from.port());
            let target = SocketAddr::new(ip, *to);
            // Writing to a string does not fail.
            let _ = writeln!(
                rules,
                "{0} daddr {ip} tcp dport {port} tcp dport @led \
                 tcp flags & (fin|syn|rst|ack) == syn dnat {0} to {target}",
                family(ip)
            );
        }
        let set = "set led {\ntype inet_service; flags timeout;\n}\n";
        self.replacing(&self.mark(), &rules, set) + &self.elements(lasts)
    }

    /// Returns the live ports as elements of the set that the rules look into.
    fn elements(&self, lasts: Lasts) -> String {
        let time = match lasts {
            Lasts::Renewed => format!(" timeout {}s", LAPSES.as_secs()),
            Lasts::Stays => String::new(),
        };
        let ports: BTreeSet<u16> = self.redirects.iter().map(|one| one.from.port()).collect();
        let all: Vec<_> = ports.iter().map(|port| format!("{port}{time}")).collect();
        format!("add element {} led {{ {} }}\n", self.name(), all.join(", "))
    }

    /// Returns a transaction after which the table has these rules and nothing else. An empty
    /// chain is the mark by which it is known again.
    fn replacing(&self, mark: &str, rules: &str, set: &str) -> String {
        let name = self.name();
        format!(
            "table {name} {{}}\ndelete table {name}\ntable {name} {{\n\
             {set}chain {mark} {{\n}}\n\
             chain arriving {{\ntype nat hook prerouting priority dstnat; policy accept;\n{rules}}}\n\
             chain own {{\ntype nat hook output priority -100; policy accept;\n{rules}}}\n}}\n"
        )
    }

    /// Returns a name that stands for these very redirects.
    fn mark(&self) -> String {
        let text = format!("{:?} {}", self.redirects, self.egress);
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("redirects_{hash:016x}")
    }
}

/// Runs the filter's tool with rules on its standard input.
async fn nft(args: &[&str], rules: &str, time: Duration) -> Result<Finished, Fault> {
    let program = find_program("nft").unwrap_or_else(|| "/usr/sbin/nft".into());
    let asked = Invocation::new(program, time).args(args).stdin(rules.as_bytes().to_vec());
    asked.keep(LISTED_MAX).run().await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_first_packets_of_strangers_are_led_away() {
        let redirects = vec![
            Redirect { from: "192.0.2.10:80".parse().unwrap(), to: 8_080 },
            Redirect { from: "[2001:db8::1]:443".parse().unwrap(), to: 8_443 },
        ];
        let table =
            Table::new("Run-1; drop", "source", redirects.clone(), "192.0.2.250".parse().unwrap());
        assert_eq!(table.name(), "inet segue_Run_1__drop_source", "a name and nothing else");
        let rules = table.redirecting(Lasts::Renewed);
        let lines: Vec<_> = rules.lines().filter(|line| line.contains("saddr")).collect();
        assert_eq!(lines, ["ip saddr 192.0.2.250 accept"; 2], "the front's own come first");
        let away: Vec<_> = rules.lines().filter(|line| line.contains("dnat")).collect();
        assert_eq!(away.len(), 4);
        assert!(away.iter().all(|line| line.contains("== syn")), "{rules}");
        assert!(away[0].ends_with("dnat ip to 192.0.2.10:8080"), "{rules}");
        assert!(away[1].ends_with("dnat ip6 to [2001:db8::1]:8443"), "{rules}");
        let other = Table::new("Run-1; drop", "source", redirects[..1].to_vec(), table.egress);
        assert_ne!(other.mark(), table.mark());
        assert!(rules.ends_with("led { 80 timeout 2s, 443 timeout 2s }\n"), "{rules}");
        assert!(table.redirecting(Lasts::Stays).ends_with("led { 80, 443 }\n"));
    }
}
