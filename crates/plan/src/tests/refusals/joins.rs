use super::{example, refused};
use segue_model::Sides;
use segue_model::plan::{Plan, PortKind, PortPlan, TcpPlan, TlsPlan};

/// Has the front at the source join a server that is reached at another port.
fn joined(plan: &mut Plan) {
    plan.unit.sites[0].backends.source.address = "192.0.2.10:8080".parse().unwrap();
    let front = &mut plan.unit.fronts[0];
    front.egress = None;
    (front.ports[0].take_over, front.ports[0].join) = (false, true);
}

fn joined_tls() -> PortPlan {
    let tls = TlsPlan {
        certificates: vec!["/etc/letsencrypt/live".into()],
        default_certificate: None,
        http2: true,
        strangers: "127.0.0.1:8443".parse().ok(),
    };
    let port = PortPlan::http("192.0.2.10:443".parse().unwrap(), false);
    PortPlan { kind: PortKind::Tls, join: true, tls: Some(tls), ..port }
}

#[test]
fn refuses_ports_that_cannot_be_joined() {
    refused(&[
        (
            "two ways at once",
            |p| p.unit.fronts[0].ports[0].join = true,
            &["SG0755 front[source].port[#1].join", "SG0756 front[source].port[#1].listen"],
        ),
        (
            "at the address where the front would reach the server",
            |p| {
                p.unit.fronts[0].ports[0].take_over = false;
                p.unit.fronts[0].ports[0].join = true;
                p.unit.fronts[0].egress = None;
            },
            &["SG0756 front[source].port[#1].listen"],
        ),
        (
            "with an egress address that has no use",
            |p| {
                joined(p);
                p.unit.fronts[0].egress = "192.0.2.11".parse().ok();
            },
            &["SG0707 front[source].egress"],
        ),
    ]);
    let mut plan = example();
    joined(&mut plan);
    plan.unit.fronts[0].ports.push(joined_tls());
    assert_eq!(crate::check(&plan), []);
}

#[test]
fn refuses_joined_ports_for_tls_that_would_cut_strangers_off() {
    refused(&[
        (
            "no way to the server's own TLS",
            |p| {
                joined(p);
                let mut port = joined_tls();
                port.tls.as_mut().unwrap().strangers = None;
                p.unit.fronts[0].ports.push(port);
            },
            &["SG0757 front[source].port[#2].strangers"],
        ),
        (
            "the joined port itself",
            |p| {
                joined(p);
                let mut port = joined_tls();
                port.tls.as_mut().unwrap().strangers = "127.0.0.1:443".parse().ok();
                p.unit.fronts[0].ports.push(port);
            },
            &["SG0756 front[source].port[#2].listen"],
        ),
        (
            "a port of a front",
            |p| {
                joined(p);
                let mut port = joined_tls();
                let own = PortPlan::http("192.0.2.10:8081".parse().unwrap(), false);
                port.tls.as_mut().unwrap().strangers = Some(own.listen);
                p.unit.fronts[0].ports.extend([own, port]);
            },
            &["SG0757 front[source].port[#3].strangers"],
        ),
        (
            "where they go to the live server by themselves",
            |p| {
                let mut port = joined_tls();
                (port.join, port.take_over) = (false, true);
                p.unit.fronts[0].ports.push(port);
            },
            &["SG0757 front[source].port[#2].strangers"],
        ),
    ]);
}

#[test]
fn refuses_servers_at_the_joined_port_of_another_address() {
    refused(&[
        (
            "at the same port of another address, which a server has with one socket for all",
            |p| {
                joined(p);
                p.unit.sites[0].backends.source.address = "127.0.0.1:80".parse().unwrap();
            },
            &["SG0756 front[source].port[#1].listen"],
        ),
        (
            "at the same port of a server beside",
            |p| {
                joined(p);
                p.unit.sites[0].backends.source.beside = vec!["192.0.2.12:80".parse().unwrap()];
            },
            &["SG0756 front[source].port[#1].listen"],
        ),
        (
            "at the same port for a certificate authority",
            |p| {
                joined(p);
                p.unit.fronts[0].ports.push(joined_tls());
                p.unit.sites[0].backends.source.acme_tls = "127.0.0.1:443".parse().ok();
            },
            &["SG0756 front[source].port[#2].listen"],
        ),
        (
            "where probes would ask the front",
            |p| {
                joined(p);
                p.unit.sites[0].backends.source.probe_address = "127.0.0.1:80".parse().ok();
            },
            &["SG0756 front[source].port[#1].listen"],
        ),
        (
            "with TCP that goes to the same port",
            |p| {
                joined(p);
                let backends = Sides {
                    source: "127.0.0.1:993".parse().unwrap(),
                    target: "203.0.113.30:993".parse().unwrap(),
                };
                let tcp = TcpPlan { backends, proxy_out: false, by_name: false };
                let port = PortPlan::http("192.0.2.10:993".parse().unwrap(), false);
                let kind = PortKind::Tcp;
                p.unit.fronts[0].ports.push(PortPlan { kind, join: true, tcp: Some(tcp), ..port });
            },
            &["SG0756 front[source].port[#2].listen"],
        ),
    ]);
}
