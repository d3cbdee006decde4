//! The command line's end of the control socket.

use crate::api::{Command, Line, Request};
use segue_model::{Fault, FaultKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Returns where the controller of a run directory listens.
pub fn socket_path(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// A request under way.
pub struct Answers {
    lines: Lines<BufReader<OwnedReadHalf>>,
    // Kept open: closing it tells the controller that the view is gone.
    _write: OwnedWriteHalf,
}

impl Answers {
    /// Returns the next line, or `None` when the controller closed the connection.
    ///
    /// # Errors
    /// `SG0802` if the connection breaks or a line is not understood.
    pub async fn next(&mut self) -> Result<Option<Line>, Fault> {
        let fault = |cause: String| {
            Fault::new("SG0802", FaultKind::Unreachable, "read the controller's answer", cause)
                .hint("the run goes on without this view; look with `segue status`")
        };
        match self.lines.next_line().await {
            Ok(Some(text)) => {
                serde_json::from_str(&text).map(Some).map_err(|e| fault(e.to_string()))
            }
            Ok(None) => Ok(None),
            Err(e) => Err(fault(e.to_string())),
        }
    }
}

/// Sends one request to the controller of `dir`.
///
/// # Errors
/// `SG0803` if no controller listens there.
pub async fn send(dir: &Path, by: &str, command: Command) -> Result<Answers, Fault> {
    let path = socket_path(dir);
    let fault = |cause: String| {
        Fault::new(
            "SG0803",
            FaultKind::Unreachable,
            format!("connect to the controller at `{}`", path.display()),
            cause,
        )
        .hint("no controller runs for this directory; `segue resume` starts it")
    };
    let stream = UnixStream::connect(&path).await.map_err(|e| fault(e.to_string()))?;
    let (read, mut write) = stream.into_split();
    let request = Request { by: by.to_owned(), command };
    let mut text = serde_json::to_string(&request).map_err(|e| fault(e.to_string()))?;
    text.push('\n');
    write.write_all(text.as_bytes()).await.map_err(|e| fault(e.to_string()))?;
    Ok(Answers { lines: BufReader::new(read).lines(), _write: write })
}

/// How long a controller may take to greet.
const GREETING_LIMIT: Duration = Duration::from_secs(2);

/// Tells whether a controller answers for `dir`.
///
/// An accepted connection is no proof: a killed process accepts until the kernel has
/// closed its sockets. Only an answer is.
pub async fn is_running(dir: &Path) -> bool {
    let greeting = async {
        let mut answers = send(dir, "greeting", Command::Hello).await.ok()?;
        answers.next().await.ok()?
    };
    matches!(tokio::time::timeout(GREETING_LIMIT, greeting).await, Ok(Some(_)))
}

/// Waits until a controller listens for `dir`.
///
/// # Errors
/// `SG0804` if none does within `limit`.
pub async fn wait_until_running(dir: &Path, limit: Duration) -> Result<(), Fault> {
    let waiting = async {
        while !is_running(dir).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(limit, waiting).await.map_err(|_| {
        Fault::new(
            "SG0804",
            FaultKind::Timeout,
            format!("start the controller for `{}`", dir.display()),
            format!("it does not answer after {} s", limit.as_secs()),
        )
        .hint(format!("its last words stand in `{}`", dir.join("controller.log").display()))
    })
}
