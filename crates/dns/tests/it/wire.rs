//! A wire to the primary that can keep updates back or lose their answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// Everything passes.
    Pass,
    /// An update waits until it is released.
    Hold,
    /// An update passes, its answer does not.
    LoseAnswer,
}

struct Shared {
    mode: Mutex<Mode>,
    held: Mutex<Vec<Vec<u8>>>,
    updates: AtomicUsize,
    connections: AtomicUsize,
    caught: Notify,
    release: Notify,
    primary: SocketAddr,
}

#[derive(Clone)]
pub(crate) struct Wire {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
}

impl Wire {
    pub(crate) async fn to(primary: SocketAddr, mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            mode: Mutex::new(mode),
            held: Mutex::new(Vec::new()),
            updates: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            caught: Notify::new(),
            release: Notify::new(),
            primary,
        });
        let for_all = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                for_all.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(carry(client, for_all.clone()));
            }
        });
        Self { shared, address }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Waits until an update is held.
    pub(crate) async fn caught(&self) {
        self.shared.caught.notified().await;
    }

    /// Returns how many updates came by.
    pub(crate) fn updates(&self) -> usize {
        self.shared.updates.load(Ordering::SeqCst)
    }

    /// Returns how many connections were made since the last time that somebody asked.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.swap(0, Ordering::SeqCst)
    }

    /// Lets the held update go on.
    pub(crate) fn release(&self) {
        self.set(Mode::Pass);
        self.shared.release.notify_one();
    }

    /// Delivers the last held update on a connection of its own; returns the rcode.
    pub(crate) async fn deliver_late(&self) -> u8 {
        let update = self.shared.held.lock().unwrap().last().unwrap().clone();
        let mut primary = TcpStream::connect(self.shared.primary).await.unwrap();
        write(&mut primary, &update).await.unwrap();
        read(&mut primary).await.unwrap()[3] & 0x0f
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let primary = TcpStream::connect(shared.primary).await.ok()?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_primary, mut to_primary) = primary.into_split();
    let lose = AtomicBool::new(false);
    let questions = async {
        loop {
            let message = read(&mut from_client).await?;
            let update = message[2] >> 3 & 0x0f == 5;
            let mode = *shared.mode.lock().unwrap();
            shared.updates.fetch_add(usize::from(update), Ordering::SeqCst);
            if update && mode == Mode::Hold {
                shared.held.lock().unwrap().push(message.clone());
                shared.caught.notify_one();
                shared.release.notified().await;
            }
            lose.store(update && mode == Mode::LoseAnswer, Ordering::SeqCst);
            write(&mut to_primary, &message).await?;
        }
    };
    let answers = async {
        loop {
            let answer = read(&mut from_primary).await?;
            if lose.load(Ordering::SeqCst) {
                return None;
            }
            write(&mut to_client, &answer).await?;
        }
    };
    // The end of either ends the connection.
    tokio::select! {
        end = questions => end,
        end = answers => end,
    }
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

async fn write(stream: &mut (impl AsyncWriteExt + Unpin), message: &[u8]) -> Option<()> {
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await.ok()
}
