//! A zone file and a command that makes the server read it: BIND, Knot DNS, NSD without updates.
//!
//! A server that is told to read a file may answer that it will and keep the former zone, if the
//! new one is wrong (BIND: "zone reload queued"). So the text is checked before it takes the
//! file's place, the serial only goes forward (a lower or an equal one leaves secondaries
//! behind without an error), and what counts is what the name servers answer afterwards.

use super::reread::{as_expected, keep_name_servers};
use super::{Capabilities, Driver, Late, Session, State, Swap, Tried, apex, pick};
use crate::audit::read_zone_file;
use crate::change::Change;
use crate::codes;
use crate::sets::SetKey;
use crate::zone::Contents;
use crate::zonefile::{self, Edited};
use async_trait::async_trait;
use segue_doors::process::{Invocation, find_program};
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time of one command.
const COMMAND_MAX: Duration = Duration::from_secs(30);

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        driver: "zone_file",
        all_or_none: true,
        atomic_when_asked: true,
        swap: Swap::ReadAgain,
        late: Late::CannotCome,
        signs: false,
        ttl_min_s: 0,
        largest: "1 GiB",
        own_ns: true,
        remark: "the server must not take updates for the zone besides",
    }
}

/// A zone file.
#[derive(Debug, Clone)]
pub(super) struct ZoneFile {
    pub(super) zone: String,
    pub(super) file: PathBuf,
    pub(super) reload: Vec<String>,
}

#[async_trait]
impl Driver for ZoneFile {
    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn place(&self) -> String {
        self.file.display().to_string()
    }

    fn by_hand(&self) -> String {
        format!(
            "in `{}` write each owned set as the journal's `former` of this step shows it, make the \
             SOA's serial higher (never lower), then run `{}`",
            self.file.display(),
            self.reload.join(" ")
        )
    }

    async fn open(&self, _op: &str, _until: Instant) -> Outcome<Box<dyn Session>> {
        Ok(Box::new(self.clone()))
    }

    async fn contents(&self, _until: Instant) -> Outcome<Contents> {
        let (apex, file) = (apex(&self.zone)?, self.file.clone());
        // A large file takes a while.
        let read = tokio::task::spawn_blocking(move || read_zone_file(&apex, &file)).await;
        let gone = |e| Fault::new(codes::ZONE_FILE, FaultKind::Bug, "read a zone file", e);
        Ok(read.map_err(gone)??.contents)
    }
}

impl ZoneFile {
    /// Puts a text into the place of the file, whole or not at all.
    fn replace(&self, edited: &Edited, former: &[u8], op: &str) -> Outcome<()> {
        let fail = |e: std::io::Error| {
            Fault::new(codes::ZONE_FILE, FaultKind::Denied, format!("{op}: write"), e)
                .hint("the file is as it was; let this user write into its folder")
        };
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        if !edited.in_place {
            let serial = edited.serial.wrapping_sub(1);
            let kept = beside(&self.file, &format!(".before-segue-{serial}"));
            fs::write(&kept, former).map_err(fail)?;
            tracing::warn!(file = %self.file.display(), kept = %kept.display(),
                "the zone file is written anew; its former text is kept");
        }
        let draft = self.draft(&edited.text).map_err(fail)?;
        fs::rename(&draft, &self.file).map_err(fail)?;
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| fail(e).leaving(EffectLeft::Done))
    }

    /// Writes the text beside the file, with its rights.
    fn draft(&self, text: &[u8]) -> std::io::Result<PathBuf> {
        let draft = beside(&self.file, ".segue");
        let mut file = File::create(&draft)?;
        file.write_all(text)?;
        file.set_permissions(fs::metadata(&self.file)?.permissions())?;
        file.sync_all()?;
        Ok(draft)
    }

    /// Lets BIND's own checker look at the text, where it is installed.
    async fn check(&self, text: &[u8], op: &str) -> Outcome<()> {
        let Some(program) = find_program("named-checkzone") else { return Ok(()) };
        let fail = |e: std::io::Error| {
            Fault::new(codes::ZONE_FILE, FaultKind::Denied, format!("{op}: stage"), e)
                .hint("the file is as it was; let this user write into its folder")
        };
        let draft = self.draft(text).map_err(fail)?;
        let check = Invocation::new(program, COMMAND_MAX)
            .args(["-q", "-i", "local", &self.zone])
            .arg(draft.as_os_str());
        let checked = match self.file.parent() {
            Some(folder) => check.folder(folder),
            None => check,
        };
        let done = checked.run().await?;
        if done.status.success() {
            return Ok(());
        }
        let cause = format!("named-checkzone refuses the new text: {}", said(&done));
        Err(Fault::new(codes::GUARD, FaultKind::Invalid, op, cause)
            .hint(format!("the file is as it was; the text is in `{}`", draft.display())))
    }

    async fn reload(&self, op: &str) -> Outcome<()> {
        let done = Invocation::from_vector(&self.reload, COMMAND_MAX)?.run().await;
        let done = done.map_err(|fault| fault.leaving(EffectLeft::Done))?;
        if done.status.success() {
            return Ok(());
        }
        let cause = format!("the command ended with {}: {}", done.status, said(&done));
        Err(Fault::new(codes::API, FaultKind::Invalid, format!("{op}: reload"), cause)
            .leaving(EffectLeft::Done)
            .hint("the file has the change, the server may not; mend the command, then try again"))
    }
}

fn said(done: &segue_doors::process::Finished) -> String {
    let out = String::from_utf8_lossy(&done.stdout);
    format!("{} {}", done.last_words(), out.trim()).trim().to_owned()
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    file.with_file_name(name)
}

#[async_trait]
impl Session for ZoneFile {
    async fn state(&mut self, keys: &[SetKey], _op: &str, until: Instant) -> Outcome<State> {
        Ok(pick(&self.contents(until).await?, keys))
    }

    async fn change(&mut self, change: &Change, op: &str, until: Instant) -> Outcome<Tried> {
        keep_name_servers(&self.zone, change, op)?;
        let unreadable = |cause: String| {
            Fault::new(codes::ZONE_FILE, FaultKind::Invalid, op, cause).hint("nothing was changed")
        };
        let former = fs::read(&self.file).map_err(|e| unreadable(e.to_string()))?;
        let folder = self.file.parent().unwrap_or(Path::new("/")).to_owned();
        let mut load = |name: &str| fs::read(folder.join(name)).map_err(|e| e.to_string());
        let name = self.file.display().to_string();
        let edited = zonefile::edit(&self.zone, &name, &former, &mut load, change);
        let edited = edited.map_err(|remarks| {
            let lines: Vec<String> = remarks.iter().map(ToString::to_string).collect();
            unreadable(lines.join("; "))
        })?;
        self.check(&edited.text, op).await?;
        let keys: Vec<SetKey> = change.former.iter().map(|set| set.key.clone()).collect();
        let unmoved = fs::read(&self.file).is_ok_and(|now| now == former);
        if !unmoved || !as_expected(&self.state(&keys, op, until).await?, change) {
            return Ok(Tried::Moved);
        }
        self.replace(&edited, &former, op)?;
        self.reload(op).await?;
        Ok(Tried::Acknowledged)
    }

    async fn again(&mut self, op: &str, _until: Instant) -> Outcome<()> {
        self.reload(op).await
    }

    /// The text takes the file's place in this process; a dead one does nothing any more, and
    /// its child only lets the server read what is there.
    async fn close_off(&mut self, _op: &str, _until: Instant) -> Outcome<()> {
        Ok(())
    }
}
