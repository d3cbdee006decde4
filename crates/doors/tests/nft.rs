//! The packet filter, in a network namespace of its own: without the right to make one there is
//! nothing to test, and the test says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use segue_doors::nft::{LAPSES, Lasts, Redirect, Standing, Table};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const INSIDE: &str = "SEGUE_TEST_NFT";
const LIVE: &str = "10.9.9.1:80";
const FRONT: u16 = 8_080;
const EGRESS: &str = "10.9.9.250";

/// Rules of somebody else, which nobody may touch.
const FOREIGN: &str = "table inet filter {\n\tset known {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.1 }\n\t}\n\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tip saddr @known tcp dport 22 counter packets 0 bytes 0 drop\n\t}\n}\ntable ip nat {\n\tchain post {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n\t\tip saddr 192.0.2.0/24 masquerade\n\t}\n}\n";

#[test]
fn stands_before_a_live_port_and_leaves_it_without_a_trace() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        println!("{}", runtime.block_on(inside()));
        return;
    }
    let test = std::env::current_exe().unwrap();
    let script = "ip link set lo up && ip address add 10.9.9.1/32 dev lo && \
                  ip address add 10.9.9.250/32 dev lo && exec \"$0\" --nocapture";
    let mut room = Command::new("unshare");
    room.args(["--map-root-user", "--net", "sh", "-c", script]).arg(test).env(INSIDE, "1");
    let status = room.status().expect("unshare: apt-get install util-linux");
    assert!(status.success(), "in a namespace (needs user namespaces or root, and nftables)");
}

/// A server that greets with its name and then repeats what it gets.
async fn serve(address: SocketAddr, name: &'static str) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 64];
                stream.write_all(name.as_bytes()).await?;
                loop {
                    let read = stream.read(&mut bytes).await?;
                    if read == 0 {
                        return Ok::<_, std::io::Error>(());
                    }
                    stream.write_all(&bytes[..read]).await?;
                }
            });
        }
    });
}

async fn connect(from: Option<&str>) -> std::io::Result<(TcpStream, String)> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind(format!("{from}:0").parse().unwrap())?;
    }
    let mut stream = socket.connect(LIVE.parse().unwrap()).await?;
    let mut name = [0; 5];
    stream.read_exact(&mut name).await?;
    Ok((stream, String::from_utf8_lossy(&name).into_owned()))
}

async fn goes_on(stream: &mut TcpStream) -> bool {
    let mut back = [0; 4];
    let asked = async {
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut back).await
    };
    matches!(tokio::time::timeout(Duration::from_secs(3), asked).await, Ok(Ok(_)))
        && &back == b"ping"
}

fn nft(args: &[&str]) -> String {
    let listed = Command::new("nft").args(args).output().expect("nft: apt-get install nftables");
    assert!(listed.status.success(), "{args:?}: {}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout).unwrap()
}

async fn comes_and_goes_with_who_renews_it(table: &Table) {
    let who = async || connect(None).await.unwrap().1;
    table.insert(Lasts::Renewed).await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(LAPSES / 4).await;
        table.renew(Lasts::Renewed).await.unwrap();
        assert_eq!(who().await, "front", "renewed");
    }
    let (mut led, _) = connect(None).await.unwrap();
    tokio::time::sleep(LAPSES + LAPSES / 5).await;
    assert_eq!(
        (who().await.as_str(), table.standing().await.unwrap()),
        ("live ", Standing::Lapsed)
    );
    assert!(goes_on(&mut led).await, "what was led goes on");
    table.renew(Lasts::Stays).await.unwrap();
    tokio::time::sleep(LAPSES + LAPSES / 5).await;
    assert_eq!(
        (who().await.as_str(), table.standing().await.unwrap()),
        ("front", Standing::Redirects)
    );
    table.delete().await.unwrap();
    assert_eq!(table.renew(Lasts::Renewed).await.unwrap_err().code, "SG0190", "nothing to renew");
}

