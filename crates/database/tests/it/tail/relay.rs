//! A relay before a server that cuts the line at a chosen moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// When the line is cut. Packets are the client's, over all connections; bytes the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Never,
    /// The server does not get that packet.
    Before(usize),
    /// The server gets it, and has nobody to answer.
    AtOnce(usize),
    /// The server carries it out, the answer is lost.
    After(usize),
    /// So much of what the server sends arrives.
    Bytes(usize),
    /// So much of what the server sends arrives; then the line is quiet, and stays.
    Still(usize),
}

pub(super) struct Relay {
    pub(super) address: SocketAddr,
    packets: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    pub(super) async fn start(server: SocketAddr, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let packets = Arc::new(AtomicUsize::new(0));
        let bytes = Arc::new(AtomicUsize::new(0));
        let (counted, sent) = (Arc::clone(&packets), Arc::clone(&bytes));
        let task = tokio::spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (packets, bytes) = (Arc::clone(&counted), Arc::clone(&sent));
                lines.spawn(async move {
                    let _ = line(client, server, cut, &packets, &bytes).await;
                });
            }
        });
        Self { address, packets, bytes, task }
    }

    /// Returns how many packets clients have sent.
    pub(super) fn packets(&self) -> usize {
        self.packets.load(Ordering::Relaxed)
    }

    /// Returns how many bytes the server has sent.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

async fn line(
    mut client: TcpStream,
    server: SocketAddr,
    cut: Cut,
    packets: &AtomicUsize,
    bytes: &AtomicUsize,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let mut waiting = Vec::new();
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                waiting.extend_from_slice(&up[..count]);
                while let Some(length) = packet(&waiting) {
                    let number = packets.fetch_add(1, Ordering::Relaxed);
                    let part: Vec<u8> = waiting.drain(..length).collect();
                    if cut == Cut::Before(number) {
                        return Ok(());
                    }
                    server.write_all(&part).await?;
                    if cut == Cut::AtOnce(number) {
                        return Ok(());
                    }
                    if cut == Cut::After(number) {
                        let answers = async { while server.read(&mut down).await? > 0 {} Ok::<_, std::io::Error>(()) };
                        let _ = tokio::time::timeout(Duration::from_millis(60), answers).await;
                        return Ok(());
                    }
                }
            }
            read = server.read(&mut down) => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                let before = bytes.fetch_add(count, Ordering::Relaxed);
                let passes = match cut {
                    Cut::Bytes(most) | Cut::Still(most) => count.min(most.saturating_sub(before)),
                    _ => count,
                };
                client.write_all(&down[..passes]).await?;
                if passes < count {
                    if matches!(cut, Cut::Still(_)) {
                        std::future::pending::<()>().await;
                    }
                    return Ok(());
                }
            }
        }
    }
}

/// Returns the length of the first packet, if all of it is there.
fn packet(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..4)?;
    let length =
        4 + usize::from(head[0]) + (usize::from(head[1]) << 8) + (usize::from(head[2]) << 16);
    (bytes.len() >= length).then_some(length)
}
