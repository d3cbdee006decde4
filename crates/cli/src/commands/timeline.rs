//! `segue timeline`: what is due when, whose duty it is and how it stands.

use crate::drive;
use anyhow::{Result, bail};
use segue_server::api::{Command, Line};
use segue_server::client;
use std::path::Path;

/// Asks the controller; where none runs, or before a run, reads plan and journal.
///
/// # Errors
/// If there is neither a run nor such a plan, or they cannot be read.
pub(crate) async fn run(dir: &Path, hash: Option<&str>, json: bool) -> Result<u8> {
    if hash.is_none() && client::is_running(dir).await {
        return ask(dir, json).await;
    }
    let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond())?;
    let timeline = segue_server::timeline::of(dir, hash, now_ms)?;
    if json {
        println!("{}", serde_json::to_string(&timeline.result)?);
    } else {
        println!("{}", timeline.text);
    }
    Ok(0)
}

async fn ask(dir: &Path, json: bool) -> Result<u8> {
    let mut answers = client::send(dir, &drive::person(), Command::Timeline).await?;
    while let Some(line) = answers.next().await? {
        if let Line::End { exit, text, result } = line {
            if json && exit == 0 {
                println!("{result}");
            } else {
                println!("{text}");
            }
            return Ok(exit);
        }
    }
    bail!("the controller closed the connection; `segue timeline` again reads the journal")
}
