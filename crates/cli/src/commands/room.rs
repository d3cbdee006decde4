//! `segue room`: the processes in the closed room of a rehearsal.

use super::wait;
use crate::args::RoomRole;
use anyhow::{Context, Result};
use segue_server::rehearsal;
use std::path::Path;
use tracing_subscriber::EnvFilter;

/// Is one of the room's processes until its work is done.
///
/// # Errors
/// Whatever stopped it; what the rehearsal found stands in its folder.
pub(crate) fn run(role: RoomRole, home: &Path, place: Option<usize>) -> Result<u8> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("SEGUE_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match role {
        RoomRole::First => Ok(rehearsal::first(home)?),
        RoomRole::Second => wait(async {
            let mut tell = |said| {
                if let Ok(line) = serde_json::to_string(&said) {
                    println!("{line}");
                }
            };
            rehearsal::second(home, &mut tell).await?;
            Ok(0)
        }),
        RoomRole::Site => {
            let place = place.context("an application has a place: --place")?;
            wait(async {
                rehearsal::site(home, place).await?;
                Ok(0)
            })
        }
    }
}
