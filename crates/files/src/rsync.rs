//! The mover that uses rsync(1).

use crate::exclude::Excludes;
use crate::mover::{Moved, Mover, Pass};
use async_trait::async_trait;
use segue_doors::process::{Finished, Invocation, end_marked};
use segue_model::plan::TreePlan;
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::{Outcome, Progress};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// `vanished`: a file was deleted between listing and reading. Its event follows.
pub(crate) const VANISHED: i32 = 24;

/// Attributes that go along; see rsync(1).
///
/// Times are compared to the nanosecond: within one second a file can change again at the
/// same length, as session files do, and would be passed over.
const WHAT: [&str; 4] = ["-aHAX", "--numeric-ids", "--no-human-readable", "--modify-window=-1"];

/// How long a killed rsync may take to go.
const QUENCH: Duration = Duration::from_secs(5);

/// Runs rsync between two local folders.
pub(crate) struct Rsync {
    plan: TreePlan,
    /// `run/unit/files:tree/`: what the marks of every controller of this run begin with.
    mark: String,
    /// What tells this controller's children from a former one's.
    instance: String,
}

impl Rsync {
    pub(crate) fn new(plan: TreePlan, mark: String) -> Self {
        let instance = format!("{}.{}", std::process::id(), crate::boot_ms());
        Self { plan, mark, instance }
    }

    fn base(&self, pass: Pass<'_>) -> Invocation {
        let mut rsync = Invocation::new("rsync", pass.limit)
            .env("LC_ALL", "C")
            .mark(format!("{}{}/{}", self.mark, pass.step, self.instance))
            .args(WHAT);
        if pass.rehearse {
            rsync = rsync.arg("--dry-run");
        }
        rsync
    }

    /// Adds both roots. The slash at the end makes it the content of the folder.
    fn roots(&self, rsync: Invocation, pass: Pass<'_>) -> Invocation {
        [pass.from, pass.from.other()].iter().fold(rsync, |rsync, &side| {
            let mut root = OsString::from(self.plan.roots.get(side));
            root.push("/");
            rsync.arg(root)
        })
    }

    /// Removes listed paths that do not stand at the write side.
    async fn remove(&self, pass: Pass<'_>, paths: Vec<PathBuf>) -> Outcome<()> {
        let roots = [pass.from, pass.from.other()].map(|side| self.plan.roots.get(side).clone());
        let excludes = Excludes::new(&self.plan.exclude);
        let [from, to] = roots;
        let op = format!("delete in tree `{}` at the {}", self.plan.name, pass.from.other());
        crate::blocking(move || {
            crate::remove::missing(&from, &to, &paths, &excludes).map_err(|(path, error)| {
                Fault::new("SG0403", FaultKind::Denied, op, format!("{}: {error}", path.display()))
                    .leaving(EffectLeft::Maybe)
                    .hint("let the controller write the folder; following goes on by itself")
            })
        })
        .await
        .map(drop)
    }

    /// Says what rsync's end means.
    fn judge(&self, pass: Pass<'_>, ended: Outcome<Finished>) -> Outcome<Finished> {
        let op =
            format!("copy tree `{}` from {} to {}", self.plan.name, pass.from, pass.from.other());
        let left = if pass.rehearse { EffectLeft::None } else { EffectLeft::Maybe };
        match ended {
            Ok(done) if matches!(done.code(), Some(0 | VANISHED)) => Ok(done),
            Ok(done) => Err(Fault::new("SG0403", FaultKind::Invalid, op, done.last_words())
                .leaving(left)
                .hint("mend what rsync names; following goes on by itself")),
            Err(fault) if fault.kind == FaultKind::Timeout => {
                Err(Fault::new("SG0410", FaultKind::Timeout, op, fault.cause)
                    .leaving(left)
                    .hint("look at the disks' load, then try again"))
            }
            Err(fault) => Err(fault),
        }
    }
}

