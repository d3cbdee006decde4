//! The lease: one controller, and a takeover that ends the former one.

use segue_engine::Lease;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DIR: &str = "SEGUE_LEASE_DIR";

/// Holds the lease of the folder it is given until it is killed; by itself it shows that a
/// lease is free again once dropped.
#[test]
fn lease_is_held_until_dropped() {
    if let Some(dir) = std::env::var_os(DIR) {
        let _lease = Lease::take(Path::new(&dir)).unwrap();
        std::thread::sleep(Duration::from_secs(30));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lease = Lease::take(dir.path()).unwrap();
    let fault = Lease::take(dir.path()).unwrap_err();
    assert_eq!(fault.code, "SG0610");
    assert!(fault.cause.contains(&std::process::id().to_string()), "{fault}");
    drop(lease);
    Lease::take(dir.path()).unwrap();
}

fn holder(dir: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["lease::lease_is_held_until_dropped", "--exact"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Lease::holder(dir).is_none_or(|holder| holder.pid != child.id()) {
        assert!(Instant::now() < deadline, "the other process did not take the lease");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[test]
fn takeover_kills_the_former_controller() {
    use std::os::unix::process::ExitStatusExt;
    let dir = tempfile::tempdir().unwrap();
    let mut child = holder(dir.path());
    assert_eq!(Lease::take(dir.path()).unwrap_err().code, "SG0610");
    assert!(child.try_wait().unwrap().is_none(), "taking without asking must not kill");
    let _lease = Lease::take_over(dir.path()).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(Lease::holder(dir.path()).unwrap().pid, std::process::id());
}

#[test]
fn takeover_kills_no_process_that_only_has_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = holder(dir.path());
    // Start times are counted in hundredths of a second.
    std::thread::sleep(Duration::from_millis(30));
    let mut bystander = Command::new("sleep").arg("30").spawn().unwrap();
    let mut recorded = Lease::holder(dir.path()).unwrap();
    recorded.pid = bystander.id();
    let text = serde_json::to_string(&recorded).unwrap();
    std::fs::write(dir.path().join("controller.lock"), text).unwrap();
    let fault = Lease::take_over(dir.path()).unwrap_err();
    let lives = bystander.try_wait().unwrap().is_none();
    for process in [&mut bystander, &mut child] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert_eq!(fault.code, "SG0610");
    assert!(lives, "a bystander was killed");
}
