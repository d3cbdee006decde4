//! Reading the ledger. What is missing or spoiled is an error, never a pass.

use crate::judge::{Ack, Publish, Request, TenantWrite};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The ledger's folder.
#[derive(Debug)]
pub(crate) struct Ledger(pub(crate) PathBuf);

/// The lines of one file.
#[derive(Debug)]
pub(crate) struct Lines<T> {
    /// Those that are whole.
    pub(crate) lines: Vec<T>,
    /// Whether the last line was cut off by a kill of its writer.
    pub(crate) cut: bool,
}

#[derive(Deserialize)]
struct Job {
    key: String,
}

#[derive(Deserialize)]
struct Mark {
    at_ms: u64,
    mark: String,
    former_address: Option<String>,
    address: Option<String>,
}

impl Ledger {
    /// Reads `requests.jsonl`.
    ///
    /// # Errors
    /// If it is missing, empty or spoiled.
    pub(crate) fn requests(&self) -> Result<Lines<Request>> {
        self.required("requests.jsonl")
    }

    /// Reads `acks.jsonl`.
    ///
    /// # Errors
    /// If it is missing, empty or spoiled.
    pub(crate) fn acks(&self) -> Result<Lines<Ack>> {
        self.required("acks.jsonl")
    }

    /// Reads `tenant.jsonl`.
    ///
    /// # Errors
    /// If it is missing, empty or spoiled.
    pub(crate) fn tenant(&self) -> Result<Lines<TenantWrite>> {
        self.required("tenant.jsonl")
    }

    /// Reads the keys of acknowledged jobs from `cron.<side>.jsonl` of both sides.
    ///
    /// # Errors
    /// If there is no line in either, or a line is spoiled.
    pub(crate) fn cron(&self) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        for side in ["source", "target"] {
            let jobs = self.optional::<Job>(&format!("cron.{side}.jsonl"))?;
            keys.extend(jobs.into_iter().flat_map(|jobs| jobs.lines).map(|job| job.key));
        }
        ensure!(!keys.is_empty(), "ledger {}: no job in cron.*.jsonl", self.0.display());
        Ok(keys)
    }

    /// Returns the last publishing from `marks.jsonl`, if there was one.
    ///
    /// # Errors
    /// If a line is spoiled or a publishing does not tell its addresses.
    pub(crate) fn publish(&self) -> Result<Option<Publish>> {
        let marks = self.optional::<Mark>("marks.jsonl")?.map_or_else(Vec::new, |it| it.lines);
        let published = |mark: &Mark| mark.mark == "publish" || mark.mark.ends_with("published");
        let Some(last) = marks.into_iter().filter(published).max_by_key(|mark| mark.at_ms) else {
            return Ok(None);
        };
        let (Some(former_address), Some(address)) = (last.former_address, last.address) else {
            bail!("marks.jsonl: mark `{}` at {} lacks an address", last.mark, last.at_ms);
        };
        Ok(Some(Publish { at_ms: last.at_ms, former_address, address }))
    }

    /// Reads the zone's lines from `zone.before` or `zone.after`; without the former, from
    /// `at_start`.
    ///
    /// # Errors
    /// If the file is missing or empty.
    pub(crate) fn zone(&self, when: &str, at_start: Option<&Path>) -> Result<Vec<String>> {
        let own = self.0.join(format!("zone.{when}"));
        let path = at_start.filter(|_| !own.exists()).unwrap_or(&own);
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let lines: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        ensure!(!lines.is_empty(), "{} is empty", path.display());
        Ok(lines)
    }

    fn required<T: DeserializeOwned>(&self, name: &str) -> Result<Lines<T>> {
        let path = self.0.join(name);
        let lines =
            self.optional(name)?.with_context(|| format!("{} is missing", path.display()))?;
        ensure!(!lines.lines.is_empty(), "{} is empty: nothing can be judged", path.display());
        Ok(lines)
    }

    fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<Lines<T>>> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(bytes) => parse(&bytes, &path).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<Lines<T>> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let rows = bytes[..whole].split(|byte| *byte == b'\n').enumerate();
    let lines = rows
        .filter(|(_, row)| !row.is_empty())
        .map(|(at, row)| {
            serde_json::from_slice(row)
                .with_context(|| format!("{} line {}", path.display(), at + 1))
        })
        .collect::<Result<_>>()?;
    Ok(Lines { lines, cut: whole < bytes.len() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(result: Result<impl Sized>) -> String {
        format!("{:#}", result.err().unwrap())
    }

    #[test]
    fn refuses_a_missing_an_empty_and_a_spoiled_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger(dir.path().to_owned());
        assert!(text(ledger.acks()).contains("acks.jsonl is missing"));
        assert!(text(ledger.cron()).contains("no job"));
        assert!(text(ledger.zone("before", None)).contains("zone.before"));
        fs::write(dir.path().join("acks.jsonl"), "").unwrap();
        fs::write(dir.path().join("zone.after"), "\n").unwrap();
        assert!(text(ledger.acks()).contains("is empty"));
        assert!(text(ledger.zone("after", None)).contains("is empty"));
        fs::write(dir.path().join("acks.jsonl"), "{}\n").unwrap();
        assert!(text(ledger.acks()).contains("acks.jsonl line 1"));
    }

    #[test]
    fn passes_over_a_line_that_a_kill_cut_off_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let line = r#"{"kind":"order","client":"c1","seq":1,"key":null,"hash":null,"at_ms":5}"#;
        fs::write(dir.path().join("acks.jsonl"), format!("{line}\n{{\"kind\":")).unwrap();
        let acks = Ledger(dir.path().to_owned()).acks().unwrap();
        assert_eq!((acks.lines.len(), acks.cut), (1, true));
    }

    #[test]
    fn takes_the_last_publishing_of_several() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger(dir.path().to_owned());
        assert!(ledger.publish().unwrap().is_none());
        let lines = r#"{"at_ms":1,"mark":"publish","former_address":"a:1","address":"b:1"}
{"at_ms":9,"mark":"failback_published","former_address":"b:1","address":"a:1"}
{"at_ms":12,"mark":"confirm"}
"#;
        fs::write(dir.path().join("marks.jsonl"), lines).unwrap();
        let last = ledger.publish().unwrap().unwrap();
        assert_eq!((last.at_ms, last.former_address.as_str()), (9, "b:1"));
    }
}
