use super::example;
use super::refused;
use segue_model::plan::{
    AccessLogPlan, CdnPlan, CdnVendor, HaproxyPlan, NginxPlan, PortKind, PortPlan, ProxyPlan,
    SecretRef, SitePlan, TcpPlan, TlsPlan,
};
use segue_model::{Side, Sides};

#[test]
fn refuses_fronts() {
    refused(&[
        (
            "no front at the target",
            |p| drop(p.unit.fronts.remove(1)),
            &[
                "SG0706 front",
                "SG0710 zone[example.test].record[www.example.test A].target",
                "SG0710 zone[example.test].record[example.test A].target",
            ],
        ),
        (
            "no front at the source",
            |p| {
                p.unit.fronts.remove(0);
                p.unit.zones.clear();
            },
            &["SG0706 front"],
        ),
        ("one name", |p| p.unit.fronts[1].name = "source".into(), &["SG0705 front[source].name"]),
        ("no name", |p| p.unit.fronts[1].name.clear(), &["SG0703 front[#2].name"]),
        (
            "one address",
            |p| {
                p.unit.zones.clear();
                p.unit.sites[0].backends.target.address.set_port(81);
                p.unit.fronts[0].ports[0].listen = "203.0.113.20:80".parse().unwrap();
            },
            &["SG0705 front[target].listen"],
        ),
        (
            "one control socket",
            |p| p.unit.fronts[1].control = p.unit.fronts[0].control.clone(),
            &["SG0705 front[target].control"],
        ),
        (
            "one state file",
            |p| p.unit.fronts[1].state = p.unit.fronts[0].state.clone(),
            &["SG0705 front[target].state"],
        ),
        (
            "relative state",
            |p| p.unit.fronts[0].state = "state.json".into(),
            &["SG0729 front[source].state"],
        ),
        (
            "long socket path",
            |p| p.unit.fronts[0].control = format!("/{}", "a".repeat(107)).into(),
            &["SG0729 front[source].control"],
        ),
    ]);
}

fn for_tls(default_certificate: Option<String>) -> PortPlan {
    let certificates = Vec::new();
    let tls = TlsPlan { certificates, default_certificate, http2: true, strangers: None };
    let port = PortPlan::http("203.0.113.20:443".parse().unwrap(), false);
    PortPlan { kind: PortKind::Tls, tls: Some(tls), ..port }
}

fn unread(site: &mut SitePlan) {
    site.backends.source.passthrough = "192.0.2.10:8443".parse().ok();
    site.backends.target.passthrough = "203.0.113.20:8443".parse().ok();
}

#[test]
fn refuses_ports() {
    refused(&[
        (
            "one address for two ports of a front",
            |p| p.unit.fronts[0].ports = vec![p.unit.fronts[0].ports[0].clone(); 2],
            &["SG0705 front[source].port[#2].listen"],
        ),
        (
            "an address of another front's second port",
            |p| {
                let second = PortPlan::http("203.0.113.20:81".parse().unwrap(), false);
                p.unit.fronts[1].ports.push(second.clone());
                p.unit.fronts[0].ports.push(second);
            },
            &["SG0705 front[target].port[#2].listen"],
        ),
        (
            "the second port is the other side's server",
            |p| {
                let web = p.unit.sites[0].backends.target.address;
                p.unit.fronts[0].ports.push(PortPlan::http(web, false));
            },
            &["SG0709 front[source].port[#2].listen"],
        ),
        (
            "a port that goes by name, and no name",
            |p| {
                let backends = Sides {
                    source: "192.0.2.30:993".parse().unwrap(),
                    target: "203.0.113.30:993".parse().unwrap(),
                };
                let mut port = PortPlan::http("192.0.2.30:994".parse().unwrap(), false);
                (port.kind, port.tcp) =
                    (PortKind::Tcp, Some(TcpPlan { backends, proxy_out: false, by_name: true }));
                p.unit.fronts[0].ports.push(port);
                p.unit.sites.clear();
                // None of them could be measured without a site.
                std::sync::Arc::make_mut(&mut p.policy).triggers.clear();
            },
            &["SG0728 front", "SG0779 front[source].port[#2].by_name"],
        ),
        (
            "the second port names no address",
            |p| p.unit.fronts[1].ports.push(PortPlan::http("0.0.0.0:81".parse().unwrap(), false)),
            &["SG0728 front[target].port[#2].listen"],
        ),
        (
            "the second port is taken over, too, from another family",
            |p| {
                let second = PortPlan::http("[2001:db8::1]:80".parse().unwrap(), true);
                p.unit.fronts[0].ports.push(second);
            },
            &["SG0708 front[source].egress"],
        ),
        (
            "the egress address is that of the second port",
            |p| {
                let second = PortPlan::http("192.0.2.11:81".parse().unwrap(), false);
                p.unit.fronts[0].ports.push(second);
            },
            &["SG0708 front[source].egress"],
        ),
    ]);
}

