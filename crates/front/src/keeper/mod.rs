//! A front's keeper: a small process that holds the listening sockets and starts the one that
//! serves, its worker, with them.
//!
//! ```text
//!   segue front --+-- sockets, no requests
//!                 |      a (alone) or b (beside another)  --->
//!                 |  <---  P (prepared: state read, control socket open)
//!                 |      s, s, ... (a socket each), o (open)  --->
//!                 |  <---  R (ready: connections are taken)
//!                 '-- segue front --worker
//! ```
//! A worker that dies takes its own connections along, no more: those that come wait in the
//! sockets, which the keeper still has, for the next worker. That one comes up with the last
//! routes and sealed holds, for they stand on disk.
//!
//! SIGUSR2 makes a new worker of the program's present file and takes the former one out of
//! the way when it serves: that one takes nothing new, finishes what runs, and ends. While both
//! run no unit can be held, since the requests of the former one would not be.
//!
//! Where the packet filter leads connections to the front, the keeper sees to that
//! ([`redirect`]): it renews it, and says so to the worker when it cannot.
//!
//! The keeper gives the port back by itself only if workers end again and again, and it would
//! not let visitors through to a side that they must not reach ([`crate::store::guards`]), nor
//! leave a port that was joined to nobody.

mod kept;
mod lock;
mod record;
mod redirect;
mod word;

pub(crate) use kept::{Kept, Wish};
pub use lock::is_kept;

use crate::listen::{Opened, open_all};
use crate::options::FrontOptions;
use crate::store;
use lock::Lock;
use record::{Next, Record};
use redirect::Redirects;
use segue_doors::handover::{self, Line, Worker};
use segue_doors::takeover;
use segue_model::{EffectLeft, Fault, FaultKind};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use word::Word;

/// How long a worker waits for the packet filter to guard the live servers. Its controllers give up
/// after half as long again.
pub(crate) const GUARDS: Duration = Duration::from_secs(1);

/// News of workers that may wait to be read; each says few words.
const NEWS_MAX: usize = 64;

/// The program that a keeper starts as its worker, again and again.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    /// What it is told; its standard input is the keeper's.
    pub args: Vec<OsString>,
}

