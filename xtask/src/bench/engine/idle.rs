//! 10,000 units that follow and are left alone: what the controller needs for them.
//!
//! What is real: both MariaDB servers, the schema, login, notes and heartbeat of every unit
//! at both, the stream between them with the filters of all units, the plan, the journal, and
//! the controller. What is not: one unit was synced by `segue sync`, and what that left at
//! the servers and in the journal was written for the others; their schemas have one empty
//! table. Copying them one after the other would measure the copy.

use super::plan::kilobytes;
use crate::bench::mariadb::{Pair, Server};
use crate::bench::result::Row;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const UNITS: usize = 10_000;
/// Tens of thousands of tables are made: what they cost is not what is measured.
const OPTIONS: &[&str] = &[
    "--innodb-buffer-pool-size=128M",
    "--innodb-file-per-table=0",
    "--innodb-flush-log-at-trx-commit=0",
    "--sync-frm=0",
    "--max-allowed-packet=64M",
];
const MEASURED: Duration = Duration::from_secs(30);
/// How long the controller has to take the run up and the stream to carry every unit.
const PATIENCE: Duration = Duration::from_secs(120);
/// What follows the take-up is no idling yet.
const SETTLING: Duration = Duration::from_secs(10);

/// Follows the fleet and returns the controller's share of a core, and its memory.
pub(super) fn measure(binary: &Path, scratch: &Path) -> Result<Vec<Row>> {
    let folder = scratch.join("idle");
    std::fs::create_dir_all(&folder)?;
    let pair = Pair::start(&folder, OPTIONS)?;
    let (one, many) = (folder.join("one"), folder.join("many"));
    pair.source.sql(&schema(&name(0)))?;
    let hash = plan(binary, &folder, &pair, &one, 1)?;
    segue(binary, &one, &["sync", &hash])?;
    segue(binary, &one, &["stop"])?;
    println!("one unit is synced; its traces are written for {UNITS}");
    std::thread::scope(|scope| {
        let filling = [&pair.source, &pair.target].map(|server| scope.spawn(|| fill(server)));
        filling.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| bail!("filling a server panicked"))
        })
    })?;
    let hash = plan(binary, &folder, &pair, &many, UNITS)?;
    let text = |path: &Path| path.display().to_string();
    let told = super::program("segue-server", "fleet", &[&text(&one), &text(&many), &hash])?;
    println!("journal of {:.0} events", told.get("events").copied().unwrap_or(0.0));
    follow(binary, &folder, &many, &pair)
}

fn follow(binary: &Path, folder: &Path, many: &Path, pair: &Pair) -> Result<Vec<Row>> {
    let log = folder.join("controller.log");
    let began = Instant::now();
    let mut controller = Controller(
        Command::new(binary)
            .arg("--dir")
            .arg(many)
            .arg("controller")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("start the controller")?,
    );
    wait(&mut controller, "the controller takes the run up", &log, || {
        Ok(many.join("control.sock").exists() && following(binary, many)? == UNITS)
    })?;
    let up = began.elapsed();
    wait(&mut controller, "the stream carries every unit", &log, || {
        Ok(carried(&pair.target)? == UNITS && carried(&pair.source)? == UNITS)
    })?;
    println!("{UNITS} units are taken up after {up:.1?}, the stream carries all of them");
    std::thread::sleep(SETTLING);
    let (before, began) = (controller.cpu_s()?, Instant::now());
    std::thread::sleep(MEASURED);
    let percent = (controller.cpu_s()? - before) * 100.0 / began.elapsed().as_secs_f64();
    let memory = controller.memory_mib()?;
    let what = |of: &str| format!("{UNITS} idle units: {of}");
    Ok(vec![
        Row::bound(&what("take-up"), "s", up.as_secs_f64(), 5.0),
        Row::bound(&what("share of a core"), "%", percent, 5.0),
        Row::bound(&what("memory"), "MiB", memory, 512.0),
    ])
}

/// Asks the controller how many units follow; none while it does not answer.
fn following(binary: &Path, dir: &Path) -> Result<usize> {
    let text = segue(binary, dir, &["status", "--json"])?;
    let line: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    let follows = |unit: &&Value| unit["stage"] == "synced" && unit["open"].is_null();
    let units = line["result"]["units"].as_array();
    Ok(units.map_or(0, |units| units.iter().filter(follows).count()))
}

