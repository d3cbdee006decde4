//! The controller's end of the control socket.

use super::{Reply, Request};
use futures_util::{FutureExt, SinkExt, StreamExt};
use segue_model::{EffectLeft, Fault, FaultKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio_util::codec::{Framed, LinesCodec};

/// Longest line either end accepts, bytes.
pub(crate) const LINE_MAX: usize = 4 << 20;

/// Time allowed for a request that the front answers at once.
const TIME_ALLOWED: Duration = Duration::from_secs(5);

/// Time that leaving its ports may take a front longer than other requests: it waits for handshakes
/// that are under way, and looks for the sockets of a server that it joined; its keeper takes up to
/// 15 s to let go of ports that are redirected.
const LEAVING_ALLOWED: Duration = Duration::from_secs(20);

type Lines = Framed<UnixStream, LinesCodec>;

/// A connection to a front. Requests of one client wait for each other; a second
/// client renews leases meanwhile. A broken connection is opened anew by the next call.
pub struct Client {
    path: PathBuf,
    limit: Duration,
    lines: Mutex<Option<Lines>>,
}

impl Client {
    /// Connects to the control socket at `path`.
    ///
    /// # Errors
    /// `SG0101` if no front answers there.
    pub async fn connect(path: &Path) -> Result<Self, Fault> {
        let lines = open(path).await.map_err(|e| unreachable(path, "connect to", e))?;
        Ok(Self { path: path.to_owned(), limit: TIME_ALLOWED, lines: Mutex::new(Some(lines)) })
    }

    /// Sets the time allowed for each call; 5 s unless set. Time that a request itself
    /// asks for comes on top.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends a request and returns its answer; never [`Reply::Refused`].
    ///
    /// # Errors
    /// `SG0101` if the front cannot be reached (nothing was sent), `SG0102` if it
    /// closed the connection or gave no answer in time (a change may have taken
    /// effect: ask for [`Request::Hello`]), else the front's own refusal.
    pub async fn call(&self, request: &Request) -> Result<Reply, Fault> {
        let mut place = self.lines.lock().await;
        let what = request.what();
        // Taken out while in use: a call that is given up leaves no half-read answer behind.
        let mut lines = match place.take().and_then(unless_closed) {
            Some(lines) => lines,
            None => open(&self.path).await.map_err(|e| unreachable(&self.path, &what, e))?,
        };
        let allowed = self.limit
            + match request {
                Request::WaitIdle { timeout_ms, .. } => Duration::from_millis(*timeout_ms),
                // The last unit that leaves has the front leave its ports.
                Request::Bypass { .. } | Request::Leave { .. } => LEAVING_ALLOWED,
                _ => Duration::ZERO,
            };
        let reply = match tokio::time::timeout(allowed, exchange(&mut lines, request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(cause)) => return Err(self.unanswered(request, FaultKind::Unreachable, &cause)),
            Err(_) => {
                let cause = format!("no answer within {} ms", allowed.as_millis());
                return Err(self.unanswered(request, FaultKind::Timeout, &cause));
            }
        };
        *place = Some(lines);
        match reply {
            Reply::Refused { fault } => Err(fault),
            reply => Ok(reply),
        }
    }

    fn unanswered(&self, request: &Request, kind: FaultKind, cause: &str) -> Fault {
        let op = format!("{} at `{}`", request.what(), self.path.display());
        let effect = if request.changes() { EffectLeft::Maybe } else { EffectLeft::None };
        Fault::new("SG0102", kind, op, cause)
            .leaving(effect)
            .hint("look whether the front's process runs and what its log says last")
    }
}

/// Gives a connection up that the front has closed since the last call: nothing was asked on it
/// yet that may have taken effect.
fn unless_closed(mut lines: Lines) -> Option<Lines> {
    lines.next().now_or_never().is_none().then_some(lines)
}

async fn open(path: &Path) -> std::io::Result<Lines> {
    let stream = UnixStream::connect(path).await?;
    Ok(Framed::new(stream, LinesCodec::new_with_max_length(LINE_MAX)))
}

async fn exchange(lines: &mut Lines, request: &Request) -> Result<Reply, String> {
    let text = serde_json::to_string(request).map_err(|e| e.to_string())?;
    lines.send(text).await.map_err(|e| e.to_string())?;
    let line = lines.next().await.ok_or("the front closed the connection")?;
    let line = line.map_err(|e| e.to_string())?;
    serde_json::from_str(&line).map_err(|e| format!("answer not understood: {e}"))
}

fn unreachable(path: &Path, what: &str, cause: impl std::fmt::Display) -> Fault {
    Fault::new(
        "SG0101",
        FaultKind::Unreachable,
        format!("{what} front at `{}`", path.display()),
        cause,
    )
    .hint("start the front (`segue front`), or correct `control` in the plan")
}
