//! A front from start to end.

use crate::desk::{self, ControlSocket, Desk};
use crate::front::Front;
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

/// Serves until SIGTERM, SIGINT or a bypass, then finishes what runs. Needs a tokio
/// runtime with time and I/O.
///
/// # Errors
/// `SG0120` if the state file cannot be read, `SG0124` if a port for TLS has no certificate, `SG0121` if an address cannot be listened
/// at, `SG0122` if the control socket cannot be opened, `SG013x` if a port cannot be
/// taken over. In each case nothing was changed: ports are opened all or none.
pub async fn run(options: FrontOptions) -> Result<(), Fault> {
    let asked = |kind| {
        signal(kind)
            .map_err(|e| Fault::new("SG0121", FaultKind::Unsupported, "listen for signals", e))
    };
    let (mut terminate, mut interrupt) =
        (asked(SignalKind::terminate())?, asked(SignalKind::interrupt())?);
    let end = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    run_until(options, Limits::default(), end).await
}

/// Does what [`run`] does with bounds of its own, until `end` is ready.
///
/// # Errors
/// Those of [`run`].
pub async fn run_until(
    options: FrontOptions,
    limits: Limits,
    end: impl Future<Output = ()>,
) -> Result<(), Fault> {
    let limits = limits.asked(&options.limits, raise_descriptor_limit());
    let finish = limits.finish;
    let door = Door::default();
    let front = Front::new(options, limits)?;
    let desk = Arc::new(Desk::restore(front.clone(), door.clone())?);
    desk.publish().await;
    let figures = match front.options().metrics {
        Some(address) => Some(metrics::open(address).await?),
        None => None,
    };
    let control = ControlSocket::open(&front.options().control).await?;
    let (hurry, tasks) = (CancellationToken::new(), front.tasks());
    let ports = match listen::open(&front, &hurry).await {
        Ok(ports) => ports,
        Err(fault) => {
            terminate(tasks, &hurry, finish).await;
            return Err(fault);
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
    let _figures = figures.map(|listener| {
        AbortOnDropHandle::new(tokio::spawn(metrics::serve(listener, desk.clone())))
    });
    let ending = async {
        tokio::select! {
            () = end => {
                door.leave().await;
                terminate(tasks, &hurry, finish).await;
            }
            () = bypassed(&door, tasks) => {}
        }
    };
    tokio::select! {
        () = ending => {}
        () = desk::serve(&control, desk) => {}
        () = every_second(&front) => {}
    }
    tracing::info!("front ends");
    Ok(())
}

/// Waits until a bypass was asked for and the last connection has ended by itself.
/// Each ends with its next answer, or when it was idle for long.
async fn bypassed(door: &Door, tracker: &TaskTracker) {
    door.leaving().await;
    door.leave().await;
    tracker.close();
    tracker.wait().await;
    // The answer to the bypass is on its way.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Lets running requests finish.
async fn terminate(tracker: &TaskTracker, hurry: &CancellationToken, finish: Duration) {
    tracker.close();
    if tokio::time::timeout(LAST_REQUESTS, tracker.wait()).await.is_ok() {
        return;
    }
    hurry.cancel();
    if tokio::time::timeout(finish, tracker.wait()).await.is_err() {
        tracing::warn!(open = tracker.len(), "connections cut: their requests took too long");
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
