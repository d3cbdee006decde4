//! The end of a log file: what is appended while somebody reads, across rotation and
//! truncation.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Most bytes read at once; what is left is read the next time.
const READ_MAX: u64 = 32 << 20;
/// Intervals without a file before that is a fault and not a rotation.
const MISSING_MAX: u32 = 3;
/// Longest line kept while its end is awaited.
const LINE_MAX: usize = 64 << 10;

/// An open log and how far it was read.
#[derive(Debug)]
pub(crate) struct Tail {
    file: File,
    inode: u64,
    at: u64,
    /// The beginning of a line whose end is not written yet.
    part: Vec<u8>,
    /// The first line was being written when reading began: its beginning is not known.
    cut: bool,
    /// How many times in a row no file stood at the path.
    missing: u32,
}

impl Tail {
    fn open(path: &Path, at_end: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        let at = if at_end { about.len() } else { 0 };
        let mut last = *b"\n";
        if at > 0 {
            file.read_exact_at(&mut last, at - 1)?;
        }
        Ok(Self { file, inode: about.ino(), at, part: Vec::new(), cut: last != *b"\n", missing: 0 })
    }

    /// Reads what was appended.
    fn read(&mut self, line: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        if self.file.metadata()?.len() < self.at {
            // Truncated in place: what stands there now is new.
            self.at = 0;
            self.part.clear();
            self.cut = false;
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut fresh = Vec::new();
        let read = (&self.file).take(READ_MAX).read_to_end(&mut fresh)?;
        self.at += read as u64;
        for piece in fresh.split_inclusive(|&b| b == b'\n') {
            self.part.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                if !std::mem::take(&mut self.cut) {
                    line(&self.part);
                }
                self.part.clear();
            }
        }
        self.part.truncate(LINE_MAX);
        Ok(())
    }
}

/// Gives every line of one interval to `line`. Returns false at the first call, which only
/// finds the end of the log.
///
/// # Errors
/// If the file cannot be read, or stays away for longer than a rotation takes.
pub(crate) fn interval(
    path: &Path,
    reader: &mut Option<Tail>,
    line: &mut dyn FnMut(&[u8]),
) -> io::Result<bool> {
    let Some(tail) = reader else {
        *reader = Some(Tail::open(path, true)?);
        return Ok(false);
    };
    // First what the known file got, also after it was renamed; then a new one from its start.
    tail.read(line)?;
    match std::fs::metadata(path) {
        Ok(about) if about.ino() != tail.inode => {
            let mut next = Tail::open(path, false)?;
            next.read(line)?;
            *reader = Some(next);
        }
        Ok(_) => tail.missing = 0,
        // Between the two steps of a rotation there is no file for a moment.
        Err(e) if e.kind() == io::ErrorKind::NotFound && tail.missing < MISSING_MAX => {
            tail.missing += 1;
        }
        Err(e) => return Err(e),
    }
    Ok(true)
}
