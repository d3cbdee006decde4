//! Web servers that are to be told of clients, and one that does not expect it.

use segue_model::Sides;
use segue_model::plan::{Backend, BackendCheck, MeasurePlan, SitePlan, UnitPlan};
use segue_probe::preflight;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// nginx that wants the PROXY protocol at one port and not at the other.
struct Nginx {
    process: Child,
    told: SocketAddr,
    plain: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    async fn start() -> Self {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (told, plain, folder) = (free(), free(), TempDir::new().unwrap());
        let at = folder.path().display();
        let config = format!(
            "daemon off; pid {at}/pid; events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n\
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen {told} proxy_protocol; return 200; }}\n\
             server {{ listen {plain}; return 200; }} }}\n"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, config).unwrap();
        let log = folder.path().join("error.log");
        let process = Command::new("nginx").arg("-c").arg(&path).arg("-e").arg(&log).spawn();
        let process = process.expect("nginx is installed");
        let began = Instant::now();
        while TcpStream::connect(plain).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "nginx does not listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { process, told, plain, _folder: folder }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM lets the process take its workers along.
        let id = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

fn unit(source: SocketAddr, target: SocketAddr, probed: SocketAddr) -> UnitPlan {
    let backend = |address| Backend {
        address,
        beside: Vec::new(),
        check: BackendCheck::Connect,
        tls: None,
        passthrough: None,
        acme_tls: None,
        proxy_out: true,
        probe_address: Some(probed),
        health_path: "/".into(),
        access_log: None,
        concurrency: 1,
    };
    UnitPlan {
        name: "a".into(),
        sites: vec![SitePlan {
            name: "a".into(),
            hosts: vec!["a.test".into()],
            backends: Sides { source: backend(source), target: backend(target) },
            answer_timeout_s: None,
            probe: None,
            rehearsal: None,
        }],
        fronts: Vec::new(),
        databases: Vec::new(),
        trees: Vec::new(),
        zones: Vec::new(),
        cdns: Vec::new(),
        workers: Vec::new(),
        requests_per_day: None,
        created: None,
        measures: MeasurePlan::default(),
    }
}

#[tokio::test]
async fn a_server_that_does_not_expect_the_protocol_is_refused() {
    let nginx = Nginx::start().await;
    let findings = preflight(&unit(nginx.told, nginx.plain, nginx.plain), 41).await;
    let told: Vec<_> =
        findings.iter().filter(|one| one.code == "SG0534").map(|one| one.text.clone()).collect();
    let [only] = told.as_slice() else { panic!("{findings:?}") };
    assert!(only.contains(&format!("web server {} of the target", nginx.plain)), "{only}");
}