#[test]
fn refuses_ports_for_tls() {
    refused(&[
        (
            "an authority's question would come back to the front",
            |p| {
                p.unit.fronts[1]
                    .ports
                    .push(PortPlan::http("203.0.113.20:81".parse().unwrap(), false));
                p.unit.sites[0].backends.target.acme_tls = "203.0.113.20:81".parse().ok();
            },
            &["SG0709 front[target].port[#2].listen"],
        ),
        (
            "TLS that ends nowhere needs no certificate",
            |p| {
                unread(&mut p.unit.sites[0]);
                p.unit.fronts[1].ports.push(for_tls(None));
            },
            &[],
        ),
        (
            "TLS that ends here",
            |p| p.unit.fronts[1].ports.push(for_tls(None)),
            &["SG0749 front[target]"],
        ),
        (
            "TLS that ends here for one site",
            |p| {
                unread(&mut p.unit.sites[0]);
                let mut other = p.unit.sites[0].clone();
                other.hosts = vec!["other.example.test".into()];
                for (side, port) in
                    [(&mut other.backends.source, 91), (&mut other.backends.target, 92)]
                {
                    side.passthrough = None;
                    side.address.set_port(port);
                }
                p.unit.sites.push(other);
                p.unit.fronts[1].ports.push(for_tls(None));
            },
            &["SG0749 front[target]"],
        ),
        (
            "a default of no certificates",
            |p| {
                unread(&mut p.unit.sites[0]);
                p.unit.fronts[1].ports.push(for_tls(Some("a.test".into())));
            },
            &["SG0749 front[target]"],
        ),
    ]);
}

#[test]
fn refuses_to_believe_everybody_and_to_keep_everybody_out() {
    refused(&[
        (
            "everybody is trusted",
            |p| p.unit.fronts[0].trusted = vec!["0.0.0.0/0".parse().unwrap()],
            &["SG0771 front[source].trusted"],
        ),
        (
            "the PROXY protocol from nobody",
            |p| p.unit.fronts[0].ports[0].proxy_in = true,
            &["SG0772 front[source].port[#1].proxy_in", "SG0762 backend.source.proxy_out"],
        ),
        (
            "a server wants the PROXY protocol, and the port that is taken over does not",
            |p| p.unit.sites[0].backends.source.proxy_out = true,
            &["SG0762 backend.source.proxy_out"],
        ),
        (
            "no connection at all",
            |p| p.unit.fronts[0].limits.connections = Some(0),
            &["SG0773 front[source].limits.connections"],
        ),
        (
            "a client may have one",
            |p| p.unit.fronts[0].limits.connections_per_client = Some(1),
            &["SG0773 front[source].limits.connections_per_client"],
        ),
        (
            "too few header fields, too many",
            |p| {
                p.unit.fronts[0].limits.headers = Some(2);
                p.unit.fronts[1].limits.headers = Some(5_000);
            },
            &["SG0773 front[source].limits.headers", "SG0773 front[target].limits.headers"],
        ),
    ]);
}

#[test]
fn refuses_fronts_at_the_wrong_address() {
    refused(&[
        ("no egress", |p| p.unit.fronts[0].egress = None, &["SG0707 front[source].egress"]),
        (
            "egress without take over",
            |p| p.unit.fronts[1].egress = Some("203.0.113.21".parse().unwrap()),
            &["SG0707 front[target].egress"],
        ),
        (
            "egress is the listen address",
            |p| p.unit.fronts[0].egress = Some("192.0.2.10".parse().unwrap()),
            &["SG0708 front[source].egress"],
        ),
        (
            "egress of another family",
            |p| p.unit.fronts[0].egress = Some("2001:db8::1".parse().unwrap()),
            &["SG0708 front[source].egress"],
        ),
        (
            "live port not taken over",
            |p| {
                p.unit.fronts[0].ports[0].take_over = false;
                p.unit.fronts[0].egress = None;
            },
            &["SG0709 front[source].listen"],
        ),
        (
            "every address of the machine",
            |p| {
                p.unit.zones.clear();
                p.unit.fronts[1].ports[0].listen = "0.0.0.0:80".parse().unwrap();
            },
            &["SG0728 front[target].listen"],
        ),
        (
            "sides exchanged",
            |p| {
                p.unit.fronts[0].side = Side::Target;
                p.unit.fronts[1].side = Side::Source;
                p.unit.zones[0].records.truncate(1);
            },
            &[
                "SG0709 front[source].listen",
                "SG0709 zone[example.test].record[www.example.test A].source",
                "SG0709 zone[example.test].record[www.example.test A].target",
            ],
        ),
    ]);
}

