//! Rules of others that would get at a connection before or instead of ours.

use super::{TIME, Table, nft};
use segue_model::Fault;
use std::net::{IpAddr, SocketAddr};

/// A rule of somebody else's about a live port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The table it stands in, with its family: `ip nat`.
    pub table: String,
    /// The rule, as `nft list ruleset` shows it.
    pub rule: String,
    /// The live port.
    pub port: SocketAddr,
}

/// What a rule says that changes where a connection goes, or that it is not followed: then no
/// address of it can be changed.
const ELSEWHERE: [&str; 6] =
    ["dnat ", "redirect", "tproxy ", "notrack", "xt target \"DNAT\"", "xt target \"REDIRECT\""];

impl Table {
    /// Looks for rules of other tables that lead connections of these live ports somewhere.
    ///
    /// # Errors
    /// `SG0190` if the filter cannot be looked at.
    pub async fn claims(&self) -> Result<Vec<Claim>, Fault> {
        let listed = nft(&["-n", "list", "ruleset"], "", TIME).await?;
        if !listed.status.success() {
            return Err(self.fault("look for rules of others", &listed.last_words()));
        }
        let ports: Vec<_> = self.redirects.iter().map(|one| one.from).collect();
        Ok(claims(&String::from_utf8_lossy(&listed.stdout), &self.name(), &ports))
    }
}

/// Returns the rules of all tables but `own` that claim one of the ports.
fn claims(ruleset: &str, own: &str, ports: &[SocketAddr]) -> Vec<Claim> {
    let mut table = "";
    let mut found = Vec::new();
    for line in ruleset.lines() {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches(" {");
            continue;
        }
        let rule = line.trim();
        if table == own || !ELSEWHERE.iter().any(|what| rule.contains(what)) {
            continue;
        }
        let claimed =
            ports.iter().filter(|port| table_sees(table, port.ip()) && meets(rule, **port));
        found.extend(claimed.map(|port| Claim {
            table: table.to_owned(),
            rule: rule.to_owned(),
            port: *port,
        }));
    }
    found
}

fn table_sees(table: &str, ip: IpAddr) -> bool {
    match table.split(' ').next() {
        Some("ip") => ip.is_ipv4(),
        Some("ip6") => ip.is_ipv6(),
        _ => true,
    }
}

/// Says whether a rule is about connections to a port. What cannot be read is about all of them.
fn meets(rule: &str, port: SocketAddr) -> bool {
    let daddr = match port {
        SocketAddr::V4(_) => "ip daddr ",
        SocketAddr::V6(_) => "ip6 daddr ",
    };
    // Another address, in so many words; a network or a set may hold ours.
    let elsewhere = rule.split(daddr).nth(1).and_then(|rest| rest.split(' ').next());
    if elsewhere.and_then(|text| text.parse().ok()).is_some_and(|ip: IpAddr| ip != port.ip()) {
        return false;
    }
    if rule.contains("udp dport") {
        return false;
    }
    let Some((_, asked)) = rule.split_once("dport ") else { return true };
    if let Some(all) = asked.strip_prefix("{ ").and_then(|rest| rest.split(" }").next()) {
        return all.split(", ").any(|one| holds(one, port.port()));
    }
    holds(asked.split(' ').next().unwrap_or_default(), port.port())
}

/// Says whether `80` or `80-90` holds a port; anything else may.
fn holds(text: &str, port: u16) -> bool {
    let text = text.split(' ').next().unwrap_or_default();
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.parse::<u16>(), to.parse::<u16>()) {
        (Ok(from), Ok(to)) => (from..=to).contains(&port),
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Returns which of the rules claim port 80 of 192.0.2.10.
    fn of(table: &str, rules: &[&str]) -> Vec<usize> {
        let port = "192.0.2.10:80".parse().unwrap();
        let listed = |rule: &str| format!("table {table} {{\n\tchain a {{\n\t\t{rule}\n\t}}\n}}\n");
        let found = |rule: &&str| claims(&listed(rule), "inet segue_r_source", &[port]).len();
        let all = rules.iter().map(found).collect::<Vec<_>>();
        (0..rules.len()).filter(|at| all[*at] == 1).collect()
    }

    #[test]
    fn rules_that_lead_the_port_elsewhere_are_found_and_no_others() {
        let claiming = [
            "tcp dport 80 dnat to 172.17.0.2:8080",
            "ip daddr 192.0.2.10 tcp dport { 22, 80-90 } counter packets 1 bytes 9 redirect to :81",
            "tcp dport @web dnat to 172.17.0.2",
            "ip daddr 192.0.2.0/24 dnat to 10.0.0.1",
            "tcp dport 80 notrack",
            "meta l4proto tcp tcp dport 80 counter xt target \"REDIRECT\"",
            "tcp dport != 22 tproxy to :3129",
        ];
        assert_eq!(of("ip nat", &claiming), (0..claiming.len()).collect::<Vec<_>>());
        let others = [
            "tcp dport 8080 dnat to 172.17.0.2:80",
            "ip daddr 192.0.2.11 tcp dport 80 dnat to 10.0.0.1",
            "udp dport 80 dnat to 10.0.0.1",
            "tcp dport { 443, 8000-8080 } redirect to :81",
            "tcp dport 80 accept",
            "ip saddr 192.0.2.0/24 masquerade",
        ];
        assert_eq!(of("ip nat", &others), [] as [usize; 0]);
        assert_eq!(of("ip6 nat", &claiming), [] as [usize; 0], "it sees no IPv4");
        assert_eq!(of("inet segue_r_source", &claiming), [] as [usize; 0], "its own");
    }
}
