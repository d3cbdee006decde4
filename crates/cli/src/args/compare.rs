//! Flags of the commands that compare both sides.

use std::path::PathBuf;

/// What `segue compare` asks for.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// The plan file
    #[arg(default_value = "segue.toml")]
    pub(crate) file: PathBuf,
    /// The unit, if the plan has several
    #[arg(long)]
    pub(crate) unit: Option<String>,
    /// Log to take URLs from, in common or combined format; the source's of the plan otherwise
    #[arg(long)]
    pub(crate) log: Option<PathBuf>,
    /// Ask only for URLs that begin so; `harmless_paths` of the plan otherwise
    #[arg(long)]
    pub(crate) path: Vec<String>,
    /// Ask for every URL of the log; a GET may write
    #[arg(long)]
    pub(crate) all: bool,
    /// Ask for URLs with a query too
    #[arg(long)]
    pub(crate) queries: bool,
    /// Ask for so many URLs at most, those most asked for first
    #[arg(long, default_value_t = 1_000)]
    pub(crate) limit: usize,
    /// URLs a second; each is asked for three times
    #[arg(long, default_value_t = 10)]
    pub(crate) per_second: u32,
}

/// What `segue verify` asks for.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The plan file
    #[arg(default_value = "segue.toml")]
    pub(crate) file: PathBuf,
    /// This unit only
    #[arg(long)]
    pub(crate) unit: Option<String>,
    /// This table only, and nothing besides; may be given several times
    #[arg(long = "table", value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Share of the time in which a statement may run at either server, as `25%`
    #[arg(long, default_value = "100%", value_parser = share)]
    pub(crate) load: u8,
    /// Wait while more threads than these run at a server (its `Threads_running`)
    #[arg(long, value_name = "THREADS")]
    pub(crate) max_running: Option<u64>,
    /// Forget what an interrupted verification has done, and begin from scratch
    #[arg(long)]
    pub(crate) again: bool,
}

/// Reads a share of hundredths.
fn share(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let share = number.parse().ok().filter(|share| (1..=100).contains(share));
    share.ok_or_else(|| "a share from 1% to 100%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_hundredths() {
        assert_eq!((share("25%"), share("7"), share("100 %")), (Ok(25), Ok(7), Ok(100)));
        for wrong in ["0", "101%", "", "%", "half", "2.5%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
