//! A copy of a tree for a rehearsal.

use crate::rsync::VANISHED;
use segue_doors::process::Invocation;
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// Copies the content of `from` into the folder `to`, which is made. The live tree is only
/// read; what vanishes meanwhile is no failure.
///
/// # Errors
/// `SG0403` if rsync does not copy everything.
pub async fn clone_tree(from: &Path, to: &Path, limit: Duration) -> Outcome<()> {
    let op = format!("copy tree `{}` for a rehearsal", from.display());
    let fail = |cause: String| {
        Fault::new("SG0403", FaultKind::Invalid, op.clone(), cause).leaving(EffectLeft::None)
    };
    std::fs::create_dir_all(to).map_err(|e| fail(e.to_string()))?;
    let content = |path: &Path| {
        let mut root = OsString::from(path);
        root.push("/");
        root
    };
    let done = Invocation::new("rsync", limit)
        .env("LC_ALL", "C")
        .nice(10)
        .args(["-aHAX", "--numeric-ids"])
        .arg(content(from))
        .arg(content(to))
        .run()
        .await?;
    match done.code() {
        Some(0 | VANISHED) => Ok(()),
        _ => Err(fail(done.last_words())),
    }
}

/// Returns the bytes of the files in a tree.
///
/// # Errors
/// `SG0403` if it cannot be read.
pub async fn tree_bytes(root: &Path) -> Outcome<u64> {
    let done = Invocation::new("du", Duration::from_secs(600))
        .args(["-s", "--block-size=1", "--"])
        .arg(root)
        .run()
        .await?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let bytes = text.split_whitespace().next().and_then(|word| word.parse().ok());
    bytes.ok_or_else(|| {
        let op = format!("measure tree `{}`", root.display());
        Fault::new("SG0403", FaultKind::Invalid, op, done.last_words())
    })
}
