//! Fronts: one port in short, or a list of ports.

use super::side;
use crate::Problem;
use crate::file::{
    AccessLogFile, FrontFile, FrontLimitsFile, HaproxyFile, NginxFile, PortFile, PortKindFile,
};
use segue_model::plan::{
    AccessLogPlan, FrontLimits, FrontPlan, HaproxyPlan, NginxPlan, PortKind, PortPlan, ProxyPlan,
    TcpPlan, TlsPlan,
};
use segue_model::{Network, Sides};

/// One request of so many is logged, unless the plan says otherwise.
const LOGGED_EVERY: u64 = 100;

/// Makes the plan of a front.
pub(super) fn front(file: FrontFile, problems: &mut Vec<Problem>) -> FrontPlan {
    let FrontFile { name, side: at, listen, take_over, port, egress, control, state, .. } = file;
    let trusted = trusted(&name, &file.trusted, problems);
    let limits = limits(&file.limits);
    let proxy = proxy(&name, file.haproxy, file.nginx, problems);
    let metrics = file.metrics;
    let access_log = file.access_log.map(|AccessLogFile { path, every }| AccessLogPlan {
        path,
        every: every.unwrap_or(LOGGED_EVERY),
    });
    let mut refuse = |text: &str| {
        problems.push(Problem {
            code: "SG0749",
            key: format!("front[{name}]"),
            text: text.to_owned(),
            remedy: "write `listen`, with `take_over` if a live server has the port, or one \
                     [[front.port]] for each port, with `certificates` if its `kind` is `tls`, with \
                     `source` and `target` if it is `tcp`"
                .to_owned(),
        });
    };
    match (listen.is_some() || take_over.is_some(), port.is_empty()) {
        (true, false) => refuse("`listen` or `take_over` stand beside a [[front.port]]"),
        (_, true) if listen.is_none() => refuse("no port is named"),
        _ => {}
    }
    for file in &port {
        let named = !file.certificates.is_empty() || file.default_certificate.is_some();
        let others = file.http2.is_some() || file.strangers.is_some();
        if file.kind != PortKindFile::Tls && (named || others) {
            let what = "has certificates, `http2` or `strangers` and is not for tls";
            refuse(&format!("the port {} {what}", file.listen));
        }
    }
    for file in &port {
        let servers = (file.source.is_some(), file.target.is_some());
        let others = servers != (false, false) || file.proxy_out || file.by_name;
        match file.kind {
            PortKindFile::Tcp if servers != (true, true) => {
                refuse(&format!("the port {} for tcp has no `source` or no `target`", file.listen))
            }
            PortKindFile::Http | PortKindFile::Tls if others => refuse(&format!(
                "the port {} has `source`, `target`, `proxy_out` or `by_name` and is not for tcp",
                file.listen
            )),
            _ => {}
        }
    }
    let only = listen.map(|listen| PortPlan::http(listen, take_over.unwrap_or_default()));
    let ports = only.into_iter().chain(port.into_iter().map(of_list)).collect();
    FrontPlan {
        name,
        side: side(at),
        ports,
        egress,
        control,
        state,
        trusted,
        limits,
        metrics,
        access_log,
        proxy,
    }
}

/// Reads which proxy of the operator's stands there, if one does.
fn proxy(
    front: &str,
    haproxy: Option<HaproxyFile>,
    nginx: Option<NginxFile>,
    problems: &mut Vec<Problem>,
) -> Option<ProxyPlan> {
    if haproxy.is_some() && nginx.is_some() {
        problems.push(Problem {
            code: "SG0774",
            key: format!("front[{front}]"),
            text: "both HAProxy and nginx are to be this front".to_owned(),
            remedy: "keep the one that listens there".to_owned(),
        });
    }
    let nginx = nginx.map(|NginxFile { folder, pid, accept_reload_losses, accept_refusals }| {
        ProxyPlan::Nginx(NginxPlan { folder, pid, accept_reload_losses, accept_refusals })
    });
    let haproxy = haproxy
        .map(|HaproxyFile { config, folder }| ProxyPlan::Haproxy(HaproxyPlan { config, folder }));
    haproxy.or(nginx)
}

fn limits(file: &FrontLimitsFile) -> FrontLimits {
    FrontLimits {
        connections: file.connections,
        connections_per_client: file.connections_per_client,
        headers: file.headers,
        body_rate: file.body_rate,
    }
}

/// Reads the networks of trusted proxies; what is none is a problem and left out.
fn trusted(front: &str, texts: &[String], problems: &mut Vec<Problem>) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in texts {
        match text.parse::<Network>() {
            Ok(network) => networks.push(network),
            Err(why) => problems.push(Problem {
                code: "SG0770",
                key: format!("front[{front}].trusted"),
                text: format!("`{text}` is no network: {why}"),
                remedy: "write an address, or a network as 198.51.100.0/24 or 2001:db8::/32"
                    .to_owned(),
            }),
        }
    }
    networks
}

fn of_list(file: PortFile) -> PortPlan {
    let kind = match file.kind {
        PortKindFile::Http => PortKind::Http,
        PortKindFile::Tls => PortKind::Tls,
        PortKindFile::Tcp => PortKind::Tcp,
    };
    let PortFile { listen, take_over, redirect, join, proxy_in, http2, .. } = file;
    let PortFile { certificates, default_certificate, strangers, .. } = file;
    let servers = file.source.zip(file.target).filter(|_| kind == PortKind::Tcp);
    let tcp = servers.map(|(source, target)| TcpPlan {
        backends: Sides { source, target },
        proxy_out: file.proxy_out,
        by_name: file.by_name,
    });
    let http2 = http2.unwrap_or(true);
    let tls = TlsPlan { certificates, default_certificate, http2, strangers };
    let tls = (kind == PortKind::Tls).then_some(tls);
    PortPlan { kind, listen, take_over, redirect, join, tls, proxy_in, tcp }
}
