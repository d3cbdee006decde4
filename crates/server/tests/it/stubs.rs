//! Small servers and files that show an anomaly from a moment on.

use crate::site::head;
use async_trait::async_trait;
use segue_model::{Sample, What};
use segue_port::{Outcome, Sampler};
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UdpSocket};

/// Whether the anomaly is there.
pub(crate) type Planted = Arc<AtomicBool>;

pub(crate) fn is(planted: &Planted) -> bool {
    planted.load(Ordering::Relaxed)
}

/// Answers 200 with `body` and, if `log` is given, writes what was asked; once planted it
/// answers with `worse`, or closes without a word, and logs no more.
pub(crate) async fn http(
    planted: Planted,
    body: &'static str,
    worse: Option<&'static str>,
    log: Option<PathBuf>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (planted, log) = (Arc::clone(&planted), log.clone());
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream).await {
                    let body = match (is(&planted), worse) {
                        (false, _) => body,
                        (true, Some(worse)) => worse,
                        (true, None) => return,
                    };
                    if let (Some(log), false) = (&log, is(&planted)) {
                        append(
                            log,
                            &format!(
                                "127.0.0.1 - - [x] \"{}\" 200\n",
                                &head[..head.find('\r').unwrap()]
                            ),
                        );
                    }
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

pub(crate) fn append(path: &Path, text: &str) {
    let mut file = File::options().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Appends a line ten times a second: `good`, and `bad` once planted.
pub(crate) fn log(path: PathBuf, planted: Planted, good: &'static str, bad: &'static str) {
    File::create(&path).unwrap();
    tokio::spawn(async move {
        while path.exists() {
            append(&path, if is(&planted) { bad } else { good });
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

/// A folder like `/proc`, of a host that is idle and then busy.
pub(crate) fn proc(folder: &Path, planted: Planted) {
    let folder = folder.to_owned();
    let (user, idle) = (AtomicU64::new(0), AtomicU64::new(0));
    let write = move || {
        let busy = if is(&planted) { 9 } else { 1 };
        let user = user.fetch_add(busy, Ordering::Relaxed) + busy;
        let idle = idle.fetch_add(10 - busy, Ordering::Relaxed) + 10 - busy;
        let free = if is(&planted) { 100 } else { 900 };
        let put = |name: &str, text: String| {
            // The sampler must never see half a file.
            let whole = folder.join(format!("{name}.new"));
            std::fs::write(&whole, text)
                .is_ok_and(|()| std::fs::rename(&whole, folder.join(name)).is_ok())
        };
        put("stat", format!("cpu  {user} 0 0 {idle} 0 0 0 0 0 0\n"))
            && put("meminfo", format!("MemTotal: 1000 kB\nMemAvailable: {free} kB\n"))
    };
    assert!(write());
    tokio::spawn(async move {
        while write() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

/// A resolver that gives `good` for every A question; once planted `bad`, or SERVFAIL.
pub(crate) async fn resolver(
    planted: Planted,
    good: Ipv4Addr,
    bad: Option<Ipv4Addr>,
) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            let data = if is(&planted) { bad } else { Some(good) };
            // The header's last eight bytes and the question stay as they came, without EDNS.
            let mut answer = question[..length].to_vec();
            answer[2] = 0x81;
            answer[3] = if data.is_some() { 0x80 } else { 0x82 };
            if let Some(data) = data {
                answer[7] = 1;
                answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(data.octets());
            }
            if socket.send_to(&answer, from).await.is_err() {
                return;
            }
        }
    });
    address
}

/// Stands for a sampler that needs a database or trees: good readings, then bad ones, at the
/// true sampler's rate. That one is tried on the true thing in its own family.
pub(crate) struct Readings {
    pub(crate) what: What,
    pub(crate) every: Duration,
    pub(crate) good: f64,
    /// None for silence.
    pub(crate) bad: Option<f64>,
    pub(crate) planted: Planted,
}

#[async_trait]
impl Sampler for Readings {
    fn name(&self) -> String {
        "readings".into()
    }

    fn every(&self) -> Duration {
        self.every
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let value = if is(&self.planted) { self.bad } else { Some(self.good) };
        let sample = |value| Sample {
            what: self.what,
            value,
            count: 20,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        };
        Ok(value.map(sample).into_iter().collect())
    }
}
