//! HAProxy's Runtime socket (management guide, section 9.3): a command, its answer, the end.

use segue_model::{EffectLeft, Fault, FaultKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_500);

/// Longest answer: a list of all sessions of a busy machine.
const ANSWER_MAX: u64 = 64 << 20;

/// The socket.
pub(super) struct Runtime {
    path: PathBuf,
}

impl Runtime {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Sends one command and returns its answer, without empty lines around it.
    ///
    /// # Errors
    /// `SG0166` if nobody answers.
    pub(super) async fn ask(&self, command: &str) -> Result<String, Fault> {
        let asked = tokio::time::timeout(ANSWER_LIMIT, exchange(&self.path, command)).await;
        let cause = match asked {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} ms", ANSWER_LIMIT.as_millis()),
        };
        Err(self.fault(command, FaultKind::Unreachable, cause))
    }

    /// Sends a command that changes something; its answer is empty when it is done.
    ///
    /// # Errors
    /// `SG0166` if nobody answers or it is refused.
    pub(super) async fn tell(&self, command: &str) -> Result<(), Fault> {
        let answer = self.ask(command).await.map_err(|fault| fault.leaving(EffectLeft::Maybe))?;
        if answer.is_empty() {
            return Ok(());
        }
        Err(self.fault(command, FaultKind::Invalid, answer))
    }

    fn fault(&self, command: &str, kind: FaultKind, cause: String) -> Fault {
        let op = format!("ask HAProxy at `{}` to {command}", self.path.display());
        Fault::new("SG0166", kind, op, cause).hint(
            "look whether HAProxy runs with `stats socket ... level admin` and with what \
             `segue fragments` prints",
        )
    }
}

async fn exchange(path: &Path, command: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(command.as_bytes()).await?;
    stream.write_all(b"\n").await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}