#[async_trait]
impl Mover for Rsync {
    async fn whole(&self, pass: Pass<'_>) -> Outcome<Moved> {
        // A pass over everything must not take the disks and processors from live requests.
        let mut rsync = self.base(pass).nice(10).args(["--info=progress2", "--stats"]);
        if pass.delete {
            rsync = rsync.arg("--delete-delay");
        }
        for pattern in &self.plan.exclude {
            rsync = rsync.arg(format!("--exclude={pattern}"));
        }
        let rsync = self.roots(rsync, pass);
        let mut moved = Moved::default();
        let what = format!("copy tree `{}` to {}", self.plan.name, pass.from.other());
        let ended = rsync
            .run_reporting(&mut |line| {
                if let Some((done, total)) = entries_done(line) {
                    let what = what.clone();
                    pass.progress.report(Progress { what, done, total, unit: "files" });
                } else {
                    note(&mut moved, line);
                }
            })
            .await;
        self.judge(pass, ended)?;
        Ok(moved)
    }

    async fn paths(&self, pass: Pass<'_>, paths: &[PathBuf]) -> Outcome<()> {
        let mut list = Vec::new();
        for path in paths {
            list.extend_from_slice(path.as_os_str().as_bytes());
            list.push(0);
        }
        // --ignore-times: two writes within one tick of the file system's clock look alike.
        // --force: a folder makes way for what stands in its place.
        let rsync = self.base(pass).stdin(list).args([
            "--ignore-times",
            "--files-from=-",
            "--from0",
            "--ignore-missing-args",
            "--force",
        ]);
        let rsync = self.plan.exclude.iter().fold(rsync, |r, p| r.arg(format!("--exclude={p}")));
        let ended = self.roots(rsync, pass).run().await;
        self.judge(pass, ended)?;
        // Last, so that nothing is lost should the copy not go through.
        if pass.rehearse { Ok(()) } else { self.remove(pass, paths.to_vec()).await }
    }

    async fn quench(&self, step: &str) -> Outcome<()> {
        let (own, this) = (format!("/{}", self.instance), format!("{}{step}/", self.mark));
        let ended = end_marked(
            &self.mark,
            move |marked| !marked.mark.ends_with(&own) || marked.mark.starts_with(&this),
            QUENCH,
        )
        .await?;
        if ended > 0 {
            tracing::warn!(tree = %self.plan.name, ended, "ended copies that were still running");
        }
        Ok(())
    }
}

/// Reads `... (xfr#12, to-chk=100/500)`: entries looked at and entries known so far.
fn entries_done(line: &str) -> Option<(u64, u64)> {
    let (_, rest) = line.split_once("-chk=")?;
    let (left, total) = rest.trim_end_matches(')').split_once('/')?;
    let (left, total) = (left.parse::<u64>().ok()?, total.parse::<u64>().ok()?);
    Some((total.saturating_sub(left), total))
}

/// Takes a line of `--stats`.
fn note(moved: &mut Moved, line: &str) {
    let Some((name, value)) = line.split_once(": ") else { return };
    let digits = value.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let Ok(value) = digits.parse() else { return };
    match name {
        "Number of files" => moved.entries = value,
        "Number of regular files transferred" => moved.files = value,
        "Number of deleted files" => moved.deleted = value,
        "Total transferred file size" => moved.bytes = value,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Moved, entries_done, note};

    #[test]
    fn reads_progress_and_totals() {
        let line = "  12345  12%   10.50MB/s    0:00:10 (xfr#12, ir-chk=100/500)";
        assert_eq!(entries_done(line), Some((400, 500)));
        assert_eq!(entries_done("Number of files: 7 (reg: 2, dir: 5)"), None);
        let mut moved = Moved::default();
        for line in [
            "Number of files: 7 (reg: 2, dir: 5)",
            "Number of deleted files: 3 (reg: 3)",
            "Number of regular files transferred: 2",
            "Total transferred file size: 12345678 bytes",
        ] {
            note(&mut moved, line);
        }
        assert_eq!(moved, Moved { entries: 7, files: 2, deleted: 3, bytes: 12_345_678 });
    }
}