#[test]
fn refuses_ports_that_cannot_be_redirected() {
    refused(&[
        (
            "two ways at once",
            |p| p.unit.fronts[0].ports[0].redirect = Some(8_080),
            &["SG0754 front[source].port[#1].redirect"],
        ),
        (
            "to where the server is",
            |p| {
                p.unit.fronts[0].ports[0].take_over = false;
                p.unit.fronts[0].ports[0].redirect = Some(80);
            },
            &["SG0754 front[source].port[#1].redirect", "SG0705 front[source].port[#1].redirect"],
        ),
        (
            "redirected, and nothing tells the front's own connections",
            |p| {
                p.unit.fronts[0].ports[0].take_over = false;
                p.unit.fronts[0].ports[0].redirect = Some(8_080);
                p.unit.fronts[0].egress = None;
            },
            &["SG0707 front[source].egress"],
        ),
        (
            "where another port of it is",
            |p| {
                let second = PortPlan::http("192.0.2.10:8080".parse().unwrap(), false);
                p.unit.fronts[0].ports.push(second);
                p.unit.fronts[0].ports[0].take_over = false;
                p.unit.fronts[0].ports[0].redirect = Some(8_080);
            },
            &["SG0705 front[source].port[#2].listen"],
        ),
    ]);
    let mut plan = example();
    let port = &mut plan.unit.fronts[0].ports[0];
    (port.take_over, port.redirect) = (false, Some(8_080));
    assert!(crate::check(&plan).is_empty());
}

#[test]
fn refuses_cdns_that_switch_nothing() {
    let cdn = || CdnPlan {
        name: "edge".into(),
        vendor: CdnVendor::Fastly {
            url: "https://api.fastly.com".into(),
            service: "S1".into(),
            backend: "origin".into(),
        },
        token: SecretRef("env:TOKEN".into()),
        origins: Sides { source: "192.0.2.10".into(), target: "203.0.113.20".into() },
    };
    let with = |change: fn(&mut CdnPlan)| {
        let mut plan = example();
        let mut one = cdn();
        change(&mut one);
        plan.unit.cdns.push(one);
        let found = crate::check(&plan);
        found.iter().map(|problem| format!("{} {}", problem.code, problem.key)).collect::<Vec<_>>()
    };
    assert_eq!(with(|_| {}), [] as [String; 0]);
    assert_eq!(with(|c| c.origins.target = c.origins.source.clone()), ["SG0759 cdn[edge].target"]);
    assert_eq!(with(|c| c.origins.source = "https://a".into()), ["SG0759 cdn[edge].source"]);
    let bunny = |c: &mut CdnPlan| {
        c.vendor = CdnVendor::Bunny { url: "http://api.bunny.net".into(), pull_zone: 0 };
        c.origins.target = "https://203.0.113.20".into();
    };
    assert_eq!(
        with(bunny),
        ["SG0735 cdn[edge].bunny.url", "SG0759 cdn[edge].source", "SG0758 cdn[edge].bunny"]
    );
    let mut twice = example();
    twice.unit.cdns = vec![cdn(), cdn()];
    assert_eq!(crate::check(&twice)[0].code, "SG0705");
}

#[test]
fn refuses_places_for_figures_and_logs() {
    refused(&[
        (
            "figures where visitors are",
            |p| p.unit.fronts[0].metrics = Some(p.unit.fronts[0].ports[0].listen),
            &["SG0778 front[source].metrics"],
        ),
        (
            "figures for everybody",
            |p| p.unit.fronts[0].metrics = Some("0.0.0.0:9180".parse().unwrap()),
            &["SG0778 front[source].metrics"],
        ),
        (
            "a log of nothing, somewhere",
            |p| {
                let (path, every) = ("access.json".into(), 0);
                p.unit.fronts[0].access_log = Some(AccessLogPlan { path, every });
            },
            &["SG0729 front[source].access_log.path", "SG0778 front[source].access_log.every"],
        ),
    ]);
}

