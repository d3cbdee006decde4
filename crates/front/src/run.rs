//! A front from start to end.

use crate::desk::{self, ControlSocket, Desk};
use crate::front::Front;
use crate::keeper::{Kept, Wish};
use crate::limits::Limits;
use crate::listen::{self, Door};
use crate::metrics;
use crate::options::FrontOptions;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use segue_model::{Fault, FaultKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// After the port is closed at the end of the process, clients that are about to send
/// on an idle connection still get an answer for this long.
const LAST_REQUESTS: Duration = Duration::from_millis(1_000);

/// Serves alone, without a keeper, until SIGTERM, SIGINT or a bypass, then finishes what runs.
/// Needs a tokio runtime with time and I/O.
///
/// # Errors
/// `SG0120` if the state file cannot be read, `SG0124` if a port for TLS has no certificate, `SG0121` if an address cannot be listened
/// at, `SG0122` if the control socket cannot be opened, `SG013x` if a port cannot be
/// taken over. In each case nothing was changed: ports are opened all or none.
pub async fn serve(options: FrontOptions) -> Result<(), Fault> {
    small_pages();
    Worker::run(options, Limits::default(), signalled()?, None).await
}

/// Does what [`serve`] does with the sockets of the keeper that started this process
/// ([`crate::keep`]), and ends also with it, or when another worker takes its place.
///
/// # Errors
/// Those of [`serve`]; `SG0126` if no keeper started this process, or it has other ports.
pub async fn work(options: FrontOptions) -> Result<(), Fault> {
    small_pages();
    let ends = signalled()?;
    let kept = Kept::meet().await?;
    Worker::run(options, Limits::default(), ends, Some(Arc::new(kept))).await
}

/// Does what [`serve`] does with bounds of its own, until `end` is ready.
///
/// # Errors
/// Those of [`serve`].
pub async fn run_until(
    options: FrontOptions,
    limits: Limits,
    end: impl Future<Output = ()>,
) -> Result<(), Fault> {
    Worker::run(options, limits, end, None).await
}

/// Asks the kernel for no huge pages. With them the room that the HTTP layer reserves for each
/// connection and that a waiting one never touches is memory all the same: a third more of it
/// for each request that is held. Where the kernel refuses, it costs that and nothing else.
fn small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay");
    }
}

/// Returns what is ready once somebody asks this process to end.
fn signalled() -> Result<impl Future<Output = ()>, Fault> {
    let asked = |kind| {
        signal(kind)
            .map_err(|e| Fault::new("SG0121", FaultKind::Unsupported, "listen for signals", e))
    };
    let (mut terminate, mut interrupt) =
        (asked(SignalKind::terminate())?, asked(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    })
}

/// The parts of a front that runs.
struct Worker {
    front: Arc<Front>,
    desk: Arc<Desk>,
    door: Door,
    /// Asks connections to finish.
    hurry: CancellationToken,
}

impl Worker {
    async fn run(
        options: FrontOptions,
        limits: Limits,
        end: impl Future<Output = ()>,
        kept: Option<Arc<Kept>>,
    ) -> Result<(), Fault> {
        let limits = limits.asked(&options.limits, raise_descriptor_limit());
        let succeeds = kept.as_ref().is_some_and(|kept| !kept.is_alone());
        let door = Door::of(kept);
        let front = Front::new(options, limits)?;
        let desk = Arc::new(Desk::restore(front.clone(), door.clone())?);
        desk.take_figures().await;
        desk.publish().await;
        let _figures = match front.options().metrics {
            None => None,
            Some(address) => {
                // Its predecessor may have the port still: that is waited for.
                let first = if succeeds { None } else { Some(metrics::open(address).await?) };
                let serving = metrics::serve(first, address, desk.clone());
                Some(AbortOnDropHandle::new(tokio::spawn(serving)))
            }
        };
        let control = ControlSocket::open(&front.options().control, succeeds).await?;
        Self { front, desk, door, hurry: CancellationToken::new() }.serve(&control, end).await
    }

