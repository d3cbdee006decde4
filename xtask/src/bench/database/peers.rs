//! What ours is compared with, as its own manuals say to run it.

use super::data::SCHEMA;
use crate::bench::mariadb::{PASSWORD, Pair, Server};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const DUMP: &str = "mariadb-dump | mariadb";
pub(super) const MYDUMPER: &str = "mydumper, myloader";
/// With the target as its replica.
pub(super) const PT: &str = "pt-table-checksum";
/// It then says nothing of the target.
pub(super) const PT_ALONE: &str = "pt-table-checksum alone";
pub(super) const CHECKSUM: &str = "CHECKSUM TABLE";

const USER: &str = "segue_admin";
/// Schema with what pt-table-checksum is told.
const TOLD: &str = "bench_peers";
const PATIENCE: Duration = Duration::from_secs(30);

/// A client's program, told where the server is.
fn client(program: &str, server: &Server) -> Command {
    let mut command = Command::new(program);
    if program.starts_with("mariadb") {
        command.arg("--no-defaults").arg("--protocol=tcp");
    }
    command
        .arg(format!("--host={}", server.address.ip()))
        .arg(format!("--port={}", server.address.port()))
        .arg(format!("--user={USER}"))
        .arg(format!("--password={PASSWORD}"))
        .stdin(Stdio::null());
    command
}

/// Runs a program to its end.
fn ends(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start `{name}`"))?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// Pipes a dump into a client.
pub(super) fn dump(pair: &Pair, _folder: &Path) -> Result<()> {
    let mut dump = client("mariadb-dump", &pair.source)
        .args(["--single-transaction", "--quick", SCHEMA])
        .stdout(Stdio::piped())
        .spawn()
        .context("start `mariadb-dump`")?;
    let mut load = client("mariadb", &pair.target);
    load.arg(SCHEMA).stdin(dump.stdout.take().context("a dump without output")?);
    ends(load)?;
    ensure!(dump.wait()?.success(), "mariadb-dump failed");
    Ok(())
}

/// Dumps into files and loads them, two threads each.
pub(super) fn mydumper(pair: &Pair, folder: &Path) -> Result<()> {
    let folder = folder.join("mydumper");
    let mut dump = client("mydumper", &pair.source);
    dump.args(["--threads=2", "--rows=50000"])
        .arg(format!("--database={SCHEMA}"))
        .arg(format!("--outputdir={}", folder.display()));
    ends(dump)?;
    let mut load = client("myloader", &pair.target);
    load.arg("--threads=2")
        .arg(format!("--database={SCHEMA}"))
        .arg(format!("--directory={}", folder.display()));
    ends(load)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Makes the target a replica of the source from here on: both hold the same.
pub(super) fn follow(pair: &Pair) -> Result<()> {
    let at = pair.source.sql("SHOW MASTER STATUS")?;
    let mut at = at.split_ascii_whitespace();
    let (file, offset) = (at.next().context("no binary log")?, at.next().context("no offset")?);
    let (source, target) = (pair.source.address, pair.target.address);
    pair.target.sql(&format!(
        "CHANGE MASTER TO MASTER_HOST = '{}', MASTER_PORT = {}, MASTER_USER = '{USER}', \
         MASTER_PASSWORD = '{PASSWORD}', MASTER_LOG_FILE = '{file}', MASTER_LOG_POS = {offset}, \
         MASTER_USE_GTID = no; START SLAVE",
        source.ip(),
        source.port()
    ))?;
    pair.source.sql(&format!(
        "CREATE SCHEMA {TOLD}; \
         CREATE TABLE {TOLD}.dsns (id INT PRIMARY KEY AUTO_INCREMENT, parent_id INT, dsn VARCHAR(255)); \
         INSERT INTO {TOLD}.dsns (dsn) VALUES ('h={},P={},u={USER},p={PASSWORD}')",
        target.ip(),
        target.port()
    ))?;
    let began = Instant::now();
    while pair.target.sql(&format!("SELECT dsn FROM {TOLD}.dsns")).is_err() {
        let status = || pair.target.sql("SHOW SLAVE STATUS\\G").unwrap_or_default();
        ensure!(began.elapsed() < PATIENCE, "the target does not follow: {}", status());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Computes the checksums of the source, and compares the replica's with them.
pub(super) fn pt(pair: &Pair, with_replica: bool) -> Result<()> {
    let address = |server: &Server| {
        format!("h={},P={},u={USER},p={PASSWORD}", server.address.ip(), server.address.port())
    };
    let way = if with_replica {
        format!("dsn={},D={TOLD},t=dsns", address(&pair.source))
    } else {
        "none".into()
    };
    let mut command = Command::new("pt-table-checksum");
    command
        .args(["--no-version-check", "--no-check-binlog-format", "--databases", SCHEMA])
        // Or it leaves small tables out whose numbers of rows are estimated apart.
        .arg("--chunk-size-limit=0")
        .arg(format!("--recursion-method={way}"))
        .arg(address(&pair.source))
        .stdin(Stdio::null());
    ends(command)
}