/// Keeps a front until SIGTERM, SIGINT or a bypass. Needs a tokio runtime of one thread, which
/// is the one that calls: the kernel ends a worker with the thread that started it.
///
/// # Errors
/// `SG0125` if somebody else keeps this front; `SG0121` if an address cannot be listened at,
/// `SG013x` if a port cannot be taken over; `SG0126` if the first worker did not come so far as
/// to serve, or workers ended again and again. Ports are opened all or none.
pub async fn keep(options: FrontOptions, program: Program) -> Result<(), Fault> {
    let _lock = Lock::take(&options.state)?;
    let fault = |e| Fault::new("SG0121", FaultKind::Unsupported, "listen for signals", e);
    let asked = |kind| signal(kind).map_err(fault);
    let mut signals = Signals {
        terminate: asked(SignalKind::terminate())?,
        interrupt: asked(SignalKind::interrupt())?,
        replace: asked(SignalKind::user_defined2())?,
    };
    let handed = handover::handed_in().map_err(|e| {
        Fault::new("SG0121", FaultKind::Invalid, "take the sockets that were handed in", e)
            .hint("hand in listening TCP sockets, or none")
    })?;
    let (tell, mut news) = mpsc::channel(NEWS_MAX);
    let redirects = Redirects::of(&options, tell.clone())?;
    let mut keeper = Keeper {
        options,
        program,
        tell,
        sockets: Sockets::Unopened(handed),
        redirects,
        led: true,
        workers: BTreeMap::new(),
        last: 0,
        current: None,
        next: None,
        due: None,
        ending: false,
        served: false,
        record: Record::default(),
        fault: None,
    };
    keeper.current = Some(keeper.start()?);
    while !(keeper.ending && keeper.workers.is_empty()) {
        let due = keeper.due;
        tokio::select! {
            _ = signals.terminate.recv() => keeper.end(),
            _ = signals.interrupt.recv() => keeper.end(),
            _ = signals.replace.recv() => keeper.ask_to_replace().await,
            Some((number, event)) = news.recv() => match event {
                Event::Said(byte) => keeper.heard(number, byte).await,
                Event::Ended(how) => keeper.ended(number, &how).await,
                Event::Led(led) => keeper.turned(led).await,
                Event::Guarded(guarded) => keeper.guarded(number, guarded).await,
                Event::Opened => keeper.opened(number).await,
            },
            () = at(due) => keeper.restart().await,
        }
    }
    // Whoever waits for the packet filter need not be heard any more.
    drop(news);
    if let Some(redirects) = keeper.redirects.take() {
        redirects.remove().await;
    }
    keeper.fault.map_or(Ok(()), Err)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    replace: Signal,
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

enum Event {
    /// A worker said a word.
    Said(u8),
    /// A worker ended.
    Ended(String),
    /// Whether it is sure that new connections come here; about no worker.
    Led(bool),
    /// Whether visitors do not reach the live servers, to the worker that asked.
    Guarded(bool),
    /// New connections go to the live servers, as the worker asked.
    Opened,
}

enum Sockets {
    /// Not yet; with those that a service manager handed in.
    Unopened(Vec<TcpListener>),
    /// In the order of [`crate::listen::in_order`].
    Open(Vec<TcpListener>),
    Closed,
}

struct Staff {
    pid: rustix::process::Pid,
    line: Arc<Line>,
    since: Option<Instant>,
}

struct Keeper {
    options: FrontOptions,
    program: Program,
    tell: mpsc::Sender<(u32, Event)>,
    sockets: Sockets,
    redirects: Option<Redirects>,
    /// Whether it is sure that new connections come here.
    led: bool,
    workers: BTreeMap<u32, Staff>,
    last: u32,
    /// The one that serves, or is about to.
    current: Option<u32>,
    /// The one that is to take its place.
    next: Option<u32>,
    /// When a worker is started again.
    due: Option<Instant>,
    ending: bool,
    served: bool,
    record: Record,
    fault: Option<Fault>,
}

impl Keeper {
    fn start(&mut self) -> Result<u32, Fault> {
        let Program { path, args } = &self.program;
        let started = Worker::start(path, args).map_err(|e| {
            let op = format!("start a worker of front `{}`", self.options.name);
            Fault::new("SG0126", FaultKind::Invalid, op, e)
                .hint(format!("look at the program `{}`", path.display()))
        });
        let (mut worker, line) = started?;
        self.last += 1;
        let (number, line) = (self.last, Arc::new(line));
        let staff = Staff { pid: worker.pid(), line: line.clone(), since: None };
        let first = if self.workers.is_empty() { Word::Alone } else { Word::Beside };
        self.workers.insert(number, staff);
        let tell = self.tell.clone();
        tokio::spawn(async move {
            // What cannot be said to it shows in its end.
            let _ = line.say(first.byte(), None).await;
            let mut listens = true;
            loop {
                let event = tokio::select! {
                    biased;
                    said = line.hear(), if listens => match said {
                        Ok(Some((byte, _))) => Event::Said(byte),
                        _ => { listens = false; continue }
                    },
                    ended = worker.ended() => Event::Ended(match ended {
                        Ok(status) => status.to_string(),
                        Err(error) => error.to_string(),
                    }),
                };
                let over = matches!(event, Event::Ended(_));
                if tell.send((number, event)).await.is_err() || over {
                    return;
                }
            }
        });
        Ok(number)
    }

    /// Starts the worker anew.
    async fn restart(&mut self) {
        self.due = None;
        match self.start() {
            Ok(number) => self.current = Some(number),
            Err(fault) => {
                tracing::error!(%fault, "front has no worker");
                self.plan_restart(None).await;
            }
        }
    }

    async fn say(&self, number: Option<u32>, word: Word) {
        if let Some(staff) = number.and_then(|number| self.workers.get(&number)) {
            // What cannot be said to it shows in its end.
            let _ = staff.line.say(word.byte(), None).await;
        }
    }

    async fn heard(&mut self, number: u32, byte: u8) {
        match Word::of(byte) {
            Some(Word::Prepared) => self.hand_over(number).await,
            Some(Word::Ready) => self.ready(number).await,
            Some(Word::Leaving) => {
                // Until the live servers have their ports back connections still come here.
                (self.ending, self.due) = (true, None);
                if !self.redirects.as_ref().is_some_and(|redirects| redirects.open(number)) {
                    self.opened(number).await;
                }
            }
            Some(word @ (Word::Guard | Word::Unguard)) => {
                let guarded = word == Word::Guard;
                match &self.redirects {
                    Some(redirects) if redirects.guard(guarded, Some(number)) => {}
                    // Too many wait already: it is not done.
                    Some(_) => self.guarded(number, !guarded).await,
                    None => self.guarded(number, guarded).await,
                }
            }
            Some(Word::May) if self.next.is_none() => match self.start() {
                Ok(next) => self.next = Some(next),
                Err(fault) => {
                    tracing::error!(%fault, "worker not replaced");
                    self.say(Some(number), Word::KeepOn).await;
                }
            },
            Some(Word::MayNot) => {
                tracing::warn!("worker not replaced: a unit is held; ask again after its release");
            }
            _ => {}
        }
    }

    /// Gives a worker the sockets; the first one has them opened.
    async fn hand_over(&mut self, number: u32) {
        if self.ending {
            return self.say(Some(number), Word::GiveUp).await;
        }
        let mut last = Word::Open;
        if let Sockets::Unopened(handed) = &mut self.sockets {
            let Opened { sockets, mut fault } = open_all(&self.options, std::mem::take(handed));
            self.sockets = Sockets::Open(sockets);
            if let (None, Some(redirects)) = (&fault, &self.redirects) {
                fault = redirects.begin(store::guards(&self.options.state)).await.err();
            }
            if fault.is_some() {
                (self.fault, self.ending, last) = (fault, true, Word::GiveUp);
            }
        }
        if let (Sockets::Open(sockets), Some(staff)) = (&self.sockets, self.workers.get(&number)) {
            for socket in sockets {
                let _ = staff.line.say(Word::Socket.byte(), Some(socket.as_fd())).await;
            }
        } else {
            last = Word::GiveUp;
        }
        self.say(Some(number), last).await;
        if self.ending {
            self.sockets = Sockets::Closed;
        }
    }

    async fn ready(&mut self, number: u32) {
        let Some(staff) = self.workers.get_mut(&number) else { return };
        staff.since = Some(Instant::now());
        self.served = true;
        tracing::info!(name = %self.options.name, pid = %staff.pid, "worker serves");
        if self.next == Some(number) {
            self.next = None;
            let former = self.current.replace(number);
            self.say(former, Word::Retire).await;
        }
        self.tell_if_alone().await;
        // What the former one wrote last it may not have come to say.
        if let Some(redirects) = &self.redirects
            && !redirects.guard(store::guards(&self.options.state), None)
        {
            tracing::error!("too much is asked of the packet filter: it is as it was");
        }
        if !self.led {
            self.say(Some(number), Word::Lost).await;
        }
    }

    /// It is sure, or not any more, that new connections come here.
    async fn turned(&mut self, led: bool) {
        self.led = led;
        self.say(self.current, if led { Word::Led } else { Word::Lost }).await;
    }

    /// What came of asking whether visitors reach the live servers.
    async fn guarded(&self, number: u32, guarded: bool) {
        self.say(Some(number), if guarded { Word::Guarded } else { Word::Unguarded }).await;
    }

    /// New connections go to the live servers.
    async fn opened(&mut self, number: u32) {
        self.sockets = Sockets::Closed;
        self.say(Some(number), Word::Closed).await;
    }

    /// Tells the worker that serves when no other one has requests any more.
    async fn tell_if_alone(&self) {
        if self.workers.len() == 1 {
            self.say(self.current, Word::Alone).await;
        }
    }

    async fn ended(&mut self, number: u32, how: &str) {
        let Some(gone) = self.workers.remove(&number) else { return };
        let pid = gone.pid;
        if self.ending {
            tracing::info!(%pid, how, "worker ended");
        } else if self.next == Some(number) {
            tracing::error!(%pid, how, "the new worker ended: the former one goes on");
            self.next = None;
            self.say(self.current, Word::KeepOn).await;
        } else if self.current != Some(number) {
            tracing::info!(%pid, how, "former worker ended");
            self.tell_if_alone().await;
        } else if !self.served {
            let op = format!("start front `{}`", self.options.name);
            self.fault = Some(
                Fault::new("SG0126", FaultKind::Invalid, op, format!("its worker ended: {how}"))
                    .hint("its last words stand above"),
            );
            self.end();
        } else {
            tracing::error!(%pid, how, "worker ended: connections wait for the next one");
            self.current = self.next.take();
            if self.current.is_none() {
                self.plan_restart(gone.since).await;
            }
            self.tell_if_alone().await;
        }
    }

    /// Decides when the next worker starts, if it does. `since` is when the last one served.
    async fn plan_restart(&mut self, since: Option<Instant>) {
        let now = Instant::now();
        let next = self.record.died(now, since);
        let gives_back = self.options.ports.iter().any(|port| port.is_live() || port.join);
        match next {
            Next::After(pause) => self.due = Some(now + pause),
            Next::GiveUp(pause)
                if !gives_back
                    || store::guards(&self.options.state)
                    || self.options.unserved().await.is_some() =>
            {
                tracing::error!(?pause, "workers end again and again; the port stays closed");
                self.due = Some(now + pause);
            }
            Next::GiveUp(_) => {
                let op = format!("keep front `{}`", self.options.name);
                let cause = "its workers ended again and again";
                self.fault = Some(
                    Fault::new("SG0126", FaultKind::Bug, op, cause).leaving(EffectLeft::None).hint(
                        "the port is with its live server again; the log says why they ended",
                    ),
                );
                self.give_back().await;
                self.end();
            }
        }
    }

    /// Lets the live servers have their ports at once.
    async fn give_back(&mut self) {
        if let Some(redirects) = &self.redirects {
            redirects.opened().await;
        }
        let Sockets::Open(sockets) = &self.sockets else { return };
        let ports = crate::listen::in_order(&self.options.ports);
        let mut left = sockets.as_slice();
        // Of a server that was joined closing them is enough: nobody here could take what waits.
        for (port, share) in ports.iter().zip(crate::listen::shares(&ports, sockets)) {
            if port.take_over
                && let Err(fault) = takeover::give_back(&left[0])
            {
                tracing::error!(%fault, "port not given back before closing it");
            }
            left = &left[share..];
        }
    }

    async fn ask_to_replace(&mut self) {
        let serves = |number: &u32| self.workers.get(number).is_some_and(|s| s.since.is_some());
        match self.current.filter(serves) {
            Some(current) if self.workers.len() == 1 && !self.ending => {
                self.say(Some(current), Word::Prepare).await;
            }
            _ => tracing::warn!("worker not replaced: another one begins or ends just now"),
        }
    }

    /// Closes the sockets and asks every worker to finish.
    fn end(&mut self) {
        self.sockets = Sockets::Closed;
        (self.ending, self.due) = (true, None);
        for staff in self.workers.values() {
            handover::ask_to_end(staff.pid);
        }
    }
}