fn wait(
    controller: &mut Controller,
    what: &str,
    log: &Path,
    holds: impl Fn() -> Result<bool>,
) -> Result<()> {
    let began = Instant::now();
    while !holds()? {
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        if let Some(status) = controller.0.try_wait()? {
            bail!("the controller ended with {status}: {}", said());
        }
        ensure!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A controller that ends with the benchmark.
struct Controller(Child);

impl Controller {
    /// Returns the processor time that it used so far, in user mode and in the kernel.
    fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        ticks(&stat).map(|ticks| ticks as f64 / 100.0).context("/proc/PID/stat")
    }

    fn memory_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        kilobytes(&status, "VmRSS:").map(|kb| kb / 1024.0).context("/proc/PID/status")
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads user and system time, in hundredths of a second, behind the program's name, which
/// may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

// ---- the fleet ----

fn name(number: usize) -> String {
    format!("acc{number:05}")
}

fn schema(name: &str) -> String {
    format!(
        "CREATE DATABASE {name}; CREATE TABLE {name}.t (id INT PRIMARY KEY); \
         CREATE USER '{name}'@'%' IDENTIFIED BY 'of an account'; \
         GRANT ALL PRIVILEGES ON {name}.* TO '{name}'@'%';"
    )
}

/// Writes what the sync of the first unit left at a server for all others, outside the
/// binary log.
fn fill(server: &Server) -> Result<()> {
    let first = name(0);
    let mut text = String::from("SET sql_log_bin = 0;\n");
    for number in 1..UNITS {
        let own = name(number);
        writeln!(text, "CREATE DATABASE {own}; CREATE TABLE {own}.t (id INT PRIMARY KEY);")?;
        for table in ["heartbeat", "marker"] {
            writeln!(
                text,
                "CREATE TABLE segue.{own}_{table} LIKE segue.{first}_{table}; \
                 INSERT INTO segue.{own}_{table} SELECT * FROM segue.{first}_{table};"
            )?;
        }
    }
    // All rows of all units in one statement each.
    let others = format!("FROM_TABLE t JOIN seq_1_to_{} s", UNITS - 1);
    let own = "CONCAT('acc', LPAD(s.seq, 5, '0'))";
    let copies = [
        (
            "mysql.global_priv (Host, User, Priv)",
            format!("t.Host, {own}, t.Priv"),
            "mysql.global_priv",
            "User",
        ),
        ("segue.claim (unit, run, epoch)", format!("{own}, t.run, t.epoch"), "segue.claim", "unit"),
        (
            "segue.seed (unit, run, state, logins, output)",
            format!("{own}, t.run, t.state, REPLACE(t.logins, '{first}', {own}), t.output"),
            "segue.seed",
            "unit",
        ),
        (
            "segue.stream (stream, unit, gtid, stage, others, why, `schemas`, patterns)",
            format!(
                "t.stream, {own}, t.gtid, t.stage, t.others, t.why, \
                 REPLACE(t.`schemas`, '{first}', {own}), REPLACE(t.patterns, '{first}', {own})"
            ),
            "segue.stream",
            "unit",
        ),
    ];
    for (into, what, from, key) in copies {
        let others = others.replace("FROM_TABLE", from);
        writeln!(
            text,
            "INSERT INTO {into} SELECT {what} FROM {others} WHERE t.{key} = '{first}';"
        )?;
    }
    // Rights on schemas have some twenty columns.
    writeln!(
        text,
        "CREATE TEMPORARY TABLE segue.rights AS SELECT * FROM mysql.db WHERE User = '{first}';"
    )?;
    for number in 1..UNITS {
        let own = name(number);
        writeln!(
            text,
            "UPDATE segue.rights SET User = '{own}', Db = '{own}'; \
             INSERT INTO mysql.db SELECT * FROM segue.rights;"
        )?;
    }
    writeln!(text, "FLUSH PRIVILEGES;")?;
    // `seq_1_to_N` is a table of the engine SEQUENCE, in whatever schema is in use.
    server.sql(&format!("USE segue;\n{text}")).map(drop)
}

/// Returns how many schemas of the fleet the stream of a server lets through.
fn carried(server: &Server) -> Result<usize> {
    let status = server.sql("SHOW ALL SLAVES STATUS")?;
    let listed = |field: &str| field.split(',').filter(|name| name.starts_with("acc")).count();
    // The schemas, then the patterns, which hold a dot.
    let fields = status.split('\t').filter(|field| field.contains(&name(0)));
    Ok(fields.filter(|field| !field.contains('.')).map(listed).max().unwrap_or(0))
}

/// Writes the plan of so many units and lets `segue plan` store it; returns its hash.
fn plan(binary: &Path, folder: &Path, pair: &Pair, dir: &Path, units: usize) -> Result<String> {
    let place: PathBuf = folder.join(format!("plan-{units}"));
    std::fs::create_dir_all(&place)?;
    let mut lines = String::new();
    for number in 0..units {
        writeln!(lines, "{}", unit(pair, number))?;
    }
    std::fs::write(place.join("units.jsonl"), lines)?;
    let file = place.join("plan.toml");
    std::fs::write(
        &file,
        "name = \"idle\"\nunits = [\"units.jsonl\"]\nrehearsal = { needed = false }\n",
    )?;
    let text = segue(binary, dir, &["plan", "--offline", "--json", &file.display().to_string()])?;
    let last: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    let hash = last["hash"].as_str().context("`segue plan` told no hash")?;
    Ok(hash.to_owned())
}

fn unit(pair: &Pair, number: usize) -> Value {
    let server = |server: &Server| {
        let password = format!("file:{}", pair.secret.display());
        json!({ "address": server.address, "admin": "segue_admin", "password": password })
    };
    json!({
        "unit": { "name": name(number) },
        "database": {
            "schema": name(number),
            "logins": [name(number)],
            "source": server(&pair.source),
            "target": server(&pair.target),
        },
    })
}

/// Runs a command of `segue` and returns what it printed.
fn segue(binary: &Path, dir: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new(binary).arg("--dir").arg(dir).args(words).output()?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "`segue {}`: {}\n{}",
        words.join(" "),
        said(&output.stdout),
        said(&output.stderr)
    );
    Ok(said(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn reads_the_time_behind_a_name_of_any_kind() {
        let stat = "77 (a) b) S 1 77 77 0 -1 4194560 900 0 0 0 120 34 0 0 20 0 5 0 100 0 0";
        assert_eq!(ticks(stat), Some(154));
        assert_eq!(ticks("77 (short) S 1"), None);
    }
}
