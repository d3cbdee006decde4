//! The state file: a whole state, then the changes since.
//!
//! ```text
//! {"segue_front":3,"whole":2}         the first 2 lines are the state when this was written
//! 93b0...4f 0000021c {"head":...,"units":...}
//! 1c77...a0 00000218 {"head":...,"units":...}
//! 58e2...9d 000000f3 {"head":...,"units":...}  one change a line since then
//! ```
//! Each line begins with a checksum and the length of the rest, and is one write and one sync.
//! So a crash leaves the state before a change or after it, and what was answered is on disk:
//! only the last line can be torn, and a torn one was not answered yet. A line that is wrong
//! anywhere else, or longer than it says, is damage, and a damaged file is never taken for
//! empty, because it may say that a unit is sealed. When the changes outgrow the state the file is written anew beside the old one
//! and takes its name. The same is done if the last write went wrong, or the file is another
//! one than was written last.

use super::{Change, Head, Saved, SavedUnit, fault};
use crate::options::replace;
use segue_model::{Epoch, Fault, RunId, UnitName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Form of the file that is written.
const FORM: u32 = 3;

/// The form before: one JSON object with everything.
const FORMER: u32 = 2;

/// Units of a whole state that share a line.
const UNITS_A_LINE: usize = 256;

/// Changes are kept up to this size, or that of the state if it is larger, bytes.
const CHANGES_MIN: u64 = 256 << 10;

/// In a pause nobody waits for the whole state to be written, unless the changes are larger
/// than this, bytes.
const CHANGES_MAX: u64 = 64 << 20;

/// Hexadecimal digits of a checksum: the first 64 bits of BLAKE3.
const SUM_DIGITS: usize = 16;

/// Hexadecimal digits of a length.
const LENGTH_DIGITS: usize = 8;

/// Bytes before the JSON of a line.
const BEFORE: usize = SUM_DIGITS + LENGTH_DIGITS + 2;

#[derive(Serialize, Deserialize)]
struct FirstLine {
    segue_front: u32,
    /// Lines of the whole state.
    whole: usize,
}

/// A state file in the form before.
#[derive(Deserialize)]
struct Former {
    version: u32,
    claim: Option<RunId>,
    epoch: Epoch,
    generation: u64,
    left: BTreeMap<UnitName, u64>,
    units: BTreeMap<UnitName, SavedUnit>,
}

/// Whether somebody waits in a pause for a change to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Nobody: the file may be written anew.
    None,
    /// A hold's beginning, seal or end.
    Pause,
}

/// What a file holds.
pub(super) struct Read {
    /// The state after every change.
    pub(super) saved: Saved,
    /// The file as it is, if changes may be added to it.
    known: Option<Known>,
}

/// The file as it was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    device: u64,
    inode: u64,
    /// Bytes.
    length: u64,
    /// Bytes of the whole state, with the first line.
    whole: u64,
}

impl Known {
    fn of(about: &Metadata, whole: u64) -> Self {
        Self { device: about.dev(), inode: about.ino(), length: about.len(), whole }
    }

    /// Returns whether one more change may be added.
    fn has_room(&self, haste: Haste) -> bool {
        let most = match haste {
            Haste::None => self.whole.max(CHANGES_MIN),
            Haste::Pause => CHANGES_MAX,
        };
        self.length - self.whole < most
    }
}

/// The state file of a running front, which alone writes it.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// None if it has to be written anew: it is not there yet, has the form before, ends with
    /// a torn line, or the last write went wrong or was given up.
    open: Option<(Arc<File>, Known)>,
}

impl Journal {
    /// Opens the file and returns the state; a missing one is an empty state.
    ///
    /// # Errors
    /// `SG0120` if it cannot be read or is damaged.
    pub(crate) fn open(path: PathBuf) -> Result<(Self, Saved), Fault> {
        let Read { saved, known } = read(&path)?;
        let open = match known {
            None => None,
            Some(known) => {
                let file = OpenOptions::new().append(true).open(&path);
                Some((Arc::new(file.map_err(|e| fault(&path, "open", &e))?), known))
            }
        };
        Ok((Self { path, open }, saved))
    }

    /// Writes a change, so that after a crash either the state before it or the one after it
    /// is there. `saved` is the state before, with what could not be written before.
    ///
    /// # Errors
    /// `SG0120` if it cannot be written; the next write then has all of the state.
    pub(crate) async fn write(
        &mut self,
        saved: &Saved,
        change: &Change,
        haste: Haste,
    ) -> Result<(), Fault> {
        // Whatever goes wrong from here on, this future being dropped included, the file is
        // in doubt until it has been written as a whole.
        let added = match self.open.take().filter(|(_, known)| known.has_room(haste)) {
            Some((file, known)) => self.add(file, known, change).await?,
            None => None,
        };
        self.open = match added {
            Some(open) => Some(open),
            None => Some(self.write_anew(saved, change).await?),
        };
        Ok(())
    }

    /// Adds a line; none if the file is not the one that was written last.
    async fn add(
        &self,
        file: Arc<File>,
        known: Known,
        change: &Change,
    ) -> Result<Option<(Arc<File>, Known)>, Fault> {
        let line = line(change).map_err(|e| fault(&self.path, "write", &e))?;
        let path = self.path.clone();
        let work = move || append(&path, &file, known, &line).map(|known| Some((file, known?)));
        self.done(tokio::task::spawn_blocking(work).await)
    }

    async fn write_anew(
        &self,
        saved: &Saved,
        change: &Change,
    ) -> Result<(Arc<File>, Known), Fault> {
        let (mut saved, path) = (saved.clone(), self.path.clone());
        saved.apply(change.clone());
        self.done(tokio::task::spawn_blocking(move || anew(&path, saved)).await)
    }

