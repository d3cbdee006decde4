//! The control socket: who may open it, and one task a connection.

use super::Desk;
use super::rules::refused;
use crate::control::{LINE_MAX, Reply, Request};
use futures_util::{SinkExt, StreamExt};
use segue_model::{Fault, FaultKind};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

/// The listening control socket; its name goes when it is dropped, unless another process has
/// taken the name.
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    file: Option<(u64, u64)>,
}

/// Returns what tells a file from others of its name.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|about| (about.dev(), about.ino()))
}

impl ControlSocket {
    /// Opens the socket with mode 0600. A name left by a process that is gone is replaced; that
    /// of one that serves only if this one `succeeds` it.
    ///
    /// # Errors
    /// `SG0122` if another front answers at that name or the socket cannot be made.
    pub(crate) async fn open(path: &Path, succeeds: bool) -> Result<Self, Fault> {
        let fault = |cause: &dyn std::fmt::Display, hint: &str| {
            let op = format!("open control socket `{}`", path.display());
            Fault::new("SG0122", FaultKind::Conflict, op, cause).hint(hint)
        };
        if !succeeds && UnixStream::connect(path).await.is_ok() {
            return Err(fault(&"another front answers there", "stop it, or name another socket"));
        }
        let listener =
            bind(path).map_err(|e| fault(&e, "name a folder that exists and may be written to"))?;
        Ok(Self { listener, path: path.to_owned(), file: identity(path) })
    }
}

/// Makes the socket under another name first, so that it never stands open to others.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let next = PathBuf::from(name);
    let _ = fs::remove_file(&next);
    let listener = UnixListener::bind(&next)?;
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600))?;
    fs::rename(&next, path)?;
    Ok(listener)
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if self.file == identity(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Answers controllers until dropped, or until another process does it.
pub(crate) async fn serve(socket: &ControlSocket, desk: Arc<Desk>) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.listener.accept() => accepted,
            () = desk.superseded().cancelled() => return std::future::pending().await,
        };
        match accepted {
            Ok((stream, _)) => {
                let desk = desk.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &desk).await {
                        tracing::debug!(%error, "control connection broke");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "control socket");
                // Out of descriptors: others must get the chance to close some.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, desk: &Desk) -> Result<(), LinesCodecError> {
    let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(LINE_MAX));
    loop {
        // What was asked is answered; the next question goes to the one that succeeds.
        let line = tokio::select! {
            line = lines.next() => line,
            () = desk.superseded().cancelled() => return Ok(()),
        };
        let Some(line) = line else { return Ok(()) };
        let reply = match serde_json::from_str::<Request>(&line?) {
            Ok(request) => {
                let reply = tokio::select! {
                    reply = desk.answer(&request) => reply,
                    () = desk.superseded().cancelled(), if !request.changes() => return Ok(()),
                };
                log(&request, &reply);
                reply
            }
            Err(error) => Reply::Refused { fault: refused("read request", &error.to_string()) },
        };
        let text = serde_json::to_string(&reply).map_err(io::Error::from)?;
        lines.send(text).await?;
    }
}

fn log(request: &Request, reply: &Reply) {
    let what = request.what();
    match reply {
        Reply::Refused { fault } => tracing::warn!(%what, %fault, "refused"),
        Reply::Lapsed { hold_id, .. } => tracing::warn!(%what, %hold_id, "hold had lapsed"),
        Reply::Busy { count, .. } => tracing::info!(%what, count, "busy"),
        _ if request.mark().is_some() => tracing::info!(%what, "done"),
        _ => tracing::trace!(%what, "answered"),
    }
}
