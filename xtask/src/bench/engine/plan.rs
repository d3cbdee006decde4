//! A plan of 100,000 accounts, compiled by `segue plan`.

use crate::bench::result::Row;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const UNITS: usize = 100_000;
/// How often the memory of the program is looked at.
const LOOK: Duration = Duration::from_millis(2);
const MIB: f64 = 1024.0 * 1024.0;

/// Writes the plan and compiles it; returns time and most memory.
pub(super) fn measure(binary: &Path, scratch: &Path) -> Result<Vec<Row>> {
    let folder = scratch.join("plan");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("plan.toml");
    std::fs::write(&file, HEAD)?;
    let mut units = BufWriter::new(File::create(folder.join("units.jsonl"))?);
    for number in 0..UNITS {
        serde_json::to_writer(&mut units, &unit(number))?;
        units.write_all(b"\n")?;
    }
    units.into_inner()?.sync_all()?;
    let began = Instant::now();
    let said = File::create(folder.join("said"))?;
    let mut child = Command::new(binary)
        .arg("--dir")
        .arg(folder.join("run"))
        .args(["plan", "--offline"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()
        .context("start `segue plan`")?;
    let most = most_memory(&mut child)?;
    let seconds = began.elapsed().as_secs_f64();
    let said = std::fs::read_to_string(folder.join("said"))?;
    ensure!(child.wait()?.success(), "`segue plan` failed: {}", end(&said));
    ensure!(said.contains("stored in"), "the plan was not stored: {}", end(&said));
    let what = |of: &str| format!("plan of {UNITS} units: {of}");
    Ok(vec![
        Row::bound(&what("time"), "s", seconds, 5.0),
        Row::bound(&what("memory"), "MiB", most / MIB, 1024.0),
    ])
}

/// Waits for the end of a child and returns the most memory it had, bytes. The kernel keeps
/// the highest value itself; only what happens within the last look is missed.
fn most_memory(child: &mut Child) -> Result<f64> {
    let path = format!("/proc/{}/status", child.id());
    let mut most = 0.0;
    while child.try_wait()?.is_none() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        most = kilobytes(&status, "VmHWM:").unwrap_or(0.0).max(most);
        std::thread::sleep(LOOK);
    }
    if most == 0.0 {
        bail!("`{path}` told no memory");
    }
    Ok(most * 1024.0)
}

/// Reads a value of `/proc/PID/status` that is given in kilobytes.
pub(super) fn kilobytes(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn end(text: &str) -> &str {
    let from = text.len().saturating_sub(2_000);
    text.get(from..).unwrap_or(text)
}

const HEAD: &str = r#"name = "accounts"
units = ["units.jsonl"]
separate_zones = ["example.test"]

[policy]
pause_budget_ms = 1500

[limits]
seeds_a_server = 8
"#;

/// An account as hosting has it: a site behind two fronts, a schema with its login, a tree
/// and a record.
fn unit(number: usize) -> Value {
    let name = format!("acc{number:06}");
    let server = |address: &str| json!({ "address": address, "admin": "segue_admin", "password": "file:/etc/segue/db" });
    let front = |side: &str, listen: &str, egress: Option<&str>| {
        json!({
            "name": side, "side": side, "listen": listen,
            "take_over": egress.is_some(), "egress": egress,
            "control": format!("/run/segue/{side}.sock"),
            "state": format!("/var/lib/segue/{side}.json"),
        })
    };
    json!({
        "unit": {
            "name": name,
            "hosts": [format!("{name}.example.test")],
            "requests_per_day": number * 7 % 90_000,
        },
        "backend": {
            "source": { "address": "192.0.2.10:80", "health_path": "/healthz",
                        "access_log": "/var/log/nginx/access.log" },
            "target": { "address": "203.0.113.20:8080", "health_path": "/healthz" },
        },
        "front": [
            front("source", "192.0.2.10:80", Some("192.0.2.11")),
            front("target", "203.0.113.20:80", None),
        ],
        "database": {
            "schema": name,
            "logins": [name],
            "source": server("192.0.2.10:3306"),
            "target": server("203.0.113.20:3306"),
        },
        "tree": [{
            "name": "site",
            "source": format!("/srv/source/{name}"),
            "target": format!("/srv/target/{name}"),
        }],
        "zone": [{
            "zone": "example.test",
            "primary": "192.0.2.53:53",
            "servers": ["192.0.2.53:53", "198.51.100.53:53"],
            "key": { "name": "segue-key", "algorithm": "hmac-sha256",
                     "secret": "file:/etc/segue/tsig.secret" },
            "record": [{
                "name": format!("{name}.example.test"), "type": "A",
                "source": ["192.0.2.10"], "target": ["203.0.113.20"],
            }],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::kilobytes;

    #[test]
    fn reads_the_highest_memory() {
        let status = "Name:\tsegue\nVmPeak:\t  900 kB\nVmHWM:\t  1234 kB\nVmRSS:\t 12 kB\n";
        assert_eq!(kilobytes(status, "VmHWM:"), Some(1234.0));
        assert_eq!(kilobytes("Name:\tsegue\n", "VmHWM:"), None);
    }
}
