//! What has to stand in the configuration of the operator's servers, as text to put there.

use super::{haproxy, nginx};
use segue_front::control::{Reach, SiteRoute};
use segue_model::plan::{
    FrontPlan, HaproxyPlan, NginxPlan, PortKind, ProxyPlan, SitePlan, UnitPlan,
};
use segue_model::{Side, Sides};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A piece of configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// What it is for: ``HAProxy as front `source` ``.
    pub title: String,
    /// The text, comments included.
    pub text: String,
    /// Files that must be there first, and what is in them; those of `once` only if they are
    /// not there yet.
    pub files: Vec<(PathBuf, String)>,
    /// Files that Segue changes itself later on.
    pub once: Vec<(PathBuf, String)>,
}

/// Returns everything that the servers around the fronts of some units need, in the order in
/// which it is put there.
pub fn fragments(units: &[&UnitPlan]) -> Vec<Fragment> {
    let mut all = Vec::new();
    let mut done = BTreeSet::new();
    let fronts = || units.iter().flat_map(|unit| &unit.fronts);
    for front in fronts().filter(|front| front.proxy.is_some()) {
        if !done.insert(&front.name) {
            continue;
        }
        let sites: Vec<SiteRoute> = units
            .iter()
            .filter(|unit| unit.fronts.iter().any(|one| one.name == front.name))
            .flat_map(|unit| unit.sites.iter().map(route))
            .collect();
        match &front.proxy {
            Some(ProxyPlan::Haproxy(plan)) => all.push(for_haproxy(front, plan, &sites)),
            Some(ProxyPlan::Nginx(plan)) => all.push(for_nginx(front, plan, &sites)),
            None => {}
        }
    }
    for front in fronts().filter(|front| front.ports.iter().any(|port| port.join)) {
        if done.insert(&front.name) {
            all.push(shared(front, units));
        }
    }
    for side in [Side::Source, Side::Target] {
        let addresses: BTreeSet<IpAddr> =
            fronts().flat_map(|front| comes_from(front, side, units)).collect();
        if !addresses.is_empty() {
            let sites = units.iter().flat_map(|unit| &unit.sites);
            let logs: Vec<(&str, Option<&Path>)> = sites
                .map(|site| (site.name.as_str(), site.backends.get(side).access_log.as_deref()))
                .collect();
            all.push(real_addresses(side, &addresses, &logs));
        }
    }
    all
}

fn route(site: &SitePlan) -> SiteRoute {
    SiteRoute {
        hosts: site.hosts.clone(),
        backends: Sides::from_fn(|side| site.backends.get(side).address),
        reach: Reach::of(site),
    }
}

fn for_haproxy(front: &FrontPlan, plan: &HaproxyPlan, sites: &[SiteRoute]) -> Fragment {
    let folder = plan.folder.display();
    let binds: String =
        front.ports.iter().map(|port| format!("    bind {}\n", port.listen)).collect();
    let mut text = format!(
        "global\n    \
             stats socket {} mode 600 level admin\n    \
             lua-load {folder}/segue.lua\n\n\
         # The frontend of these ports: `bind` as it is there now, and its own rules behind these.\n\
         frontend segue_{}\n    \
             mode http\n{binds}    \
             http-request set-var(txn.segue_unit) req.hdr(host),field(1,:),lower,map_str({folder}/units.map)\n    \
             http-request lua.segue_hold if {{ var(txn.segue_unit) -m found }}\n    \
             http-request set-var(txn.segue_backend) req.hdr(host),field(1,:),lower,map_str({folder}/sides.map)\n    \
             http-response lua.segue_seen if {{ var(txn.segue_backend) -m found }}\n    \
             http-response set-header X-Segue-Front {}\n    \
             use_backend %[var(txn.segue_backend)] if {{ var(txn.segue_backend) -m found }}\n",
        front.control.display(),
        front.name,
        front.name,
    );
    for site in sites {
        for side in [Side::Source, Side::Target] {
            let (name, address) = (haproxy::backend(site, side), site.backends.get(side));
            let source = match front.egress {
                Some(egress) if front.side == side => format!(" source {egress}"),
                _ => String::new(),
            };
            let told = |reach: &Reach| reach.servers.get(side).proxy_out;
            let told = site.reach.as_deref().is_some_and(told);
            let told = if told { format!(" {}", haproxy::INTRODUCES) } else { String::new() };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\nbackend {name}\n    \
                     mode http\n    \
                     option http-server-close\n    \
                     option forwardfor\n    \
                     retry-on conn-failure empty-response\n    \
                     http-response set-header X-Segue-Side {side}\n    \
                     server app {address}{source}{told}\n"
            );
        }
    }
    let script = haproxy::SCRIPT.replace("@FOLDER@", &folder.to_string());
    Fragment {
        title: format!("HAProxy as front `{}`", front.name),
        text,
        files: vec![(plan.folder.join("segue.lua"), script)],
        once: haproxy::MAPS.map(|map| (plan.folder.join(map), String::new())).into(),
    }
}

