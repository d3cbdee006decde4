//! How a test gets into a network of its own.

use crate::makes::program;
use std::future::Future;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the process that runs inside.
const INSIDE: &str = "SEGUE_LAB_INSIDE";

/// Far longer than any of these tests takes, also with everything that `make dns` has it do.
fn limit() -> Duration {
    let whole = std::env::var_os("SEGUE_DNS_WHOLE").is_some();
    Duration::from_secs(if whole { 600 } else { 120 })
}

/// Ends the process and with it everything inside.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the body of the test `name` (in full, as `lab::tests::resolves`) in new network, mount and
/// process namespaces, with `addresses` on its loopback and every port of them free.
///
/// The test program runs itself once more with only this test; that process is the first one of
/// its process namespace, so whatever it started ends with it. Needs root, or user namespaces.
///
/// # Panics
/// If the body does, or does not end within two minutes (ten with `SEGUE_DNS_WHOLE`); what it printed is printed then.
pub(crate) fn inside<F: Future<Output = ()>>(
    name: &str,
    addresses: &[&str],
    body: impl FnOnce() -> F,
) {
    if std::env::var_os(INSIDE).is_some() {
        open(addresses);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(body());
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let out = std::fs::File::create(&log).unwrap();
    // `unshare` ends with the thread that waits here, and all the others with `unshare`.
    let mut command = Command::new(program("setpriv", "util-linux"));
    command.args(["--pdeathsig", "KILL", "--"]).arg(program("unshare", "util-linux"));
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out);
    let mut ended = Ended(command.spawn().unwrap());
    let deadline = Instant::now() + limit();
    let status = loop {
        match ended.0.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let text = std::fs::read_to_string(&log).unwrap();
    println!("{text}");
    let status = status.unwrap_or_else(|| panic!("{name}: not at its end after {:?}", limit()));
    assert!(status.success(), "{name}: failed inside its network ({status})");
    // A name that fits no test runs nothing, and succeeds.
    assert!(text.contains("1 passed"), "there is no test `{name}`");
}

/// Puts the addresses on the loopback, the only interface there is.
fn open(addresses: &[&str]) {
    let ip = |words: &[&str]| {
        let done = Command::new(program("ip", "iproute2")).args(words).output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    ip(&["link", "set", "lo", "up"]);
    for address in addresses {
        ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"]);
    }
}
