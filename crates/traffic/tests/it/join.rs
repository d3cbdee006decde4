//! What is looked at before a server's port is joined, and what the server has to be told.

use crate::support::{policy, run, unit};
use segue_model::plan::{PortKind, PortPlan, TlsPlan, UnitPlan};
use segue_model::{Severity, Sides};
use segue_traffic::{FrontSettings, Fronts, fragments};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

struct Nginx(Child);

impl Nginx {
    /// Its servers are these; one of them listens at `port`.
    fn start(folder: &Path, servers: &str, port: SocketAddr) -> Self {
        let folder = folder.display();
        let config = format!(
            "user root; daemon off; worker_processes 2; pid {folder}/pid;\n\
             error_log {folder}/error.log; events {{ }}\n\
             http {{ access_log off; client_body_temp_path {folder}/b;\n\
             proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n\
             uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             {servers} }}\n"
        );
        let path = format!("{folder}/nginx.conf");
        std::fs::write(&path, config).unwrap();
        let mut program = Command::new("nginx");
        program.args(["-c", &path, "-e", &format!("{folder}/error.log")]);
        let server = Self(program.spawn().expect("nginx: run scripts/setup"));
        let began = Instant::now();
        while TcpStream::connect(port).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "nginx listens");
        }
        server
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM lets the master take its workers along.
        let id = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn free(address: &str) -> SocketAddr {
    TcpListener::bind(address).unwrap().local_addr().unwrap()
}

/// A unit whose front at the source joins a server.
fn joining(folder: &Path, live: SocketAddr, behind: SocketAddr) -> UnitPlan {
    let reached = Sides { source: behind, target: behind };
    let mut unit = unit(folder, live, free("127.0.0.28:0"), &reached);
    unit.fronts[0].ports[0].join = true;
    unit
}

fn fronts(unit: &UnitPlan) -> Arc<Fronts> {
    let (policy, run) = (Arc::new(policy()), run());
    Fronts::new(FrontSettings { unit: unit.clone(), policy, run, program: "none".into() })
}

