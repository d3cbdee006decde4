//! URLs that a log knows.

use crate::request_times::read_line;
use segue_model::harmless::below;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Longest URL that is asked for, bytes.
const URL_MAX: usize = 2_048;

/// A URL that users asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Path and query.
    pub path: String,
    /// How often.
    pub count: u64,
    /// The status that it was answered with last.
    pub status: u16,
    /// Which classes of status it was ever answered with: 1 for the second, 2 for the third.
    classes: u8,
}

/// Returns the class of a status, as [`Logged`] has it. That a page is as it was is a page.
fn class(status: u16) -> u8 {
    match status {
        200..300 | 304 => 1,
        300..400 => 2,
        _ => 4,
    }
}

impl Logged {
    /// A URL that was answered once.
    pub(super) fn once(path: impl Into<String>, status: u16) -> Self {
        Self { path: path.into(), count: 1, status, classes: class(status) }
    }

    /// Returns whether it was ever answered with a status like this.
    pub(super) fn has_class_of(&self, status: u16) -> bool {
        self.classes & class(status) != 0
    }

    /// Returns it with the values of its query masked: they may be secrets.
    pub fn masked(&self) -> String {
        segue_model::compare::masked(&self.path)
    }
}

/// Reads the URLs of successful GETs from the last `most` bytes of a log in common or combined
/// format, those most asked for first. Only those below one of `paths`, and with a query only if
/// `queries` says so. Blocks.
///
/// # Errors
/// If the log cannot be read.
pub fn logged(log: &Path, most: u64, paths: &[String], queries: bool) -> io::Result<Vec<Logged>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    let cut = length > most;
    if cut {
        file.seek(SeekFrom::Start(length - most))?;
    }
    let mut reader = BufReader::new(file.take(most.min(length)));
    let (mut counts, mut line, mut first) = (HashMap::<String, Logged>::new(), Vec::new(), cut);
    while read_line(&mut reader, &mut line)? {
        // The first line of a part has no beginning.
        if std::mem::take(&mut first) {
            continue;
        }
        if let Some((path, status)) = url(&line)
            && below(paths, path.split('?').next().unwrap_or_default())
            && (queries || !path.contains('?'))
        {
            match counts.get_mut(&path) {
                None => drop(counts.insert(path.clone(), Logged::once(path, status))),
                Some(known) => {
                    known.count += 1;
                    known.status = status;
                    known.classes |= class(status);
                }
            }
        }
    }
    let mut all: Vec<Logged> = counts.into_values().collect();
    all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.path.cmp(&b.path)));
    Ok(all)
}

/// Returns the URL of a GET that was answered with 2xx or 3xx, and the status.
fn url(line: &[u8]) -> Option<(String, u16)> {
    let line = String::from_utf8_lossy(line);
    let (_, rest) = line.split_once("\"GET ")?;
    let (request, rest) = rest.split_once('"')?;
    let status: u16 = rest.split_whitespace().next()?.parse().ok()?;
    let path = request.split(' ').next()?;
    let plain = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic());
    ((200..400).contains(&status) && plain && path.len() <= URL_MAX)
        .then(|| (path.to_owned(), status))
}
