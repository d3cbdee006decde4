//! Commands that are nothing but a request to the controller.

use crate::args::{Command, PickArgs, UnitCommand, WaveCommand};
use anyhow::{Context, Result, bail};
use segue_server::api::{self, Pick, Saying};

/// Returns the request that a command line means.
///
/// # Errors
/// If the command is not one that a controller carries out.
pub(crate) fn command(asked: Command) -> Result<api::Command> {
    Ok(match asked {
        Command::Sync { hash, pick } => api::Command::Sync { hash, pick: picked(pick) },
        Command::Cutover { hash, prepare_only, pick } => {
            api::Command::Cutover { hash, prepare_only, pick: picked(pick) }
        }
        Command::Split { hash, back, pick } => {
            api::Command::Split { hash, back, pick: picked(pick) }
        }
        Command::Drill { hash, pick } => api::Command::Drill { hash, pick: picked(pick) },
        Command::Rehearse { hash, pick, faults, keep, list_faults: false } => {
            api::Command::Rehearse { hash, pick: picked(pick), faults, keep }
        }
        Command::Rollback { because, pick } => {
            api::Command::Rollback { because, pick: picked(pick) }
        }
        Command::Confirm { pick } => api::Command::Confirm { pick: picked(pick) },
        Command::Settle { hash, pick } => api::Command::Settle { hash, pick: picked(pick) },
        Command::Resume { pick, .. } => api::Command::Resume { pick: picked(pick) },
        Command::ExportDelta { pick } => api::Command::ExportDelta { pick: picked(pick) },
        Command::Approve { role } => said(Saying::Approve { role }),
        Command::Ack { item, note } => said(Saying::Acknowledge { item, note }),
        Command::Waive { rule, because, unit } => said(Saying::Waive { rule, unit, because }),
        Command::Unit { what } => said(about_unit(what)?),
        Command::Wave { what: WaveCommand::Resume { wave } } => said(Saying::ResumeWave { wave }),
        other => bail!("{other:?} is not for the controller"),
    })
}

fn picked(pick: PickArgs) -> Pick {
    Pick { units: pick.units, wave: pick.wave }
}

fn said(saying: Saying) -> api::Command {
    api::Command::Say { saying }
}

fn about_unit(what: UnitCommand) -> Result<Saying> {
    Ok(match what {
        UnitCommand::Exclude { unit, because } => Saying::Exclude { unit, because },
        UnitCommand::Include { unit } => Saying::Include { unit },
        UnitCommand::Defer { unit, until, because } => {
            let not_before_ms = u64::try_from(until.as_millisecond())
                .with_context(|| format!("{until} is before 1970"))?;
            Saying::Defer { unit, not_before_ms, because }
        }
    })
}
