//! Whether a failback would lose anything.

use crate::link::Link;
use crate::stream;
use segue_model::Side;
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the target may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait while the stream stands for another unit's sake.
const STANDSTILL: Duration = Duration::from_millis(2_500);

/// How far the way back has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayBack {
    /// Whether the target answered with its position and a row of the unit's data.
    pub target_readable: bool,
    /// Whether the stream from target to source runs, filtered.
    pub stream_runs: bool,
    /// The target's last position; empty if it did not answer.
    pub target_position: String,
    /// The last position that came back: what a failback without the target would keep.
    pub reached: String,
    /// Transactions that have not come back; `None` if the target did not answer, for then
    /// nobody knows.
    pub missing: Option<u64>,
    /// Why the target could not be read; empty if it could.
    pub because: String,
}

impl WayBack {
    /// Returns whether a failback that fences and drains can bring everything back.
    pub fn is_whole(&self) -> bool {
        self.target_readable && self.stream_runs
    }
}

/// Asks both servers.
pub(crate) async fn look(link: &Link) -> Outcome<WayBack> {
    // A stream that stands for a moment is no way back that is lost; where that lasts, its
    // state is told as it is.
    let _runs = link.pair.cutover(STANDSTILL, "look at the way back").await;
    let mut source = link.open(Side::Source).await?;
    let status = stream::status(link, &mut source).await?;
    let reached = stream::applied(&mut source).await?;
    source.close().await;
    let stream_runs = status.is_some_and(|status| status.runs() && status.carries(link));
    let target = tokio::time::timeout(PATIENCE, target_position(link)).await;
    Ok(match target {
        Ok(Ok(text)) => {
            let position = stream::parse(&text, "read the target's position")?;
            WayBack {
                target_readable: true,
                stream_runs,
                target_position: text,
                reached: reached.only(&position).to_string(),
                missing: Some(reached.missing(&position)),
                because: String::new(),
            }
        }
        other => WayBack {
            target_readable: false,
            stream_runs,
            target_position: String::new(),
            reached: reached.to_string(),
            missing: None,
            because: match other {
                Ok(Err(fault)) => fault.to_string(),
                _ => format!("no answer within {PATIENCE:?}"),
            },
        },
    })
}

async fn target_position(link: &Link) -> Outcome<String> {
    use crate::fault::Explain;
    let mut target = link.open_within(Side::Target, PATIENCE).await?;
    crate::sampler::read_one_row(link, &mut target).await?;
    let position = target
        .one("SELECT @@GLOBAL.gtid_binlog_pos")
        .await
        .reading("read the target's position")?;
    target.close().await;
    Ok(position)
}