/// Returns what is found before the fronts are inserted.
async fn found(fronts: &Fronts) -> Vec<String> {
    let found = fronts.preflight().await.into_iter();
    let weight = |one: &Severity| if *one == Severity::Warn { "warn " } else { "" };
    found
        .map(|one| format!("{}{} {} {}", weight(&one.severity), one.code, one.text, one.remedy))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_whether_a_server_shares_its_port_and_says_what_it_needs_for_that() {
    let folder = TempDir::new().unwrap();
    let (live, behind) = (free("127.0.0.26:0"), free("127.0.0.27:0"));
    let unit = joining(folder.path(), live, behind);
    let fronts = fronts(&unit);
    let nobody = found(&fronts).await;
    assert!(nobody.len() == 1 && nobody[0].contains("no server listens there"), "{nobody:?}");
    let server = format!("server {{ listen {live}; listen {behind}; return 200; }}");
    let alone = Nginx::start(folder.path(), &server, live);
    let shared = found(&fronts).await;
    assert!(shared.len() == 1 && shared[0].starts_with("SG0178 "), "{shared:?}");
    assert!(shared[0].contains("without SO_REUSEPORT") && shared[0].contains("take_over"));
    drop(alone);
    let server = server.replacen(';', " reuseport;", 1);
    let _nginx = Nginx::start(folder.path(), &server, live);
    assert_eq!(found(&fronts).await, [""; 0]);
    assert_eq!(
        fronts.insert().what().split("; ").next().unwrap(),
        format!("front `source` joins the live server at {live}")
    );

    let all = fragments(&[&unit]);
    assert_eq!(all[0].title, "the server that front `source` joins");
    assert!(all[0].text.contains(&format!("listen {live} reuseport;\nlisten {behind};\n")));
    assert!(all[0].text.contains(&format!("bind {live}\nbind {behind}\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_whether_the_server_answers_at_its_other_port_as_at_the_joined_one() {
    const HOSTS: [&str; 2] = ["shop.example.test", "www.example.test"];
    let folder = TempDir::new().unwrap();
    let (live, behind) = (free("127.0.0.26:0"), free("127.0.0.27:0"));
    let mut unit = joining(folder.path(), live, behind);
    unit.sites[0].hosts = HOSTS.map(str::to_owned).into();
    let fronts = fronts(&unit);
    let server = |listen: &str, host: &str, answer: &str| {
        format!("server {{ {listen} server_name {host}; return {answer}; }}\n")
    };
    let (first, again) = (format!("listen {live} reuseport;"), format!("listen {live};"));
    let both = |first: &str| format!("{first} listen {behind};");
    let found = async |servers: String| {
        let _nginx = Nginx::start(folder.path(), &servers, live);
        found(&fronts).await
    };
    let nobody = found(server(&first, "_", "200")).await;
    assert_eq!(nobody.len(), 1, "once a server: {nobody:?}");
    assert!(nobody[0].starts_with("SG0179 ") && nobody[0].contains(&behind.to_string()));
    assert!(nobody[0].contains("reload it"), "the next move: {nobody:?}");
    // The second host has no line for the other port: somebody else's page is there.
    let half = [
        server(&format!("listen {behind} default_server;"), "_", "404"),
        server(&both(&first), HOSTS[0], "200"),
        server(&again, HOSTS[1], "200"),
    ];
    let half = found(half.concat()).await;
    assert_eq!(half.len(), 1, "{half:?}");
    let told =
        format!("SG0179 `{}/` gets 200 from the live server at {live}, and 404 at", HOSTS[1]);
    assert!(half[0].starts_with(&told), "{half:?}");
    // A redirect to TLS at the joined port alone.
    let leads = [
        server(&first, "_", "301 https://$host$request_uri"),
        server(&format!("listen {behind};"), "_", "200"),
    ];
    let leads = found(leads.concat()).await;
    assert_eq!(leads.len(), 2, "{leads:?}");
    assert!(leads.iter().all(|one| one.starts_with("warn SG0179 ")), "{leads:?}");
    let whole = [server(&both(&first), HOSTS[0], "200"), server(&both(&again), HOSTS[1], "204")];
    assert_eq!(found(whole.concat()).await, [""; 0]);
}

#[test]
fn says_what_servers_need_at_each_port_and_whose_connections_are_fronts() {
    let folder = Path::new("/nowhere");
    let at = |address: &str| address.parse::<SocketAddr>().unwrap();
    let mut unit = joining(folder, at("192.0.2.10:80"), at("127.0.0.1:8080"));
    let plain = PortPlan::http(at("192.0.2.10:443"), false);
    let tls = TlsPlan {
        certificates: vec!["/etc/x".into()],
        default_certificate: None,
        http2: true,
        strangers: Some(at("127.0.0.1:8443")),
    };
    let tls = PortPlan { kind: PortKind::Tls, join: true, tls: Some(tls), ..plain };
    unit.fronts[0].ports.push(tls);
    // A unit that has its sites elsewhere.
    let mut other = joining(folder, at("192.0.2.99:80"), at("192.0.2.99:8099"));
    other.fronts.iter_mut().for_each(|front| front.name.push_str("-other"));
    let all = fragments(&[&unit, &other]);
    let text = |title: &str| &all.iter().find(|one| one.title == title).unwrap().text;
    let joined = text("the server that front `source` joins");
    assert!(
        joined.contains(
            "listen 192.0.2.10:80 reuseport;\nlisten 192.0.2.10:443 ssl reuseport;\n\
             listen 127.0.0.1:8080;\nlisten 127.0.0.1:8443 ssl;\n\n"
        ),
        "{joined}"
    );
    assert!(joined.contains("bind 127.0.0.1:8443 ssl crt "), "{joined}");
    assert!(!joined.contains("192.0.2.99"), "{joined}");
    let own = text("visitors' addresses at the web servers of the source");
    for address in ["127.0.0.1", "192.0.2.99"] {
        assert!(own.contains(&format!("set_real_ip_from {address};\n")), "{own}");
    }
    assert!(!own.contains("192.0.2.10;"), "nothing comes from there: {own}");
    // Which connection a request came by stands where no visitor can write.
    let block = |site: &str| format!("# Site `{site}`: in its server block, in place of its own ");
    let (shop, blog) = (unit.sites[0].name.as_str(), other.sites[0].name.as_str());
    assert!(own.contains(&format!(
        "\"$http_user_agent\" peer=$realip_remote_addr';\n{}access_log line:\n# access_log FILE segue;\n\
         {}access_log line:\n# access_log FILE segue;\n",
        block(shop),
        block(blog),
    )), "{own}");
    let lines = |text: &str, word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!((lines(own, "access_log "), lines(own, "CustomLog ")), (0, 0), "{own}");
    let shop = shop.to_owned();
    unit.sites[0].backends.source.access_log = Some("/var/log/shop.log".into());
    let all = fragments(&[&unit]);
    let own = &all.iter().find(|one| one.title.ends_with("of the source")).unwrap().text;
    assert!(own.contains(&format!(
        "{}access_log line:\naccess_log /var/log/shop.log segue;\n",
        block(&shop)
    )));
    assert!(
        own.contains(&format!(
            "\\\"%{{User-Agent}}i\\\" peer=%{{c}}a\" segue\n\
         # Site `{shop}`: in its virtual host, in place of its own CustomLog line:\n\
         CustomLog /var/log/shop.log segue\n"
        )),
        "{own}"
    );
}
