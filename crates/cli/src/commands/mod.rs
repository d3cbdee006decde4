//! One file a command.

mod ask;
mod compare;
mod completions;
mod controller;
pub(crate) mod dns;
mod doctor;
mod explain;
mod fragments;
mod front;
mod init;
mod journal;
mod plan;
mod rehearse;
mod report;
mod room;
mod status;
mod timeline;
mod verify;

use crate::args::{Args, Command};
use crate::drive;
use anyhow::{Context, Result};
use segue_server::api;
use std::future::Future;

/// Runs the command and returns its exit code.
///
/// # Errors
/// Whatever stopped the command.
pub(crate) fn run(args: Args) -> Result<u8> {
    let Args { dir, json, command } = args;
    match command {
        Command::Init { file } => init::run(&file),
        Command::Doctor { file } => wait(doctor::run(&file, json)),
        Command::Compare(args) => wait(compare::run(args, json)),
        Command::Verify(args) => wait(verify::run(&dir, args, json)),
        Command::Fragments { file, write } => fragments::run(&file, write, json),
        Command::Plan { file, sheet, offline, schema } => {
            wait(plan::run(&dir, &file, json, plan::Wish { sheet, offline, schema }))
        }
        Command::Status => wait(status::run(&dir, json)),
        Command::Timeline { hash } => wait(timeline::run(&dir, hash.as_deref(), json)),
        Command::Watch => wait(drive::follow(&dir, json, api::Command::Watch)),
        Command::Stop => wait(drive::stop(&dir, json)),
        Command::Report { out } => wait(report::run(&dir, &out, json)),
        Command::Journal { after } => journal::run(&dir, after, json),
        Command::Front(front) => front::run(front),
        Command::Dns { what } => wait(dns::run(*what, &dir, json)),
        Command::Explain { code } => explain::run(&code),
        Command::Completions { shell } => completions::run(shell),
        Command::Controller { take_over, readings } => {
            wait(controller::run(&dir, take_over, readings.as_deref()))
        }
        Command::Room { role, home, place } => room::run(role, &home, place),
        Command::Rehearse { hash, list_faults: true, .. } => {
            rehearse::list_faults(&dir, &hash, json)
        }
        Command::Resume { take_over: true, pick } => {
            let resume = ask::command(Command::Resume { take_over: true, pick })?;
            wait(drive::take_over(&dir, json, resume))
        }
        asked => wait(drive::drive(&dir, json, ask::command(asked)?)),
    }
}

/// Runs a future on a runtime of its own.
pub(crate) fn wait(work: impl Future<Output = Result<u8>>) -> Result<u8> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the async runtime")?
        .block_on(work)
}
