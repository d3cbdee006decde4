//! A zone file and a command that makes the server read it: BIND, Knot DNS, NSD without updates.
//!
//! A server that is told to read a file may answer that it will and keep the former zone, if the
//! new one is wrong (BIND: "zone reload queued"). So the text is checked before it takes the
//! file's place, the serial only goes forward (a lower or an equal one leaves secondaries
//! behind without an error), and what counts is what the name servers answer afterwards.

use super::reread::{as_expected, keep_name_servers};
use super::{Capabilities, Driver, Late, Session, State, Swap, Tried, Whole, apex, pick};
use crate::audit::read_zone_file;
use crate::change::Change;
use crate::codes;
use crate::sets::SetKey;
use crate::zonefile::{self, Edited};
use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use segue_doors::process::{Invocation, find_program};
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time of one command.
const COMMAND_MAX: Duration = Duration::from_secs(30);
/// Pause between two tries to get the file's turn.
const TURN: Duration = Duration::from_millis(20);

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

    async fn whole(&self, _until: Instant) -> Outcome<Whole> {
        let (apex, file) = (apex(&self.zone)?, self.file.clone());
        // A large file takes a while.
        let read = tokio::task::spawn_blocking(move || read_zone_file(&apex, &file)).await;
        let gone = |e| Fault::new(codes::ZONE_FILE, FaultKind::Bug, "read a zone file", e);
        Ok(Whole::of(read.map_err(gone)??.contents))
    }
}

/// The file while it is changed: its lock, and where it really is.
struct Held {
    /// The file behind any link.
    file: PathBuf,
    folder: PathBuf,
    /// Nobody else of Segue changes the file while this is open.
    _lock: File,
}

impl ZoneFile {
    fn denied(op: &str, cause: impl std::fmt::Display) -> Fault {
        Fault::new(codes::ZONE_FILE, FaultKind::Denied, op, cause)
            .hint("the file is as it was; let this user read it and write into its folder")
    }

    /// Waits for the file's turn: units of other runs may have it, too.
    async fn hold(&self, op: &str, until: Instant) -> Outcome<Held> {
        let denied = |e: std::io::Error| Self::denied(op, e);
        let file = fs::canonicalize(&self.file).map_err(denied)?;
        let about = fs::metadata(&file).map_err(denied)?;
        if about.nlink() > 1 {
            let cause = format!("`{}` has {} names (hard links)", file.display(), about.nlink());
            return Err(Self::denied(op, cause).hint("a new file would take the place of one only"));
        }
        let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
        let path = beside(&file, ".segue-lock");
        let lock = File::options().create(true).append(true).mode(0o600).open(path);
        let lock = lock.map_err(denied)?;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Held { file, folder, _lock: lock }),
                Err(e) if e == rustix::io::Errno::WOULDBLOCK && Instant::now() < until => {
                    tokio::time::sleep(TURN).await;
                }
                Err(e) => {
                    let cause = format!("another run changes it: {e}");
                    return Err(Fault::new(codes::BUSY, FaultKind::Busy, op, cause)
                        .hint("nothing was changed; try again in a moment"));
                }
            }
        }
    }

    /// Lets BIND's own checker look at the text, where it is installed.
    async fn check(&self, held: &Held, draft: &Path, op: &str) -> Outcome<()> {
        let Some(program) = find_program("named-checkzone") else { return Ok(()) };
        let checked = Invocation::new(program, COMMAND_MAX)
            .args(["-i", "local", &self.zone])
            .arg(draft.as_os_str())
            .folder(&held.folder)
            .run()
            .await
            .map_err(|fault| fault.leaving(EffectLeft::None))?;
        if checked.status.success() {
            return Ok(());
        }
        let cause = format!("named-checkzone refuses the new text: {}", said(&checked));
        Err(Fault::new(codes::GUARD, FaultKind::Invalid, op, cause).hint("the file is as it was"))
    }

    /// Writes the new text beside the file, checks it, and lets it take the file's place if that
    /// still is as it was read.
    async fn replace(
        &self,
        held: &Held,
        edited: &Edited,
        former: &[u8],
        op: &str,
    ) -> Outcome<Tried> {
        let denied = |e: std::io::Error| Self::denied(op, e);
        let draft = Draft::write(held, ".segue-new", &edited.text).map_err(denied)?;
        self.check(held, &draft.path, op).await?;
        if !edited.in_place {
            let serial = edited.serial.wrapping_sub(1);
            let kept = Draft::write(held, ".segue-former", former).map_err(denied)?;
            let place = beside(&held.file, &format!(".before-segue-{serial}"));
            tracing::warn!(file = %held.file.display(), kept = %place.display(),
                "the zone file is written anew; its former text is kept");
            kept.take(&place).map_err(denied)?;
        }
        // From here to the exchange nothing waits.
        if fs::read(&held.file).map_err(denied)? != former {
            return Ok(Tried::Moved);
        }
        draft.take(&held.file).map_err(denied)?;
        let synced = File::open(&held.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| Self::denied(op, e).leaving(EffectLeft::Done))?;
        Ok(Tried::Acknowledged)
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

/// A text that waits beside the file to take its place; goes away if it does not.
struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Writes it with the owner and the rights of the file.
    fn write(held: &Held, ending: &str, text: &[u8]) -> std::io::Result<Self> {
        let about = fs::metadata(&held.file)?;
        let path = beside(&held.file, &format!("{ending}-{}", std::process::id()));
        // Of a process that had the same number and died.
        let _ = fs::remove_file(&path);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        let draft = Self { path };
        file.write_all(text)?;
        if (about.uid(), about.gid()) != (file.metadata()?.uid(), file.metadata()?.gid()) {
            std::os::unix::fs::fchown(&file, Some(about.uid()), Some(about.gid()))?;
        }
        file.set_permissions(about.permissions())?;
        file.sync_all()?;
        Ok(draft)
    }

    fn take(&self, place: &Path) -> std::io::Result<()> {
        fs::rename(&self.path, place)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Taken, as a rule.
        let _ = fs::remove_file(&self.path);
    }
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
        let held = self.hold(op, until).await?;
        let former = fs::read(&held.file).map_err(|e| Self::denied(op, e))?;
        let (zone, change, folder) = (self.zone.clone(), change.clone(), held.folder.clone());
        let (name, text) = (self.file.display().to_string(), former.clone());
        let work = move || {
            let mut load = |name: &str| fs::read(folder.join(name)).map_err(|e| e.to_string());
            let read = zonefile::read(&zone, &name, &text, &mut load)?.contents;
            let keys: Vec<SetKey> = change.former.iter().map(|set| set.key.clone()).collect();
            if !as_expected(&pick(&read, &keys), &change) {
                return Ok(None);
            }
            zonefile::edit(&zone, &name, &text, &mut load, &change).map(Some)
        };
        // A large file takes a while.
        let edited = tokio::task::spawn_blocking(work).await;
        let edited = edited.map_err(|e| Self::denied(op, e))?.map_err(|remarks| {
            let lines: Vec<String> = remarks.iter().map(ToString::to_string).collect();
            Fault::new(codes::ZONE_FILE, FaultKind::Invalid, op, lines.join("; "))
                .hint("nothing was changed")
        })?;
        let Some(edited) = edited else { return Ok(Tried::Moved) };
        let tried = self.replace(&held, &edited, &former, op).await?;
        if tried == Tried::Acknowledged {
            self.reload(op).await?;
        }
        Ok(tried)
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
