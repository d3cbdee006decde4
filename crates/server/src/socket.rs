//! The control socket: requests in, lines out.

use crate::api::{Command, Line, Request};
use crate::client::socket_path;
use crate::conductor::Conductor;
use segue_model::{Fault, FaultKind};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Binds the socket; a stale one is removed, since the lease is already held.
pub(crate) fn bind(dir: &Path) -> Result<UnixListener, Fault> {
    use std::os::unix::fs::PermissionsExt;
    let path = socket_path(dir);
    let fault = |e: std::io::Error| {
        Fault::new(
            "SG0810",
            FaultKind::Invalid,
            format!("open control socket `{}`", path.display()),
            e,
        )
        .hint("a socket's path has at most 107 characters; name a shorter --dir")
    };
    if path.exists() {
        std::fs::remove_file(&path).map_err(fault)?;
    }
    let listener = UnixListener::bind(&path).map_err(fault)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(fault)?;
    Ok(listener)
}

/// Serves until told to stop, by a request or by SIGTERM. SIGHUP changes nothing. A
/// controller whose journal takes nothing more ends by itself, for the next one to go on.
pub(crate) async fn serve(listener: UnixListener, conductor: Arc<Conductor>) -> Result<(), Fault> {
    let fault = |e: std::io::Error| Fault::new("SG0811", FaultKind::Bug, "listen for signals", e);
    let mut term = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(fault)?;
    loop {
        tokio::select! {
            _ = term.recv() => stop_when_ready(&conductor),
            _ = interrupt.recv() => stop_when_ready(&conductor),
            _ = hangup.recv() => tracing::info!("terminal lost: the run goes on"),
            () = conductor.told_to_stop() => return Ok(()),
            fault = conductor.journal.refused() => {
                tracing::error!(%fault, "the journal takes nothing more: this controller ends");
                return Err(fault);
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let conductor = Arc::clone(&conductor);
                    tokio::spawn(async move {
                        if let Err(error) = talk(stream, conductor).await {
                            tracing::debug!(%error, "a view ended");
                        }
                    });
                }
                Err(error) => tracing::warn!(%error, "control socket does not accept"),
            },
        }
    }
}

/// Ends the controller as soon as no user waits; commands are taken until then.
fn stop_when_ready(conductor: &Arc<Conductor>) {
    let conductor = Arc::clone(conductor);
    tokio::spawn(async move {
        let left = conductor.ready_to_stop().await;
        tracing::info!("told to end by a signal: {left}");
        conductor.stop();
    });
}

async fn talk(stream: UnixStream, conductor: Arc<Conductor>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let Some(text) = lines.next_line().await? else { return Ok(()) };
    let request: Request = match serde_json::from_str(&text) {
        Ok(request) => request,
        Err(e) => return put(&mut write, &failed(format!("request not understood: {e}"))).await,
    };
    let mut events = conductor.subscribe();
    if request.command == Command::Watch {
        put(&mut write, &Line::Status { status: conductor.status().await }).await?;
        return relay(&mut write, &mut events, std::future::pending()).await;
    }
    // The work is a task of its own: a view that goes away does not end it.
    let stops = (request.command == Command::Stop).then(|| Arc::clone(&conductor));
    let work = tokio::spawn(async move { conductor.command(request).await });
    let end = async move {
        match work.await {
            Ok(line) => line,
            Err(e) => failed(format!("a mistake in the controller: {e}")),
        }
    };
    let told = relay(&mut write, &mut events, end).await;
    if let Some(conductor) = stops {
        conductor.stop();
    }
    told
}

/// Passes on what happens until `end` is there, then everything still queued and `end`.
async fn relay(
    write: &mut OwnedWriteHalf,
    events: &mut Receiver<Line>,
    end: impl Future<Output = Line>,
) -> std::io::Result<()> {
    tokio::pin!(end);
    let last = loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(line) => put(write, &line).await?,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            },
            last = &mut end => break last,
        }
    };
    while let Ok(line) = events.try_recv() {
        put(write, &line).await?;
    }
    put(write, &last).await
}

fn failed(text: String) -> Line {
    Line::End { exit: 1, text, result: serde_json::Value::Null }
}

async fn put(write: &mut OwnedWriteHalf, line: &Line) -> std::io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}
