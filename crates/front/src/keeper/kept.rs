//! The keeper as its worker sees it.

use super::word::Word;
use segue_doors::handover::Line;
use segue_model::{Fault, FaultKind};
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell, mpsc};
use tokio_util::sync::CancellationToken;

/// How long the keeper may take to close its sockets, and before that to lead nobody here.
const CLOSES: Duration = Duration::from_secs(15);

/// How long it may take to change until when connections are led here: a renewal that is under
/// way ends before.
const GUARDS: Duration = Duration::from_secs(4);

/// What a keeper wants of the worker that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To know whether another worker may take its place; if so, nothing may change from then on.
    Prepare,
    /// That it goes on: nobody takes its place.
    KeepOn,
    /// That it finishes: another worker is in its place.
    Retire,
    /// Nothing any more: it is gone, and with it the right to the ports.
    Gone,
}

/// A worker's keeper.
pub(crate) struct Kept {
    line: Line,
    /// Cancelled once no former worker has requests any more.
    alone: CancellationToken,
    /// Cancelled once the keeper has closed its sockets.
    closed: CancellationToken,
    left: OnceCell<()>,
    /// Whether new connections are led here, where that is needed.
    led: AtomicBool,
    /// What came of asking to guard the live servers.
    guarded: mpsc::Sender<bool>,
    answers: Mutex<mpsc::Receiver<bool>>,
}

impl Kept {
    /// Finds the keeper that started this process.
    ///
    /// # Errors
    /// `SG0126` if none did.
    pub(crate) async fn meet() -> Result<Self, Fault> {
        let met = async {
            let line = Line::inherited()?;
            let (byte, _) = line.hear().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            Ok::<_, io::Error>((line, Word::of(byte)))
        };
        let (line, first) = met.await.map_err(|e| {
            Fault::new("SG0126", FaultKind::Invalid, "find the keeper of this worker", e)
                .hint("start the front without `--worker`")
        })?;
        let alone = CancellationToken::new();
        if first == Some(Word::Alone) {
            alone.cancel();
        }
        let (guarded, answers) = mpsc::channel(1);
        Ok(Self {
            line,
            alone,
            closed: CancellationToken::new(),
            left: OnceCell::new(),
            led: AtomicBool::new(true),
            guarded,
            answers: Mutex::new(answers),
        })
    }

    /// Returns whether no former worker has requests any more.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone.is_cancelled()
    }

    /// Waits until no former worker has requests any more.
    pub(crate) async fn alone(&self) {
        self.alone.cancelled().await;
    }

    /// Takes the listening sockets, and says whether all could be opened.
    ///
    /// # Errors
    /// `SG0126` if the keeper is gone.
    pub(crate) async fn sockets(&self) -> Result<(Vec<TcpListener>, bool), Fault> {
        let mut sockets = Vec::new();
        let all = async {
            self.line.say(Word::Prepared.byte(), None).await?;
            loop {
                let (byte, socket) = self.line.hear().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                match Word::of(byte) {
                    Some(Word::Socket) => sockets.extend(socket.map(TcpListener::from)),
                    Some(Word::Open) => return Ok(true),
                    Some(Word::GiveUp) => return Ok(false),
                    Some(Word::Alone) => self.alone.cancel(),
                    _ => {}
                }
            }
        };
        let all = all.await.map_err(|e: io::Error| {
            Fault::new("SG0126", FaultKind::Unreachable, "take the sockets of the front", e)
                .hint("its keeper is gone: start the front again")
        })?;
        Ok((sockets, all))
    }

    /// Says that connections are taken.
    pub(crate) async fn ready(&self) {
        // A keeper that is gone is noticed by whoever listens to it.
        let _ = self.line.say(Word::Ready.byte(), None).await;
    }

    /// Has the keeper close its sockets, once: what comes after that comes to no one.
    pub(crate) async fn let_go(&self) {
        let ask = async {
            let asked = self.line.say(Word::Leaving.byte(), None).await.is_ok();
            if asked && tokio::time::timeout(CLOSES, self.closed.cancelled()).await.is_err() {
                tracing::warn!("the keeper does not close its sockets");
            }
        };
        self.left.get_or_init(|| ask).await;
    }

    /// Returns whether new connections are led here, where the packet filter does it.
    pub(crate) fn is_led(&self) -> bool {
        self.led.load(Ordering::SeqCst)
    }

    /// Says whether visitors must not reach the live servers of ports that are redirected, even
    /// if every process of the front dies; returns whether it is so now.
    pub(crate) async fn guard(&self, guarded: bool) -> bool {
        let mut answers = self.answers.lock().await;
        // An answer that came too late was to another question.
        while answers.try_recv().is_ok() {}
        let word = if guarded { Word::Guard } else { Word::Unguard };
        if self.line.say(word.byte(), None).await.is_err() {
            return false;
        }
        matches!(tokio::time::timeout(GUARDS, answers.recv()).await, Ok(Some(true)))
    }

    /// Waits for what the keeper wants.
    pub(crate) async fn wish(&self) -> Wish {
        loop {
            let Ok(Some((byte, _))) = self.line.hear().await else { return Wish::Gone };
            match Word::of(byte) {
                Some(Word::Alone) => self.alone.cancel(),
                Some(Word::Closed) => self.closed.cancel(),
                Some(Word::Led) => self.led.store(true, Ordering::SeqCst),
                Some(Word::Lost) => self.led.store(false, Ordering::SeqCst),
                // One is awaited at a time: a second one is of no use to anybody.
                Some(Word::Guarded) => drop(self.guarded.try_send(true)),
                Some(Word::Unguarded) => drop(self.guarded.try_send(false)),
                Some(Word::Retire) => return Wish::Retire,
                Some(Word::KeepOn) => return Wish::KeepOn,
                Some(Word::Prepare) => return Wish::Prepare,
                _ => {}
            }
        }
    }

    /// Says whether another worker may take this one's place.
    pub(crate) async fn may_be_replaced(&self, may: bool) {
        let word = if may { Word::May } else { Word::MayNot };
        let _ = self.line.say(word.byte(), None).await;
    }
}
