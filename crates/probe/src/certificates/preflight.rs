//! What is looked at before anything is touched: whether the chains are valid, and whether
//! visitors' browsers will insist on TLS where nobody will speak it.

use super::handshake::{ask_over_tls, shown};
use super::{AT_ONCE, Authorities, ByName};
use futures_util::future::join_all;
use segue_model::plan::{FrontPlan, PortKind, PortPlan, UnitPlan};
use segue_model::{Finding, Side};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// The port where a browser looks for a site over TLS.
const HTTPS: u16 = 443;

/// Asks for every name; changes nothing. What is valid for fewer than `days` is told of.
pub(crate) async fn preflight(unit: &UnitPlan, days: u32) -> Vec<Finding> {
    let mut findings = chains(unit, days).await;
    findings.extend(insisting(unit, HTTPS).await);
    findings
}

/// Looks at what is shown now. Ports where nobody is yet are for the gate.
async fn chains(unit: &UnitPlan, wanted: u32) -> Vec<Finding> {
    let (names, ports) = (unit.certified(), ByName::all(unit));
    if names.is_empty() && ports.is_empty() {
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
    let probed = probed(unit);
    let mut all = Vec::new();
    for names in names.chunks(AT_ONCE) {
        let asked = names.iter().map(|(name, address)| shown(name, *address));
        for ((name, address), shown) in names.iter().zip(join_all(asked).await) {
            let Ok(shown) = shown else { continue };
            let what = format!("shown for `{name}` at {address}");
            let days = authorities.days(name, &shown).map_err(|cause| {
                let harm = match probed.contains(&(name, *address)) {
                    true => {
                        "; the probe asks there too and would fail all the time, and \
                             `probe_failing` takes the unit back"
                    }
                    false => "",
                };
                format!("cannot be verified: {cause}{harm}")
            });
            all.push((what, days));
        }
    }
    for port in ports {
        let Some(days) = port.days(&authorities).await else { continue };
        all.push((format!("shown at {}, where clients go by name,", port.address), days));
    }
    all.into_iter()
        .filter_map(|(what, days)| {
            let cause = match days {
                Ok(days) if days >= wanted => return None,
                Ok(days) => format!("is valid for {days} days only, and {wanted} are wanted"),
                Err(cause) => cause,
            };
            Some(Finding::warn(
                "SG0530",
                format!("the certificate {what} {cause}"),
                "renew it, with its whole chain, or name its authority as `roots` in \
                 [measure.certificates], before the cutover: the gate `certificates` waits",
            ))
        })
        .collect()
}

/// Returns the names that probes ask for over TLS, and where.
fn probed(unit: &UnitPlan) -> BTreeSet<(&String, SocketAddr)> {
    let sites = unit.sites.iter().filter(|site| site.probe.is_some());
    let named = sites.filter_map(|site| Some((site, site.hosts.first()?)));
    let at = |(site, host)| {
        let ports = unit.fronts.iter().flat_map(move |front| front.tls_of(site));
        ports.map(move |port| (host, port.listen))
    };
    named.flat_map(at).collect()
}

/// A browser that was told once to insist on TLS (HSTS, RFC 6797) does not ask in clear any more.
async fn insisting(unit: &UnitPlan, https: u16) -> Vec<Finding> {
    // A port for mail or a database speaks no HTTP; one at the browsers' own passes on what does.
    let speaks = |front: &&FrontPlan| {
        let at = |port: &PortPlan| port.kind == PortKind::Tls || port.listen.port() == https;
        front.proxy.is_some() || front.ports.iter().any(at)
    };
    let mut findings = Vec::new();
    let hosts: Vec<&String> = unit.sites.iter().filter_map(|site| site.hosts.first()).collect();
    let at = |side| unit.fronts.iter().filter(move |front| front.side == side);
    let sources: BTreeSet<SocketAddr> = at(Side::Source)
        .flat_map(|front| &front.ports)
        .map(|port| SocketAddr::new(port.listen.ip(), https))
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rustls::ServerConfig;
    use rustls::crypto::ring;
    use rustls::pki_types::PrivateKeyDer;
    use segue_model::Severity;
    use serde_json::{Value, json};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsAcceptor;

    /// Serves a page over TLS, with a header of its answers.
    async fn page(header: &'static str) -> SocketAddr {
        let made = rcgen::generate_simple_self_signed(vec!["shop.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = [0; 1_024];
                let _ = stream.read(&mut head).await;
                let answer = format!("HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        address
    }

    /// A unit whose fronts have these ports besides one for HTTP in clear.
    fn unit(source: &[Value], target: &[Value]) -> UnitPlan {
        let front = |side: &str, ports: &[Value]| {
            let clear = json!({ "kind": "http", "listen": "127.0.0.1:80", "take_over": false });
            let ports: Vec<_> = [clear].into_iter().chain(ports.iter().cloned()).collect();
            json!({
                "name": side, "side": side, "ports": ports, "egress": null,
                "control": "/run/a.sock", "state": "/var/a.json",
            })
        };
        let server = json!({
            "address": "127.0.0.1:8080", "health_path": "/", "access_log": null, "concurrency": 1,
        });
        let site = json!({
            "name": "shop", "hosts": ["shop.test"], "probe": null,
            "backends": { "source": server, "target": server },
        });
        let unit = json!({
            "name": "shop", "sites": [site], "databases": [], "trees": [], "zones": [],
            "fronts": [front("source", source), front("target", target)],
            "workers": [], "requests_per_day": null, "created": null,
        });
        serde_json::from_value(unit).unwrap()
    }

    fn port(kind: &str, number: u16) -> Value {
        let mut port =
            json!({ "kind": kind, "listen": format!("127.0.0.1:{number}"), "take_over": false });
        match kind {
            "tls" => port["tls"] = json!({ "certificates": ["/x"], "default_certificate": null }),
            _ => {
                port["tcp"] =
                    json!({ "backends": { "source": "127.0.0.1:1", "target": "127.0.0.1:2" } });
            }
        }
        port
    }

    #[tokio::test]
    async fn a_target_that_speaks_no_tls_is_refused_where_browsers_insist_on_it() {
        let https = page("Strict-Transport-Security: max-age=600").await.port();
        let found = async |source: &[Value], target: &[Value]| {
            let found = insisting(&unit(source, target), https).await;
            assert!(found.iter().all(|one| one.code == "SG0531"), "{found:?}");
            found.into_iter().map(|one| one.severity).collect::<Vec<_>>()
        };
        let (tls, elsewhere) = (port("tls", https), port("tls", 8_443));
        assert_eq!(found(&[], &[]).await, [Severity::Warn, Severity::Refuse]);
        // A database or mail at the target is no page.
        let others = [port("tcp", 3_306), port("tcp", 25)];
        assert_eq!(found(std::slice::from_ref(&tls), &others).await, [Severity::Refuse]);
        for there in [tls.clone(), elsewhere, port("tcp", https)] {
            let found = found(std::slice::from_ref(&tls), &[there]).await;
            assert!(found.is_empty(), "{found:?}");
        }
        // Nobody insists: it is said, and refused nowhere.
        let https = page("X-Other: x").await.port();
        let all = insisting(&unit(&[port("tls", https)], &[]), https).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(one.severity, Severity::Warn);
        assert!(one.text.contains("front `target` of the target speaks none"), "{}", one.text);
    }

    #[tokio::test]
    async fn a_probe_that_would_fail_over_tls_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("roots.pem");
        let other = rcgen::generate_simple_self_signed(vec!["other.test".to_owned()]).unwrap();
        std::fs::write(&roots, other.cert.pem()).unwrap();
        let https = page("X-Other: x").await.port();
        let mut unit = unit(&[port("tls", https)], &[]);
        unit.measures.certificates.roots = Some(roots);
        let text = async |unit: &UnitPlan| {
            let mut all = chains(unit, 1).await;
            assert_eq!(all.len(), 1, "{all:?}");
            let one = all.remove(0);
            assert_eq!((one.code.as_str(), one.severity), ("SG0530", Severity::Warn));
            one.text
        };
        let told = text(&unit).await;
        assert!(told.contains("cannot be verified") && !told.contains("probe"), "{told}");
        let probe = json!({ "path": "/", "marker": "x", "per_second": 1 });
        unit.sites[0].probe = serde_json::from_value(probe).unwrap();
        let told = text(&unit).await;
        assert!(told.contains("`probe_failing` takes the unit back"), "{told}");
    }

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