fn for_nginx(front: &FrontPlan, plan: &NginxPlan, sites: &[SiteRoute]) -> Fragment {
    let file = plan.folder.join(nginx::FILE);
    let hosts: Vec<&str> = sites.iter().flat_map(|site| &site.hosts).map(String::as_str).collect();
    let listen: String = front.web().map(|port| format!("    listen {};\n", port.listen)).collect();
    let text = format!(
        "# Into the http block, before every server of these hosts.\n\
         include {};\n\
         map $status $segue_retry_after {{ 503 1; }}\n\
         map $http_upgrade $segue_connection {{ default upgrade; '' ''; }}\n\
         server {{\n{listen}    \
             server_name segue.invalid;\n    \
             location = {} {{ default_type text/plain; return 200 $segue_generation; }}\n\
         }}\n\
         server {{\n{listen}    \
             server_name {};\n    \
             location / {{\n        \
                 if ($segue_held) {{ return 503; }}\n        \
                 add_header Retry-After $segue_retry_after always;\n        \
                 add_header X-Segue-Front {} always;\n        \
                 add_header X-Segue-Side $segue_side always;\n        \
                 proxy_pass http://$segue_upstream;\n        \
                 proxy_http_version 1.1;\n        \
                 proxy_next_upstream off;\n        \
                 proxy_request_buffering off;\n        \
                 proxy_set_header Host $host;\n        \
                 proxy_set_header Upgrade $http_upgrade;\n        \
                 proxy_set_header Connection $segue_connection;\n        \
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n        \
                 proxy_set_header X-Forwarded-Proto $scheme;\n    \
             }}\n\
         }}\n",
        file.display(),
        nginx::GENERATION,
        hosts.join(" "),
        front.name,
    );
    Fragment {
        title: format!("nginx as front `{}`", front.name),
        text,
        files: Vec::new(),
        once: vec![(file, nginx::empty())],
    }
}

/// Returns the units whose sites a front has.
fn units_at<'a>(
    front: &'a FrontPlan,
    units: &'a [&UnitPlan],
) -> impl Iterator<Item = &'a UnitPlan> {
    let here = |unit: &&UnitPlan| unit.fronts.iter().any(|one| one.name == front.name);
    units.iter().copied().filter(here)
}

/// Returns the addresses from which a front connects to the web servers of a side.
fn comes_from(front: &FrontPlan, side: Side, units: &[&UnitPlan]) -> BTreeSet<IpAddr> {
    let known = units_at(front, units).flat_map(|unit| unit.comes_from(front, side));
    let mut all: BTreeSet<IpAddr> = known.collect();
    if all.is_empty() {
        all.extend(front.ports.iter().map(|port| port.listen.ip()));
    }
    all
}

/// How a server listens at an address: what clients speak first there.
#[derive(Default)]
struct Speaks {
    tls: bool,
    proxy: bool,
}

