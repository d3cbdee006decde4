//! An oracle that shares nothing with Segue: `mariadb-dump` of both sides, byte by byte, and the
//! servers' own checksums of the values as they are stored.

use crate::servers::{Server, Turn};
use segue_model::Side::{self, Source, Target};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What of the events is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Events {
    /// Everything but whether they are enabled: they are off where nobody writes.
    Off,
    /// Whether they are enabled too.
    AsTheyAre,
}

fn start(server: &Server) -> Child {
    Command::new("mariadb-dump")
        .args(["--no-defaults", "--protocol=tcp", "--user=root", "--host=127.0.0.1"])
        .arg(format!("--port={}", server.address.port()))
        .args([
            "--default-character-set=utf8mb4",
            "--max-allowed-packet=64M",
            "--single-transaction",
        ])
        .args(["--skip-extended-insert", "--hex-blob", "--order-by-primary", "--skip-comments"])
        .args(["--complete-insert", "--routines", "--events", "--triggers", "--skip-dump-date"])
        .args(["--tz-utc", "--databases", "shop"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mariadb-dump of the Debian package mariadb-client")
}

fn lines(child: Child, events: Events) -> Vec<String> {
    let out = child.wait_with_output().unwrap();
    // A view that nobody can use may be there; what matters is that both sides say the same.
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let text = String::from_utf8_lossy(&out.stdout);
    let mut lines: Vec<String> = text.lines().map(|line| plain(line, events)).collect();
    // A table without a key has no order: its rows stand beside each other, sorted.
    let mut from = 0;
    while from < lines.len() {
        let same = |line: &String| line.starts_with("INSERT INTO `by_nothing`");
        let to = from + lines[from..].iter().take_while(|line| same(line)).count();
        lines[from..to].sort();
        from = to + 1;
    }
    lines
}

/// Leaves out what may differ: a table's counter, which `arm` levels, and the state of an event.
fn plain(line: &str, events: Events) -> String {
    let mut line = line.to_owned();
    if line.starts_with(") ENGINE=")
        && let Some(at) = line.find(" AUTO_INCREMENT=")
    {
        let digits = line[at + 16..].bytes().take_while(u8::is_ascii_digit).count();
        line.replace_range(at..at + 16 + digits, "");
    }
    if line.contains(" EVENT ") {
        // One that is off and was altered since the copy says so in other words at the other side.
        line = line.replace("PRESERVE DISABLE ON SLAVE", "PRESERVE DISABLE");
    }
    if events == Events::Off && line.contains(" EVENT ") {
        for state in ["PRESERVE ENABLE", "PRESERVE DISABLE"] {
            line = line.replace(state, "PRESERVE");
        }
    }
    line
}

/// Dumps one side.
pub(crate) fn dump(turn: &Turn, side: Side, events: Events) -> Vec<String> {
    lines(start(turn.pair.servers.get(side)), events)
}

/// Returns the stored values' checksum of each table.
pub(crate) async fn checksums(turn: &Turn, side: Side) -> Vec<(String, Option<u64>)> {
    let mut root = turn.root(side).await;
    let tables: Vec<String> = root
        .rows(
            "SELECT CONCAT('`shop`.`', REPLACE(TABLE_NAME, '`', '``'), '`') FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = 'shop' AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME",
        )
        .await
        .unwrap();
    if tables.is_empty() {
        return Vec::new();
    }
    let sums = root.rows(format!("CHECKSUM TABLE {} EXTENDED", tables.join(", "))).await.unwrap();
    root.close().await;
    sums
}

/// Asserts that two dumps are equal, and shows the first line that is not.
pub(crate) fn assert_equal(one: &[String], other: &[String], when: &str) {
    assert!(one.len() > 20, "{when}: an empty dump proves nothing: {one:?}");
    for number in 0..one.len().max(other.len()) {
        let (here, there) = (one.get(number), other.get(number));
        if here != there {
            let short = |line: Option<&String>| {
                line.map(|line| line.chars().take(6_000).collect::<String>())
            };
            panic!("{when}: line {number}\n{:?}\n{:?}", short(here), short(there));
        }
    }
}

/// Asserts that both sides hold the same. Nothing may be written meanwhile.
pub(crate) async fn assert_same(turn: &Turn, when: &str) {
    let (source, target) =
        (start(turn.pair.servers.get(Source)), start(turn.pair.servers.get(Target)));
    let (source, target) = (lines(source, Events::Off), lines(target, Events::Off));
    assert_equal(&source, &target, when);
    assert_eq!(checksums(turn, Source).await, checksums(turn, Target).await, "{when}");
}

/// Waits until the other side has applied everything that `side` has written.
pub(crate) async fn caught_up(turn: &Turn, side: Side) {
    let position: String =
        turn.root(side).await.one("SELECT @@GLOBAL.gtid_binlog_pos").await.unwrap();
    let mut other = turn.root(side.other()).await;
    let begun = Instant::now();
    let wait = format!("SELECT MASTER_GTID_WAIT('{position}', 0.5)");
    while other.one::<i64>(&wait).await.unwrap() != 0 {
        let status: segue_doors::sql::Row = other.one("SHOW ALL SLAVES STATUS").await.unwrap();
        let error: String = status.get("Last_SQL_Error").unwrap();
        assert!(error.is_empty() && begun.elapsed() < Duration::from_secs(15), "{error}");
    }
    other.close().await;
}
