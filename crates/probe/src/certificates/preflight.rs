//! What is looked at before anything is touched: whether the chains are valid, and whether
//! visitors' browsers will insist on TLS where nobody will speak it.

use super::handshake::{ask_over_tls, shown};
use super::{AT_ONCE, Authorities};
use futures_util::future::join_all;
use segue_model::plan::{FrontPlan, PortKind, UnitPlan};
use segue_model::{Finding, Side};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Days below which a certificate is told of before anything begins.
const SOON_DAYS: u32 = 34;

/// The port where a browser looks for a site over TLS.
const HTTPS: u16 = 443;

/// Asks for every name; changes nothing.
pub(crate) async fn preflight(unit: &UnitPlan) -> Vec<Finding> {
    let mut findings = chains(unit).await;
    findings.extend(insisting(unit).await);
    findings
}

/// Looks at what is shown now. Ports where nobody is yet are for the gate.
async fn chains(unit: &UnitPlan) -> Vec<Finding> {
    let names = unit.certified();
    if names.is_empty() {
        return Vec::new();
    }
    let roots = unit.measures.certificates.roots.clone();
    let read = tokio::task::spawn_blocking(move || Authorities::read(roots.as_deref())).await;
    let authorities = match read {
        Ok(Ok(authorities)) => authorities,
        Ok(Err(fault)) => {
            let remedy = "install ca-certificates, or name a PEM file as `roots`";
            return vec![Finding::refuse("SG0529", fault.to_string(), remedy)];
        }
        Err(_) => return Vec::new(),
    };
    let mut findings = Vec::new();
    for names in names.chunks(AT_ONCE) {
        let asked = names.iter().map(|(name, address)| shown(name, *address));
        for ((name, address), shown) in names.iter().zip(join_all(asked).await) {
            let Ok(shown) = shown else { continue };
            let cause = match authorities.days(name, &shown) {
                Ok(days) if days >= SOON_DAYS => continue,
                Ok(days) => format!("is valid for {days} days only"),
                Err(cause) => format!("cannot be verified: {cause}"),
            };
            findings.push(Finding::warn(
                "SG0530",
                format!("the certificate shown for `{name}` at {address} {cause}"),
                "renew it, with its whole chain, before the cutover: the gate `certificates` waits",
            ));
        }
    }
    findings
}

/// A browser that was told once to insist on TLS (HSTS, RFC 6797) does not ask in clear any more.
async fn insisting(unit: &UnitPlan) -> Vec<Finding> {
    let speaks = |front: &&FrontPlan| {
        front.proxy.is_some()
            || front
                .ports
                .iter()
                .any(|port| port.kind != PortKind::Http || port.listen.port() == HTTPS)
    };
    let mut findings = Vec::new();
    let hosts: Vec<&String> = unit.sites.iter().filter_map(|site| site.hosts.first()).collect();
    let at = |side| unit.fronts.iter().filter(move |front| front.side == side);
    let sources: BTreeSet<SocketAddr> = at(Side::Source)
        .flat_map(|front| &front.ports)
        .map(|port| SocketAddr::new(port.listen.ip(), HTTPS))
        .collect();
    for host in hosts {
        for address in &sources {
            let Ok((_, head)) = ask_over_tls(host, *address, "/").await else { continue };
            let insists = insists(&head);
            for side in [Side::Source, Side::Target] {
                let mute = at(side).find(|front| !speaks(front)).map(|front| &front.name);
                let Some(front) = mute else { continue };
                let text = format!(
                    "`{host}` is served over TLS at {address}{}, and front `{front}` of the {side} \
                     speaks none",
                    if insists { ", and tells browsers to insist on it" } else { "" }
                );
                let remedy = "add a [[front.port]] with `kind = \"tls\"` and certificates to it";
                findings.push(match (side, insists) {
                    (Side::Target, true) => Finding::refuse("SG0531", text, remedy),
                    _ => Finding::warn("SG0531", text, remedy),
                });
            }
        }
    }
    findings
}

/// Returns whether an answer tells browsers to insist on TLS from now on.
fn insists(head: &str) -> bool {
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("strict-transport-security").then_some(value)
    });
    let age = |part: &str| {
        let (name, age) = part.split_once('=')?;
        let age = age.trim().trim_matches('"').parse::<u64>().ok()?;
        name.trim().eq_ignore_ascii_case("max-age").then_some(age)
    };
    value.is_some_and(|value| value.split(';').find_map(age).is_some_and(|age| age > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_who_insists() {
        let answer = |line: &str| insists(&format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"));
        assert!(answer("Strict-Transport-Security: max-age=31536000; includeSubDomains"));
        assert!(answer("strict-transport-security: includeSubDomains; Max-Age=\"60\""));
        // Zero takes it back (RFC 6797 6.1.1).
        assert!(!answer("Strict-Transport-Security: max-age=0"));
        assert!(!answer("Strict-Transport-Security: forever"));
        assert!(!answer("X-Other: max-age=60"));
    }
}