    async fn serve(
        &self,
        control: &ControlSocket,
        end: impl Future<Output = ()>,
    ) -> Result<(), Fault> {
        let Self { front, desk, door, hurry } = self;
        let ports = match listen::open(front, door, hurry).await {
            Ok(Some(ports)) => ports,
            other => {
                self.terminate(front.limits().finish).await;
                return other.map(|_| ());
            }
        };
        for port in &front.options().ports {
            let (name, kind, listen) = (&front.options().name, port.kind, port.listen);
            tracing::info!(%name, %kind, %listen, "front serves");
        }
        let serving = listen::serve(front.clone(), ports, door.clone(), hurry.clone());
        let _accepting = AbortOnDropHandle::new(tokio::spawn(serving));
        let following = front.entrances().iter().filter_map(|entrance| entrance.tls().cloned());
        let _following: Vec<_> =
            following.map(|tls| AbortOnDropHandle::new(tokio::spawn(tls.follow()))).collect();
        let _counting = AbortOnDropHandle::new(tokio::spawn(desk.clone().keep_figures()));
        if let Some(kept) = door.kept() {
            kept.ready().await;
        }
        tokio::select! {
            () = self.ending(end) => {}
            () = desk::serve(control, desk.clone()) => {}
            () = every_second(front) => {}
            () = self.rest_of_former() => {}
            () = self.kept() => {}
        }
        tracing::info!("front ends");
        Ok(())
    }

    /// Waits until somebody asks to end, and until that is done in order.
    async fn ending(&self, end: impl Future<Output = ()>) {
        tokio::select! {
            () = end => {
                self.door.leave().await;
                self.terminate(self.front.limits().finish).await;
            }
            () = self.bypassed() => {}
        }
    }

    /// Counts what former processes counted to their end, once they are gone.
    async fn rest_of_former(&self) {
        if let Some(kept) = self.door.kept() {
            kept.alone().await;
        }
        self.desk.take_rest().await;
        std::future::pending().await
    }

    /// Follows the keeper until this process is no longer needed, and everything ran to its end.
    async fn kept(&self) {
        let Some(kept) = self.door.kept() else { return std::future::pending().await };
        loop {
            match kept.wish().await {
                Wish::Prepare => kept.may_be_replaced(self.desk.hand_on().await).await,
                Wish::KeepOn => self.desk.take_back().await,
                Wish::Retire => {
                    tracing::info!("another worker serves: this one finishes what runs");
                    return self.retire().await;
                }
                Wish::Gone => {
                    tracing::error!("the keeper of the front is gone: its ports go with it");
                    return;
                }
            }
        }
    }

    /// Leaves the place to another worker, and finishes what runs.
    async fn retire(&self) {
        self.desk.supersede();
        self.door.retire().await;
        let limits = self.front.limits();
        // Requests run to their end. A stream has none of its own.
        let streams = async {
            tokio::time::sleep(LAST_REQUESTS + limits.finish).await;
            self.desk.end_streams().await;
            std::future::pending().await
        };
        tokio::select! {
            () = self.terminate(limits.orphan) => {}
            () = streams => {}
        }
        self.front.tick();
        self.desk.leave_figures().await;
    }

    /// Waits until a bypass was asked for and the last connection has ended by itself.
    /// Each ends with its next answer, or when it was idle for long.
    async fn bypassed(&self) {
        self.door.leaving().await;
        self.door.leave().await;
        let tracker = self.front.tasks();
        tracker.close();
        tracker.wait().await;
        // The answer to the bypass is on its way.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// Lets running requests finish, for so long at most.
    async fn terminate(&self, finish: Duration) {
        let tracker: &TaskTracker = self.front.tasks();
        tracker.close();
        if tokio::time::timeout(LAST_REQUESTS, tracker.wait()).await.is_ok() {
            return;
        }
        self.hurry.cancel();
        if tokio::time::timeout(finish, tracker.wait()).await.is_err() {
            tracing::warn!(open = tracker.len(), "connections cut: their requests took too long");
        }
    }
}

async fn every_second(front: &Front) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        front.tick();
    }
}

/// Allows as many descriptors as the administrator lets this process have: each client
/// needs two, and a hold keeps clients waiting. Returns how many that are.
fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "descriptor limit not raised");
    }
    // None is no limit.
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(now).unwrap_or(usize::MAX)
}
