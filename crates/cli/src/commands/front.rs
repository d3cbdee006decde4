//! `segue front`: a front as a process of its own.

use crate::args::FrontArgs;
use anyhow::{Context, Result, bail};
use segue_front::{FrontOptions, PortOptions};
use segue_model::Side;
use segue_model::plan::{FrontLimits, PortKind};
use tracing_subscriber::EnvFilter;

/// Runs the front until it is told to end.
///
/// # Errors
/// If the options, an address, the control socket or the state file cannot be used.
pub(crate) async fn run(args: FrontArgs) -> Result<u8> {
    let options = match &args.options {
        Some(file) => FrontOptions::read(file)?,
        None => by_hand(args)?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("SEGUE_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    segue_front::run(options).await?;
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
        default_backend: args.default_backend.with_context(|| missing("default-backend"))?,
        tls: None,
        proxy_in: false,
    };
    Ok(FrontOptions {
        name: args.name.with_context(|| missing("name"))?,
        side,
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
    fn a_file_says_all_of_it() {
        assert!(parsed(&["--options=/var/a.json.options"]).is_ok());
        for more in BY_HAND {
            assert!(parsed(&["--options=/var/a.json.options", more]).is_err(), "{more}");
        }
    }
}
