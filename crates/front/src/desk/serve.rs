//! The control socket: who may open it, and one task a connection.

use super::Desk;
use super::rules::refused;
use crate::control::{LINE_MAX, Reply, Request};
use futures_util::{SinkExt, StreamExt};
use segue_model::{Fault, FaultKind};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

/// The listening control socket; its name goes when it is dropped.
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Opens the socket with mode 0600. A name left by a process that is gone is replaced.
    ///
    /// # Errors
    /// `SG0122` if another front answers at that name or the socket cannot be made.
    pub(crate) async fn open(path: &Path) -> Result<Self, Fault> {
        let fault = |cause: &dyn std::fmt::Display, hint: &str| {
            let op = format!("open control socket `{}`", path.display());
            Fault::new("SG0122", FaultKind::Conflict, op, cause).hint(hint)
        };
        if UnixStream::connect(path).await.is_ok() {
            return Err(fault(&"another front answers there", "stop it, or name another socket"));
        }
        let listener =
            bind(path).map_err(|e| fault(&e, "name a folder that exists and may be written to"))?;
        Ok(Self { listener, path: path.to_owned() })
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
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers controllers until dropped.
pub(crate) async fn serve(socket: &ControlSocket, desk: Arc<Desk>) {
    loop {
        match socket.listener.accept().await {
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
    while let Some(line) = lines.next().await {
        let reply = match serde_json::from_str::<Request>(&line?) {
            Ok(request) => {
                let reply = desk.answer(&request).await;
                log(&request, &reply);
                reply
            }
            Err(error) => Reply::Refused { fault: refused("read request", &error.to_string()) },
        };
        let text = serde_json::to_string(&reply).map_err(io::Error::from)?;
        lines.send(text).await?;
    }
    Ok(())
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
