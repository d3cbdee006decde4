//! `segue front`: a front as a process of its own.

use crate::args::FrontArgs;
use anyhow::{Context, Result, bail};
use segue_front::{FrontOptions, PortOptions, Program};
use segue_model::Side;
use segue_model::plan::{FrontLimits, PortKind};
use tracing_subscriber::EnvFilter;

/// Runs the front until it is told to end: its keeper, or one of the keeper's workers.
///
/// # Errors
/// If the options, an address, the control socket or the state file cannot be used.
pub(crate) fn run(args: FrontArgs) -> Result<u8> {
    let (worker, alone) = (args.worker, args.alone);
    let options = match &args.options {
        Some(file) => FrontOptions::read(file)?,
        None => by_hand(args)?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("SEGUE_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let done = |()| 0;
    if worker {
        return super::wait(async { Ok(segue_front::work(options).await.map(done)?) });
    }
    if alone {
        return super::wait(async { Ok(segue_front::serve(options).await.map(done)?) });
    }
    let args = std::env::args_os().skip(1).chain(["--worker".into()]).collect();
    let path = std::env::current_exe().context("find the program of this process")?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the async runtime")?
        .block_on(segue_front::keep(options, Program { path, args }))?;
    Ok(0)
}

/// Makes the options of a front at one port.
fn by_hand(args: FrontArgs) -> Result<FrontOptions> {
    let side = match args.side.as_deref() {
        Some("source") => Side::Source,
        Some("target") => Side::Target,
        other => bail!("--side is `{}`; it is `source` or `target`", other.unwrap_or_default()),
    };
    // The parser asks for all of them unless a file is named.
    let missing = |flag: &'static str| format!("--{flag} is missing");
    let port = PortOptions {
        kind: PortKind::Http,
        listen: args.listen.with_context(|| missing("listen"))?,
        take_over: args.take_over,
        redirect: None,
        join: false,
        default_backend: args.default_backend.with_context(|| missing("default-backend"))?,
        tls: None,
        proxy_out: false,
        proxy_in: false,
        tcp: None,
    };
    Ok(FrontOptions {
        name: args.name.with_context(|| missing("name"))?,
        side,
        run: None,
        ports: vec![port],
        egress: args.egress,
        control: args.control.with_context(|| missing("control"))?,
        state: args.state.with_context(|| missing("state"))?,
        trusted: args.trusted,
        limits: FrontLimits {
            connections_per_client: args.connections_per_client,
            ..FrontLimits::default()
        },
        metrics: args.metrics,
        access_log: None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser;

    const BY_HAND: [&str; 6] = [
        "--name=a",
        "--side=target",
        "--listen=127.0.0.3:80",
        "--control=/run/a.sock",
        "--state=/var/a.json",
        "--default-backend=127.0.0.3:8080",
    ];

    fn parsed(args: &[&str]) -> Result<FrontArgs, clap::Error> {
        // The run's folder is a flag of every command.
        let all = ["segue", "--dir=/run/x", "front"].iter().chain(args);
        match Args::try_parse_from(all)?.command {
            Command::Front(front) => Ok(front),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn a_front_at_one_port_needs_no_file() {
        let options = by_hand(parsed(&BY_HAND).unwrap()).unwrap();
        assert_eq!((options.side, options.ports.len()), (Side::Target, 1));
        assert_eq!(options.ports[0].listen, "127.0.0.3:80".parse().unwrap());
        for missing in BY_HAND {
            let rest: Vec<_> = BY_HAND.into_iter().filter(|flag| *flag != missing).collect();
            assert!(parsed(&rest).is_err(), "{missing} is missing");
        }
    }

    #[test]
    fn a_worker_is_told_what_its_keeper_was() {
        for first in [&BY_HAND[..], &["--options=/var/a.json.options"]] {
            let args = parsed(&[first, &["--worker"]].concat()).unwrap();
            assert!(args.worker && !args.alone);
            assert!(parsed(&[first, &["--worker", "--alone"]].concat()).is_err());
        }
    }

    #[test]
    fn a_file_says_all_of_it() {
        assert!(parsed(&["--options=/var/a.json.options"]).is_ok());
        for more in BY_HAND {
            assert!(parsed(&["--options=/var/a.json.options", more]).is_err(), "{more}");
        }
    }
}
