//! The same change by octoDNS with its provider for signed updates.

use crate::pair::{Pair, SECRET, zone_name};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Gives three sets of every zone the target's data. Returns how long it took.
pub(crate) fn publish_all(program: &Path, scratch: &Path, pair: &Pair, zones: usize) -> Duration {
    let home = scratch.join("octodns");
    fs::create_dir_all(home.join("zones")).unwrap();
    let mut config = format!(
        "---\nmanager:\n  max_workers: 16\nproviders:\n  config:\n    class: \
         octodns.provider.yaml.YamlProvider\n    directory: {home}/zones\n    default_ttl: 3600\n    \
         enforce_order: false\n  bind:\n    class: octodns_bind.Rfc2136Provider\n    host: \
         127.0.0.1\n    port: {port}\n    ipv6: false\n    timeout: 15\n    key_name: bench-key\n    \
         key_secret: {SECRET}\n    key_algorithm: hmac-sha256\nzones:\n",
        home = home.display(),
        port = pair.primary.port(),
    );
    for number in 0..zones {
        let name = zone_name(number);
        fs::write(home.join("zones").join(format!("{name}.yaml")), wanted(&name)).unwrap();
        writeln!(config, "  {name}.:\n    sources: [config]\n    targets: [bind]").unwrap();
    }
    let file = home.join("config.yaml");
    fs::write(&file, config).unwrap();
    let began = Instant::now();
    let done = Command::new(program)
        .arg("--config-file")
        .arg(&file)
        .args(["--doit", "--force", "--quiet"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "octodns-sync failed: {said}");
    // It must have done it.
    let last = zone_name(zones - 1);
    let asked = Command::new("dig")
        .args(["+short", "@127.0.0.1", "-p", &pair.primary.port().to_string(), &last, "A"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), "203.0.113.20", "{said}");
    took
}

/// Every record of a zone, three sets with the target's data.
fn wanted(name: &str) -> String {
    let mut text = format!(
        "---\n'':\n  - type: A\n    ttl: 60\n    value: 203.0.113.20\n  - type: MX\n    ttl: 60\n    \
         value:\n      preference: 10\n      exchange: mail.target.test.\n  - type: NS\n    ttl: \
         3600\n    values: [ns1.{name}., ns2.{name}.]\n  - type: TXT\n    ttl: 3600\n    value: \
         v=spf1 -all\nwww:\n  type: A\n  ttl: 60\n  value: 203.0.113.20\n"
    );
    for host in ["ns1", "ns2"] {
        writeln!(text, "{host}:\n  type: A\n  ttl: 3600\n  value: 127.0.0.1").unwrap();
    }
    for number in 0..16 {
        writeln!(text, "host{number}:\n  type: A\n  ttl: 3600\n  value: 198.51.100.{number}")
            .unwrap();
    }
    text
}