    fn done<T>(&self, work: Result<io::Result<T>, tokio::task::JoinError>) -> Result<T, Fault> {
        match work {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(e)) => Err(fault(&self.path, "write", &e)),
            Err(e) => Err(fault(&self.path, "write", &e)),
        }
    }
}

fn append(path: &Path, file: &File, known: Known, line: &[u8]) -> io::Result<Option<Known>> {
    match fs::metadata(path) {
        Ok(about) if Known::of(&about, known.whole) == known => {}
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        // Taken away or changed by somebody: what is written to it might be read by nobody.
        _ => return Ok(None),
    }
    (&*file).write_all(line)?;
    file.sync_data()?;
    Ok(Some(Known { length: known.length + line.len() as u64, ..known }))
}

fn anew(path: &Path, saved: Saved) -> io::Result<(Arc<File>, Known)> {
    let text = whole(saved)?;
    replace(path, &text)?;
    let file = OpenOptions::new().append(true).open(path)?;
    let known = Known::of(&file.metadata()?, text.len() as u64);
    Ok((Arc::new(file), known))
}

/// Writes a state in place of whatever the file held. Blocks.
#[cfg(any(feature = "testing", debug_assertions))]
pub(crate) fn put(path: &Path, saved: Saved) -> io::Result<()> {
    anew(path, saved).map(drop)
}

/// Returns a change as it stands in the file.
fn line(change: &Change) -> io::Result<Vec<u8>> {
    let mut line = vec![b' '; BEFORE];
    serde_json::to_writer(&mut line, change)?;
    let (before, json) = line.split_at_mut(BEFORE);
    let length =
        u32::try_from(json.len()).map_err(|_| io::Error::other("a change of more than 4 GiB"))?;
    write!(&mut before[..], "{} {length:08x}", checksum(json))?;
    line.push(b'\n');
    Ok(line)
}

fn checksum(json: &[u8]) -> String {
    blake3::hash(json).to_hex()[..SUM_DIGITS].to_owned()
}

/// Returns a state as a file of its own: the first line has the units that left, and each
/// some of those that are there.
fn whole(saved: Saved) -> io::Result<Vec<u8>> {
    let mut units = saved.units.into_iter();
    let mut next = || units.by_ref().take(UNITS_A_LINE).collect::<BTreeMap<_, _>>();
    let first = Change { head: saved.head.clone(), units: next(), left: saved.left };
    let (mut lines, mut text) = (1, line(&first)?);
    loop {
        let change = Change { head: saved.head.clone(), units: next(), left: BTreeMap::new() };
        if change.units.is_empty() {
            break;
        }
        lines += 1;
        text.extend(line(&change)?);
    }
    let mut file = serde_json::to_vec(&FirstLine { segue_front: FORM, whole: lines })?;
    file.push(b'\n');
    file.extend(text);
    Ok(file)
}

/// Reads a state file; a missing one is an empty state.
pub(super) fn read(path: &Path) -> Result<Read, Fault> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(Read { saved: Saved::default(), known: None });
        }
        Err(e) => return Err(fault(path, "read", &e)),
    };
    let about = fs::metadata(path).map_err(|e| fault(path, "read", &e))?;
    let (saved, whole) = parse(&text).map_err(|cause| fault(path, "read", &cause))?;
    Ok(Read { saved, known: whole.map(|whole| Known::of(&about, whole)) })
}

/// Returns the state, and how many bytes the whole one has that changes may be added to.
fn parse(text: &[u8]) -> Result<(Saved, Option<u64>), String> {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(FirstLine { segue_front, whole }) = serde_json::from_slice(first) else {
        return Ok((former(text)?, None));
    };
    if segue_front != FORM {
        return Err(format!("form {segue_front} is not known, only {FORM}"));
    }
    let (mut saved, mut whole_bytes) = (Saved::default(), 0);
    let mut at = first.len() + 1;
    for number in 0.. {
        let rest = text.get(at..).unwrap_or_default();
        if number == whole {
            whole_bytes = at as u64;
        }
        if rest.is_empty() && number >= whole {
            return Ok((saved, Some(whole_bytes)));
        }
        let end = rest.iter().position(|byte| *byte == b'\n');
        match end.and_then(|end| change(&rest[..end])) {
            Some(change) => saved.apply(change),
            // Torn while it was written, before it was answered.
            None if number >= whole && may_be_torn(rest) => return Ok((saved, None)),
            None => return Err(format!("line {} is damaged", number + 2)),
        }
        at += end.map_or(rest.len(), |end| end + 1);
    }
    Err("it has no end".into())
}

fn change(line: &[u8]) -> Option<Change> {
    let (before, json) = line.split_at_checked(BEFORE)?;
    (checksum(json).as_bytes() == &before[..SUM_DIGITS])
        .then(|| serde_json::from_slice(json).ok())?
}

/// Returns whether what follows the last good line is at most one line.
fn may_be_torn(rest: &[u8]) -> bool {
    let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
    let length = rest
        .get(SUM_DIGITS + 1..BEFORE - 1)
        .and_then(|digits| usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    end == rest.len() && length.is_none_or(|length| end <= BEFORE + length + 1)
}

/// Reads the form before.
fn former(text: &[u8]) -> Result<Saved, String> {
    let former: Former = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    if former.version != FORMER {
        return Err(format!("form {} is not known, only {FORMER} and {FORM}", former.version));
    }
    let Former { claim, epoch, generation, left, units, .. } = former;
    Ok(Saved { head: Head { claim, epoch, generation }, left, units })
}
