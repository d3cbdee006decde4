//! Private resolvers: unbound on a free loopback port, asking name servers of ours.

use crate::named::free_port;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running resolver; ends with the value.
pub(crate) struct Unbound {
    child: Child,
    pub(crate) address: SocketAddr,
    config: PathBuf,
}

impl Unbound {
    /// Starts one below `dir` that asks `server` for `example.test`, from the address `from`.
    pub(crate) fn start(dir: &Path, name: &str, server: SocketAddr, from: &str) -> Self {
        for _ in 0..3 {
            if let Some(unbound) = Self::try_start(&dir.join(name), server, from) {
                return unbound;
            }
        }
        let log = fs::read_to_string(dir.join(name).join("log")).unwrap_or_default();
        panic!("unbound does not start: {log}");
    }

    fn try_start(dir: &Path, server: SocketAddr, from: &str) -> Option<Self> {
        let address = free_port();
        fs::create_dir_all(dir).unwrap();
        let config = dir.join("unbound.conf");
        let text = format!(
            "server:\n  directory: \"{home}\"\n  pidfile: \"\"\n  use-syslog: no\n  \
             logfile: \"{home}/log\"\n  chroot: \"\"\n  username: \"\"\n  interface: 127.0.0.1\n  \
             port: {port}\n  num-threads: 1\n  do-ip6: no\n  outgoing-interface: {from}\n  \
             access-control: 127.0.0.0/8 allow\n  do-not-query-localhost: no\n  \
             module-config: \"iterator\"\n  local-zone: \"test.\" nodefault\n\
             remote-control:\n  control-enable: yes\n  control-interface: \"{home}/control\"\n  \
             control-use-cert: no\n\
             stub-zone:\n  name: \"example.test\"\n  stub-addr: {ip}@{at}\n",
            home = dir.display(),
            port = address.port(),
            ip = server.ip(),
            at = server.port(),
        );
        fs::write(&config, text).unwrap();
        let mut child = Command::new("/usr/sbin/unbound")
            .args(["-d", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            if log.contains("start of service") && dir.join("control").exists() {
                return Some(Self { child, address, config });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }

    /// Returns the words of a command for this resolver.
    pub(crate) fn control(&self, words: &[&str]) -> Vec<String> {
        let config = self.config.display().to_string();
        let first = ["/usr/sbin/unbound-control", "-c", &config];
        first.iter().chain(words).map(ToString::to_string).collect()
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