/// What a server needs whose ports a front joins.
fn shared(front: &FrontPlan, units: &[&UnitPlan]) -> Fragment {
    let joined = || front.ports.iter().filter(|port| port.join);
    let ports: BTreeMap<_, _> = joined()
        .map(|p| (p.listen, Speaks { tls: p.kind == PortKind::Tls, proxy: p.proxy_in }))
        .collect();
    let mut behind = BTreeMap::new();
    if joined().any(|port| port.kind != PortKind::Tcp) {
        for server in units_at(front, units).flat_map(|unit| unit.backends(front.side)) {
            let proxy = server.proxy_out;
            behind.insert(server.address, Speaks { tls: server.tls.is_some(), proxy });
            let tls = server.passthrough.into_iter().chain(server.acme_tls);
            behind.extend(tls.map(|address| (address, Speaks { tls: true, proxy })));
        }
    }
    for port in joined() {
        let strangers = port.strangers();
        behind.extend(strangers.map(|at| (at, Speaks { tls: true, proxy: port.proxy_in })));
        let tcp = port.tcp.as_ref();
        behind.extend(tcp.map(|tcp| {
            (*tcp.backends.get(front.side), Speaks { tls: false, proxy: tcp.proxy_out })
        }));
    }
    let words = |speaks: &Speaks, tls: &'static str, proxy: &'static str| {
        let (tls, proxy) =
            (if speaks.tls { tls } else { "" }, if speaks.proxy { proxy } else { "" });
        format!("{tls}{proxy}")
    };
    let mut text = String::from(
        "# nginx, in every server block of these ports (`reuseport` once for each address):\n",
    );
    for (port, speaks) in &ports {
        let words = words(speaks, " ssl", " proxy_protocol");
        let _ = writeln!(text, "listen {port}{words} reuseport;");
    }
    for (address, speaks) in &behind {
        let words = words(speaks, " ssl", " proxy_protocol");
        let _ = writeln!(text, "listen {address}{words};");
    }
    text.push_str(
        "\n# A first `reuseport` is in force once nginx was started anew; a reload is enough for the rest.\n\n\
         # HAProxy, in the frontend (it shares its ports unless `noreuseport` is set):\n",
    );
    for (address, speaks) in ports.iter().chain(&behind) {
        let words = words(speaks, " ssl crt CERTIFICATES", " accept-proxy");
        let _ = writeln!(text, "bind {address}{words}");
    }
    Fragment {
        title: format!("the server that front `{}` joins", front.name),
        text,
        files: Vec::new(),
        once: Vec::new(),
    }
}

/// What a web server needs to see visitors' addresses and not those of the fronts.
fn real_addresses(
    side: Side,
    fronts: &BTreeSet<IpAddr>,
    logs: &[(&str, Option<&Path>)],
) -> Fragment {
    let mut text = String::from("# nginx, in the http block:\n");
    for front in fronts {
        let _ = writeln!(text, "set_real_ip_from {front};");
    }
    text.push_str("real_ip_header X-Forwarded-For;\nreal_ip_recursive on;\n\n");
    text.push_str("# Apache, with mod_remoteip:\nRemoteIPHeader X-Forwarded-For\n");
    for front in fronts {
        let _ = writeln!(text, "RemoteIPInternalProxy {front}");
    }
    text.push_str(
        "\n# Log the address of the connection too, at the end of each line: by that requests are told\n\
         # which came through no front. nginx, in the http block:\n\
         log_format segue '$remote_addr - $remote_user [$time_local] \"$request\" $status '\n    \
             '$body_bytes_sent \"$http_referer\" \"$http_user_agent\" peer=$realip_remote_addr';\n",
    );
    for (site, log) in logs {
        text.push_str(&log_line(site, "server block", "access_log", *log, ";"));
    }
    text.push_str(
        "\n# Apache, for the whole server:\n\
         LogFormat \"%a %l %u %t \\\"%r\\\" %>s %b \\\"%{Referer}i\\\" \\\"%{User-Agent}i\\\" peer=%{c}a\" segue\n",
    );
    for (site, log) in logs {
        text.push_str(&log_line(site, "virtual host", "CustomLog", *log, ""));
    }
    Fragment {
        title: format!("visitors' addresses at the web servers of the {side}"),
        text,
        files: Vec::new(),
        once: Vec::new(),
    }
}

/// Returns the line that names a site's log. Beside another one of its own each request would be
/// logged twice, and once without the connection's address.
fn log_line(site: &str, place: &str, word: &str, log: Option<&Path>, end: &str) -> String {
    let to = format!("# Site `{site}`: in its {place}, in place of its own {word} line:\n");
    match log {
        Some(log) => format!("{to}{word} {} segue{end}\n", log.display()),
        None => format!("{to}# {word} FILE segue{end}\n"),
    }
}
