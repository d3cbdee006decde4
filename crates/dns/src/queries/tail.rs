//! A file that somebody else writes, renames and begins anew.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Most octets that are read at once.
pub(super) const PIECE: u64 = 4 * 1024 * 1024;

/// Follows a file.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    /// Whether one may begin in the middle: text can be picked up at the next line.
    skips: bool,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: (u64, u64),
    at: u64,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// It is the beginning of a file.
    pub(super) fresh: bool,
    /// What stood before it was left out.
    pub(super) skipped: bool,
    /// When the file was written last, milliseconds since 1970.
    pub(super) written_ms: u64,
    /// There is more to read at once.
    pub(super) more: bool,
}

impl Tail {
    pub(super) fn new(path: &Path, skips: bool) -> Self {
        Self { path: path.to_owned(), skips, open: None }
    }

    /// Reads what has come, at most [`PIECE`].
    ///
    /// # Errors
    /// As the file; it is opened again by the next call. A file that is missing only while it is
    /// exchanged is no error.
    pub(super) fn read(&mut self) -> io::Result<Piece> {
        let fresh = self.open.is_none();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::at_start(&self.path)?,
        };
        let known = open.file.metadata()?;
        if known.len() < open.at {
            // It was cut off and begun anew.
            open.at = 0;
            open.file.seek(SeekFrom::Start(0))?;
            let mut piece = self.piece(&mut open, &known)?;
            piece.fresh = true;
            self.open = Some(open);
            return Ok(piece);
        }
        let mut piece = self.piece(&mut open, &known)?;
        piece.fresh = fresh;
        if !piece.more {
            match std::fs::metadata(&self.path) {
                // Another file has its name: what this one got meanwhile is read first.
                Ok(now) if (now.dev(), now.ino()) != open.id => {
                    if open.file.metadata()?.len() <= open.at {
                        piece.more = true;
                        return Ok(piece);
                    }
                    piece.more = true;
                }
                _ => {}
            }
        }
        self.open = Some(open);
        Ok(piece)
    }

    fn piece(&self, open: &mut Open, known: &Metadata) -> io::Result<Piece> {
        let skipped = self.skips && known.len() - open.at > PIECE;
        if skipped {
            open.at = open.file.seek(SeekFrom::Start(known.len() - PIECE))?;
        }
        let mut bytes = Vec::new();
        let read = (&open.file).take(PIECE).read_to_end(&mut bytes)?;
        open.at += read as u64;
        let written = known.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Piece {
            more: read as u64 == PIECE,
            bytes,
            fresh: false,
            skipped,
            written_ms: u64::try_from(written.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Open {
    fn at_start(path: &Path) -> io::Result<Self> {
        // A pipe would wait for its writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let file = File::open(path)?;
        let known = file.metadata()?;
        Ok(Self { file, id: (known.dev(), known.ino()), at: 0 })
    }
}
