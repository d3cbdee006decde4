//! Claims about what a run shows of its publish: at a real resolver, which is told to forget.
//!
//! They need the program `segue` beside the other binaries (`cargo build` makes it).

use crate::run::Run;
use segue_testkit::world::World;
use serde_json::Value;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A resolver that asks the world's name servers; ends with the value.
struct Unbound {
    child: Child,
    address: SocketAddr,
    config: PathBuf,
}

impl Unbound {
    fn start(dir: &Path, servers: &[SocketAddr]) -> Self {
        let address = free_port();
        std::fs::create_dir_all(dir).unwrap();
        let config = dir.join("unbound.conf");
        let home = dir.display();
        let stubs: String =
            servers.iter().map(|s| format!("  stub-addr: {}@{}\n", s.ip(), s.port())).collect();
        let text = format!(
            "server:\n  directory: \"{home}\"\n  pidfile: \"\"\n  use-syslog: no\n  \
             logfile: \"{home}/log\"\n  chroot: \"\"\n  username: \"\"\n  interface: 127.0.0.1\n  \
             port: {}\n  num-threads: 1\n  do-ip6: no\n  access-control: 127.0.0.0/8 allow\n  \
             do-not-query-localhost: no\n  module-config: \"iterator\"\n  \
             local-zone: \"test.\" nodefault\n\
             remote-control:\n  control-enable: yes\n  control-interface: \"{home}/control\"\n  \
             control-use-cert: no\n\
             stub-zone:\n  name: \"example.test\"\n{stubs}",
            address.port()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/unbound");
        command.args(["-d", "-c"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let unbound = Self { child, address, config };
        let deadline = Instant::now() + PATIENCE;
        while !dir.join("control").exists() {
            assert!(Instant::now() < deadline, "unbound does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        unbound
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

/// Says whether every resolver has what was published for a side.
fn everywhere(status: &Value, side: &str) -> bool {
    let spread = &status["spread"];
    let sets = spread["resolvers"][0]["sets"].as_array();
    let all = |sets: &Vec<Value>| !sets.is_empty() && sets.iter().all(|s| s["everywhere"] == true);
    spread["to"] == side && sets.is_some_and(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_report_show_how_far_a_publish_came_both_ways() {
    let servers = |world: &World| world.description().zone.servers.clone();
    let dir = tempfile::tempdir().unwrap();
    let mut unbound = None;
    let run = Run::synced_with_world(|world, plan| {
        let started = Unbound::start(&dir.path().join("unbound"), &servers(world));
        let measure = format!(
            "\n[measure.resolvers]\naddresses = [\"{}\"]\nflush = [[\"/usr/sbin/unbound-control\", \
             \"-c\", \"{}\", \"flush_type\", \"{{name}}\", \"{{type}}\"], [\"/bin/false\"]]\n",
            started.address,
            started.config.display()
        );
        unbound = Some(started);
        plan + &measure
    });
    let before = run.segue.status().unwrap();
    assert!(before["spread"].is_null(), "nothing is published: {before:#}");
    run.segue.must(&["cutover", &run.hash], 0).unwrap();
    let there = run
        .segue
        .wait_for("the resolver has the target", PATIENCE, |status| everywhere(status, "target"))
        .unwrap();
    let spread = &there["spread"];
    let set = &spread["resolvers"][0]["sets"][0];
    assert_eq!(set["resolvers"][0]["verdict"], "new", "{spread:#}");
    assert!(set["reached"][2]["after_ms"].is_u64(), "{spread:#}");
    assert_eq!(set["former_ttl_s"], 2, "the TTL was lowered: {spread:#}");
    let flush = spread["flush"].as_array().unwrap();
    assert_eq!((&flush[0]["runs"], &flush[0]["failed"]), (&1.into(), &0.into()), "{spread:#}");
    assert_eq!((&flush[1]["runs"], &flush[1]["failed"]), (&1.into(), &1.into()), "{spread:#}");
    assert!(spread["queries"].is_null(), "the plan names no log: {spread:#}");
    assert_eq!(spread["fronts"]["left"], "source");
    assert_eq!(spread["resolvers_former_percent"], 0.0, "{spread:#}");
    let text = run.segue.command(&["status"]).output().unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for wanted in ["published for the target", "1 of 1 resolvers; 50 % after", "NOT WHOLE, 1 of 1"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }

    run.segue.must(&["rollback"], 0).unwrap();
    run.segue
        .wait_for("the resolver has the source", PATIENCE, |status| everywhere(status, "source"))
        .unwrap();
    let report = run.report();
    let looks = report["spread"].as_array().unwrap();
    let sides: Vec<&str> = looks.iter().filter_map(|look| look["to"].as_str()).collect();
    assert_eq!(sides, ["target", "source"], "{looks:#?}");
    assert!(looks.iter().all(|look| look["resolvers"][0]["sets"][0]["there"] == 1), "{looks:#?}");
    let page = run.world.description().dir.join("report").join("report.html");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("How far what was published came"));
    drop(unbound);
}