fn haproxy() -> Option<ProxyPlan> {
    let (config, folder) = ("/etc/haproxy/haproxy.cfg".into(), "/etc/haproxy/segue".into());
    Some(ProxyPlan::Haproxy(HaproxyPlan { config, folder }))
}

fn nginx(accept_reload_losses: bool, accept_refusals: bool) -> Option<ProxyPlan> {
    let (folder, pid) = ("/etc/nginx/segue".into(), "/run/nginx.pid".into());
    Some(ProxyPlan::Nginx(NginxPlan { folder, pid, accept_reload_losses, accept_refusals }))
}

/// nginx counts nothing, so that there are triggers less.
fn with_nginx(plan: &mut segue_model::plan::Plan, accepted: bool) {
    plan.unit.fronts[1].proxy = nginx(accepted, accepted);
    let triggers = crate::defaults::triggers(&plan.unit);
    std::sync::Arc::make_mut(&mut plan.policy).triggers = triggers;
}

#[test]
fn refuses_what_a_proxy_of_the_operators_cannot_do() {
    refused(&[
        ("all that HAProxy can", |p| p.unit.fronts[1].proxy = haproxy(), &[]),
        ("all that nginx can", |p| with_nginx(p, true), &[]),
        (
            "losses and refusals that nobody took",
            |p| with_nginx(p, false),
            &[
                "SG0776 front[target].nginx.accept_reload_losses",
                "SG0777 front[target].nginx.accept_refusals",
            ],
        ),
        (
            "a split and slow paths",
            |p| {
                p.unit.fronts[1].proxy = haproxy();
                let policy = std::sync::Arc::make_mut(&mut p.policy);
                policy.slow_paths = vec!["/export".into()];
                policy.harmless_paths = vec!["/static/".into()];
                policy.split = Some(crate::defaults::split());
            },
            &["SG0775 front[target]"; 3],
        ),
        (
            "what a hold does at a front of Segue's own alone",
            |p| {
                p.unit.fronts[1].proxy = haproxy();
                let policy = std::sync::Arc::make_mut(&mut p.policy);
                policy.harmless_paths = vec!["/static/".into()];
                policy.hold_bytes_max *= 2;
                policy.hold_page = Some("/etc/segue/soon.html".into());
            },
            &["SG0775 front[target]"; 3],
        ),
        (
            "at nginx nothing waits that has bytes",
            |p| {
                with_nginx(p, true);
                let policy = std::sync::Arc::make_mut(&mut p.policy);
                policy.hold_bytes_max *= 2;
                policy.hold_page = Some("/etc/segue/soon.html".into());
            },
            &["SG0775 front[target]"],
        ),
        (
            "days without stragglers matter at the source",
            |p| {
                p.unit.fronts[1].proxy = haproxy();
                std::sync::Arc::make_mut(&mut p.policy).straggler_days = 9;
            },
            &[],
        ),
        (
            "nobody at the source knows who still comes",
            |p| {
                let front = &mut p.unit.fronts[0];
                (front.proxy, front.egress) = (haproxy(), None);
                front.ports[0].take_over = false;
                p.unit.sites[0].backends.source.address.set_port(8_080);
                std::sync::Arc::make_mut(&mut p.policy).straggler_days = 9;
            },
            &["SG0775 front[source]"],
        ),
        (
            "HAProxy tells servers of clients",
            |p| {
                p.unit.fronts[1].proxy = haproxy();
                p.unit.sites[0].backends.target.proxy_out = true;
            },
            &[],
        ),
        (
            "nginx tells no server of clients",
            |p| {
                with_nginx(p, true);
                p.unit.sites[0].backends.target.proxy_out = true;
            },
            &["SG0775 front[target]"],
        ),
        (
            "what is in its own configuration",
            |p| {
                let front = &mut p.unit.fronts[1];
                front.proxy = haproxy();
                front.ports[0].proxy_in = true;
                front.trusted = vec!["198.51.100.0/24".parse().unwrap()];
                front.limits.headers = Some(50);
            },
            &[
                "SG0774 front[target].port",
                "SG0774 front[target].trusted",
                "SG0774 front[target].limits",
            ],
        ),
    ]);
}
