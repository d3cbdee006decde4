//! Commands that drive a run: ask the controller, show what it says, return its exit code.

use crate::output::View;
use anyhow::{Context, Result, bail};
use segue_server::api::{Command, Line};
use segue_server::client;
use std::path::Path;
use std::time::Duration;

/// How long a controller may take to answer after it was started: the lease is taken and
/// an open attempt is looked at before the socket opens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long a controller may take to end once it said that it does.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Sends `command` to the controller of `dir`, starting one where none runs.
///
/// # Errors
/// The controller's own, or that it cannot be started or reached.
pub(crate) async fn drive(dir: &Path, json: bool, command: Command) -> Result<u8> {
    start_if_needed(dir).await?;
    follow(dir, json, command).await
}

/// Sends `command` to a controller that must already run.
///
/// # Errors
/// As [`drive`].
pub(crate) async fn follow(dir: &Path, json: bool, command: Command) -> Result<u8> {
    let mut answers = client::send(dir, &person(), command).await?;
    let mut view = View::new(json);
    while let Some(line) = answers.next().await? {
        view.show(&line);
        if let Line::End { exit, .. } = line {
            return Ok(exit);
        }
    }
    bail!("the controller closed the connection; `segue resume` starts it again and goes on")
}

/// Ends the controller of `dir` and waits until it is gone: its files are closed then.
///
/// # Errors
/// As [`drive`]; also if it does not end.
pub(crate) async fn stop(dir: &Path, json: bool) -> Result<u8> {
    let exit = follow(dir, json, Command::Stop).await?;
    segue_server::wait_until_ended(dir, STOP_LIMIT).await?;
    Ok(exit)
}

/// Starts a controller for `dir` in a session of its own unless one runs.
///
/// # Errors
/// If the program cannot be started or does not answer in time.
pub(crate) async fn start_if_needed(dir: &Path) -> Result<()> {
    if client::is_running(dir).await {
        return Ok(());
    }
    start(dir, &[]).await
}

/// Ends the controller of `dir`, whatever it does, and sends `command` to one in its place.
///
/// # Errors
/// As [`drive`]; also if the former one does not end.
pub(crate) async fn take_over(dir: &Path, json: bool, command: Command) -> Result<u8> {
    start(dir, &["--take-over"]).await?;
    follow(dir, json, command).await
}

async fn start(dir: &Path, flags: &[&str]) -> Result<()> {
    std::fs::create_dir_all(dir)
        .with_context(|| format!("create run directory `{}`", dir.display()))?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("controller.log"))
        .with_context(|| format!("open the log in `{}`", dir.display()))?;
    // The controller calls setsid itself, so that a lost terminal ends only the view.
    let mut child = std::process::Command::new(std::env::current_exe()?)
        .arg("--dir")
        .arg(dir)
        .arg("controller")
        .args(flags)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start the controller")?;
    // Until the new one has the lease, an answer would be that of the one it ends.
    let began = std::time::Instant::now();
    while segue_server::holder(dir) != Some(child.id())
        && began.elapsed() < START_LIMIT
        && child.try_wait()?.is_none()
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let running = client::wait_until_running(dir, START_LIMIT);
    tokio::pin!(running);
    loop {
        tokio::select! {
            waited = &mut running => return Ok(waited?),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        let Some(status) = child.try_wait()? else { continue };
        let words = std::fs::read_to_string(dir.join("controller.log")).unwrap_or_default();
        let last: Vec<&str> = words.lines().rev().take(5).collect();
        let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        // Another one may have been quicker: it answers in a moment.
        if !last.contains("SG0610") {
            bail!("the controller ended with {status}:\n{last}");
        }
    }
}

/// Returns the name of the person at the terminal, as the journal shows it.
pub(crate) fn person() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}
