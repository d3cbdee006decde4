//! The keeper as its worker sees it.

use super::word::Word;
use segue_doors::handover::Line;
use segue_model::{Fault, FaultKind};
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long the keeper may take to close its sockets, and before that to lead nobody here.
const CLOSES: Duration = Duration::from_secs(15);

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
    /// How often it was asked to guard the live servers, or not to.
    asked: AtomicU64,
    /// How many of these questions are answered, and with what the last one.
    guarded: watch::Sender<(u64, bool)>,
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
        Ok(Self {
            line,
            alone,
            closed: CancellationToken::new(),
            left: OnceCell::new(),
            led: AtomicBool::new(true),
            asked: AtomicU64::new(0),
            guarded: watch::Sender::new((0, false)),
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
    /// if every process of the front dies; returns whether it is known to be as said, by then.
    /// One asks at a time.
    pub(crate) async fn guard(&self, guarded: bool, until: Instant) -> bool {
        let mut answers = self.guarded.subscribe();
        let Some(question) = self.wish_guarded(guarded).await else { return false };
        // Each question is answered once, so that one whose answer came too late is not taken for
        // this one's.
        let answered = answers.wait_for(|(answered, _)| *answered >= question);
        match tokio::time::timeout_at(until, answered).await {
            Ok(Ok(answer)) => answer.1 == guarded,
            _ => false,
        }
    }

    /// Says the same and does not wait; returns which question it was, if somebody hears it.
    pub(crate) async fn wish_guarded(&self, guarded: bool) -> Option<u64> {
        let question = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let word = if guarded { Word::Guard } else { Word::Unguard };
        self.line.say(word.byte(), None).await.is_ok().then_some(question)
    }

    fn answered(&self, guarded: bool) {
        self.guarded.send_modify(|(answered, last)| {
            *answered += 1;
            *last = guarded;
        });
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
                Some(Word::Guarded) => self.answered(true),
                Some(Word::Unguarded) => self.answered(false),
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
