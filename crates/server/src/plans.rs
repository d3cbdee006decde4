//! Approved plans: stored by hash, never changed.

use segue_model::plan::Plan;
use segue_model::{Fault, FaultKind};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Fewest characters of a hash that name a plan.
const HASH_CHARS_MIN: usize = 8;

fn fault(op: String, cause: impl std::fmt::Display) -> Fault {
    Fault::new("SG0805", FaultKind::Invalid, op, cause)
}

/// Creates the run directory, readable by its owner only.
///
/// # Errors
/// `SG0805` if that fails.
pub fn create_dir(dir: &Path) -> Result<(), Fault> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir.join("plans")).map_err(|e| {
        fault(format!("create run directory `{}`", dir.display()), e)
            .hint("name another with --dir")
    })
}

/// Stores a plan under its hash and returns where; storing it twice changes nothing.
///
/// # Errors
/// `SG0805` if the folder or file cannot be written.
pub fn store(dir: &Path, plan: &Plan) -> Result<PathBuf, Fault> {
    create_dir(dir)?;
    let path = dir.join("plans").join(format!("{}.json", segue_plan::hash(plan)));
    let op = || format!("store plan `{}`", path.display());
    let text = serde_json::to_string_pretty(plan).map_err(|e| fault(op(), e))?;
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(|e| fault(op(), e))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| fault(op(), e))?;
    std::fs::rename(&temporary, &path).map_err(|e| fault(op(), e))?;
    Ok(path)
}

/// Loads the approved plan whose hash begins with `hash` and checks that it still has it.
///
/// # Errors
/// `SG0806` if none or several match, `SG0807` if the stored plan was changed.
pub fn load(dir: &Path, hash: &str) -> Result<(String, Plan), Fault> {
    let op = || format!("find approved plan `{hash}`");
    let refuse = |cause: String| {
        Fault::new("SG0806", FaultKind::NotFound, op(), cause)
            .hint("`segue plan` checks a plan file and prints its hash")
    };
    if hash.len() < HASH_CHARS_MIN || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(refuse(format!("a hash has at least {HASH_CHARS_MIN} hexadecimal digits")));
    }
    let entries = std::fs::read_dir(dir.join("plans")).map_err(|e| refuse(e.to_string()))?;
    let found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|e| e == "json")
                && path.file_stem().and_then(|s| s.to_str()).is_some_and(|s| s.starts_with(hash))
        })
        .collect();
    let path = match found.as_slice() {
        [one] => one,
        [] => return Err(refuse("no plan with this hash was approved here".into())),
        _ => return Err(refuse("several plans begin so; give more digits".into())),
    };
    let text = std::fs::read_to_string(path).map_err(|e| fault(op(), e))?;
    let plan: Plan = serde_json::from_str(&text).map_err(|e| fault(op(), e))?;
    let whole = segue_plan::hash(&plan);
    if path.file_stem().and_then(|s| s.to_str()) != Some(whole.as_str()) {
        return Err(Fault::new(
            "SG0807",
            FaultKind::Conflict,
            format!("check plan `{}`", path.display()),
            format!("its content has hash {whole}: it was changed after it was approved"),
        )
        .hint("run `segue plan` on the plan file again and look at what it shows"));
    }
    Ok((whole, plan))
}