/// Rules of others that lead the port elsewhere are found; a trial leaves nothing.
async fn claimed(table: &Table) {
    assert_eq!(table.claims().await.unwrap(), []);
    nft(&[
        "add", "rule", "ip", "nat", "post", "ip", "daddr", "10.9.9.1", "tcp", "dport", "81",
        "accept",
    ]);
    nft(&["add", "chain", "ip", "nat", "pre", "{ type nat hook prerouting priority -100; }"]);
    nft(&["add", "rule", "ip", "nat", "pre", "tcp", "dport", "80", "redirect", "to", ":81"]);
    let found = table.claims().await.unwrap();
    let [claim] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((claim.table.as_str(), claim.port), ("ip nat", LIVE.parse().unwrap()));
    assert_eq!(claim.rule, "tcp dport 80 redirect to :81");
    let before = nft(&["list", "ruleset"]);
    table.try_insert().await.unwrap();
    assert_eq!(nft(&["list", "ruleset"]), before);
}

/// Returns what was met.
async fn inside() -> String {
    let rules = std::env::temp_dir().join(format!("segue-nft-{}", std::process::id()));
    std::fs::write(&rules, FOREIGN).unwrap();
    nft(&["-f", &rules.display().to_string()]);
    std::fs::remove_file(&rules).unwrap();
    let before = nft(&["list", "ruleset"]);
    assert_eq!(before, FOREIGN, "as they were written");
    serve(LIVE.parse().unwrap(), "live ").await;
    serve(format!("10.9.9.1:{FRONT}").parse().unwrap(), "front").await;

    let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, failed) = (stop.clone(), failed.clone());
            tokio::spawn(async move {
                let mut met = BTreeMap::<String, usize>::new();
                while !stop.load(Ordering::SeqCst) {
                    let name = match connect(None).await {
                        Ok((mut stream, name)) => goes_on(&mut stream).await.then_some(name),
                        Err(_) => None,
                    };
                    match name {
                        Some(name) => *met.entry(name).or_default() += 1,
                        None => drop(failed.fetch_add(1, Ordering::SeqCst)),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                met
            })
        })
        .collect();
    let redirects = vec![Redirect { from: LIVE.parse().unwrap(), to: FRONT }];
    let table = Table::new("run-1", "source", redirects, EGRESS.parse().unwrap());
    let (mut early, name) = connect(None).await.unwrap();
    assert_eq!((name.as_str(), table.standing().await.unwrap()), ("live ", Standing::None));
    for _ in 0..3 {
        table.insert(Lasts::Renewed).await.unwrap();
        assert_eq!(table.standing().await.unwrap(), Standing::Redirects);
        let (mut led, name) = connect(None).await.unwrap();
        assert_eq!(name, "front");
        assert_eq!(connect(Some(EGRESS)).await.unwrap().1, "live ", "the front's own pass");
        assert!(goes_on(&mut early).await, "open before, it goes on");
        table.insert(Lasts::Renewed).await.unwrap();
        assert!(goes_on(&mut led).await, "done twice, it does no harm");
        tokio::time::sleep(Duration::from_millis(150)).await;

        table.open().await.unwrap();
        assert_eq!(table.standing().await.unwrap(), Standing::Open);
        assert_eq!(connect(None).await.unwrap().1, "live ");
        assert!(goes_on(&mut led).await && goes_on(&mut early).await, "both go on");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut met = BTreeMap::<String, usize>::new();
    for client in load {
        for (name, count) in client.await.unwrap() {
            *met.entry(name).or_default() += count;
        }
    }
    assert_eq!(failed.load(Ordering::SeqCst), 0, "{met:?}");
    assert!(met.values().all(|count| *count > 20) && met.len() == 2, "{met:?}");
    comes_and_goes_with_who_renews_it(&table).await;
    assert!(goes_on(&mut early).await);
    table.delete().await.unwrap();
    table.delete().await.unwrap();
    assert_eq!(table.standing().await.unwrap(), Standing::None);
    assert!(goes_on(&mut early).await);
    assert_eq!(nft(&["list", "ruleset"]), before, "to the byte");
    claimed(&table).await;
    format!("{met:?} new connections by who took them, none failed")
}
