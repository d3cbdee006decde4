//! `segue front`: a front as a process of its own.

use crate::args::FrontArgs;
use anyhow::{Result, bail};
use segue_model::Side;
use tracing_subscriber::EnvFilter;

/// Runs the front until it is told to end.
///
/// # Errors
/// If the address, the control socket or the state file cannot be used.
pub(crate) async fn run(args: FrontArgs) -> Result<u8> {
    let side = match args.side.as_str() {
        "source" => Side::Source,
        "target" => Side::Target,
        other => bail!("--side is `{other}`; it is `source` or `target`"),
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("SEGUE_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    segue_front::run(segue_front::FrontOptions {
        name: args.name,
        side,
        listen: args.listen,
        take_over: args.take_over,
        egress: args.egress,
        control: args.control,
        state: args.state,
        default_backend: args.default_backend,
    })
    .await?;
    Ok(0)
}
