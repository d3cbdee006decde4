//! What is looked at before a port is redirected, and what an undo does for a front of which no
//! process is left: in a network namespace, where the packet filter is this test's own.

use crate::support::{policy, run, unit};
use segue_doors::nft::{Lasts, Redirect, Standing, Table};
use segue_model::event::{Attempt, Phase};
use segue_model::plan::UnitPlan;
use segue_model::{Epoch, Sides, StepName, UnitName};
use segue_port::{Authority, Call, NoProgress};
use segue_traffic::{FrontSettings, Fronts};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const INSIDE: &str = "SEGUE_TEST_TRAFFIC_REDIRECT";
const LIVE: &str = "10.9.5.1:80";
const EGRESS: &str = "10.9.5.250";

#[test]
fn looks_before_it_redirects_and_takes_a_dead_fronts_table_away() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(inside());
    }
    let test = "redirect::looks_before_it_redirects_and_takes_a_dead_fronts_table_away";
    let script = format!(
        "ip link set lo up && ip address add 10.9.5.1/32 dev lo && \
         ip address add {EGRESS}/32 dev lo && exec \"$0\" --exact {test} --nocapture"
    );
    let mut room = Command::new("unshare");
    room.args(["--map-root-user", "--net", "sh", "-c", &script]);
    let status = room.arg(std::env::current_exe().unwrap()).env(INSIDE, "1").status();
    let status = status.expect("unshare: apt-get install util-linux");
    assert!(status.success(), "in a namespace (needs user namespaces or root, and nftables)");
}

fn nft(args: &[&str]) {
    let done = Command::new("nft").args(args).status().expect("nft: apt-get install nftables");
    assert!(done.success(), "{args:?}");
}

fn fronts(unit: UnitPlan) -> Arc<Fronts> {
    let policy = Arc::new(policy());
    Fronts::new(FrontSettings { unit, policy, run: run(), program: "none".into() })
}

async fn codes(unit: &UnitPlan) -> Vec<String> {
    fronts(unit.clone()).preflight().await.into_iter().map(|finding| finding.code).collect()
}

async fn inside() {
    let folder = TempDir::new().unwrap();
    let live: SocketAddr = LIVE.parse().unwrap();
    let server = TcpListener::bind(live).unwrap();
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut unit = unit(folder.path(), live, target, &Sides { source: live, target: live });
    unit.fronts[0].ports[0].redirect = Some(8_080);
    unit.fronts[0].egress = Some(EGRESS.parse().unwrap());
    assert_eq!(codes(&unit).await, [] as [&str; 0]);
    let other = TcpListener::bind("10.9.5.1:8080").unwrap();
    assert_eq!(codes(&unit).await, ["SG0159"], "somebody listens where the front is to");
    drop(other);
    nft(&["add", "table", "ip", "docker"]);
    nft(&["add", "chain", "ip", "docker", "pre", "{ type nat hook prerouting priority -100; }"]);
    nft(&["add", "rule", "ip", "docker", "pre", "tcp", "dport", "80", "dnat", "to", "10.0.0.9:80"]);
    assert_eq!(codes(&unit).await, ["SG0170"], "somebody else leads the port elsewhere");
    nft(&["delete", "table", "ip", "docker"]);
    drop(server);
    assert_eq!(codes(&unit).await, ["SG0158"], "nobody is there to stand before");

    let redirects = vec![Redirect { from: live, to: 8_080 }];
    let table = Table::new("run-1", "source", redirects, EGRESS.parse().unwrap());
    table.insert(Lasts::Stays).await.unwrap();
    let insert = fronts(unit).insert();
    assert!(insert.by_hand().ends_with("nft delete table inet segue_run_1_source"));
    assert!(insert.what().contains("is led new connections of 10.9.5.1:80 at port 8080"));
    let call = Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: run(),
            unit: UnitName("shop".into()),
            step: StepName("insert".into()),
            attempt: Attempt { phase: Phase::Prepare, number: 1 },
            epoch: Epoch(1),
        },
        prepared: serde_json::Value::Null,
        facts: Arc::default(),
        time_allowed: Duration::from_secs(3),
    };
    for _ in 0..2 {
        insert.undo(&call).await.unwrap();
        assert_eq!(table.standing().await.unwrap(), Standing::None, "no process is left to do it");
    }
}
