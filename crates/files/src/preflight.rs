//! What can be known of a tree before anything is touched.

use crate::claim::{Claim, Holder};
use crate::exclude::Excludes;
use crate::replica::TreeReplica;
use crate::{blocking, walk};
use rustix::fs::{Access, StatVfsMountFlags};
use segue_doors::process::{Invocation, find_program};
use segue_model::plan::TreePlan;
use segue_model::{Finding, Side};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The oldest rsync that passes over listed paths which are missing, without known faults.
const RSYNC: [u32; 3] = [3, 2, 3];

/// Checks a tree. Changes nothing.
pub(crate) async fn check(replica: &TreeReplica) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(rsync().await);
    let (plan, claim) = (replica.settings.plan.clone(), replica.claim.clone());
    let excludes = replica.pair.excludes.clone();
    match blocking(move || Ok(trees(&plan, &claim, &excludes))).await {
        Ok(more) => findings.extend(more),
        Err(fault) => findings.push(Finding::refuse("SG0499", fault.to_string(), "report this")),
    }
    findings
}

async fn rsync() -> Option<Finding> {
    let need = RSYNC.map(|n| n.to_string()).join(".");
    let remedy = format!("install rsync {need} or newer on this machine");
    if find_program("rsync").is_none() {
        return Some(Finding::refuse("SG0420", "rsync is not installed", remedy));
    }
    let said = Invocation::new("rsync", Duration::from_secs(10)).arg("--version").run().await;
    let text = match said {
        Ok(done) => String::from_utf8_lossy(&done.stdout).into_owned(),
        Err(fault) => return Some(Finding::refuse("SG0420", fault.to_string(), remedy)),
    };
    match version(&text) {
        Some(version) if version >= RSYNC => None,
        Some(v) => {
            let v = v.map(|n| n.to_string()).join(".");
            Some(Finding::refuse("SG0420", format!("rsync is {v}, too old"), remedy))
        }
        None => Some(Finding::refuse("SG0420", "rsync does not tell its version", remedy)),
    }
}

/// Reads `rsync  version 3.2.7  protocol version 31`, also `v3.2.7` and `3.2.7pre1`.
fn version(text: &str) -> Option<[u32; 3]> {
    let (_, rest) = text.split_once("version ")?;
    let word = rest.split_whitespace().next()?.trim_start_matches('v');
    let mut numbers = word.split('.').map(|part| {
        part.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
    });
    Some([numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0)])
}

fn trees(plan: &TreePlan, claim: &Claim, excludes: &Arc<Excludes>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = plan.exclude.iter().filter_map(|p| pattern(plan, p)).collect();
    let mut roots = Vec::new();
    for side in [Side::Source, Side::Target] {
        match root(plan, side) {
            Ok((real, more)) => {
                roots.push(real);
                findings.extend(more);
            }
            Err(finding) => findings.push(finding),
        }
    }
    let [source, target] = roots.as_slice() else { return findings };
    findings.extend(apart(plan, source, target));
    if findings.iter().any(|f| f.severity == segue_model::Severity::Refuse) {
        return findings;
    }
    let sizes = [Size::of(source, excludes), Size::of(target, excludes)];
    let [Ok(from), Ok(to)] = &sizes else {
        findings.extend(sizes.iter().filter_map(|s| s.as_ref().err()).map(|e| {
            Finding::refuse(
                "SG0421",
                format!("tree `{}` cannot be read: {e}", plan.name),
                "let the controller read every folder of the tree",
            )
        }));
        return findings;
    };
    findings.extend(holders(plan, claim, to));
    findings.extend(space(plan, target, from, to));
    findings.extend(watches(plan, from.folders.max(to.folders) + from.folders));
    if !rustix::process::geteuid().is_root() && from.foreign > 0 {
        findings.push(Finding::warn(
            "SG0429",
            format!("tree `{}`: {} entries belong to other users", plan.name, from.foreign),
            "run the controller as root; otherwise owners cannot be kept and the comparison says so",
        ));
    }
    findings
}

fn pattern(plan: &TreePlan, pattern: &str) -> Option<Finding> {
    Excludes::refusal(pattern).map(|why| {
        let text =
            format!("tree `{}`: exclude pattern `{pattern}` cannot be used: {why}", plan.name);
        Finding::refuse("SG0428", text, "write a plain rsync pattern such as `/cache/` or `*.log`")
    })
}

/// Checks one root alone; returns its real path.
fn root(plan: &TreePlan, side: Side) -> Result<(PathBuf, Option<Finding>), Finding> {
    let path = plan.roots.get(side);
    let shown = path.display();
    let refuse = |code: &str, what: String, remedy: &str| {
        Finding::refuse(code, format!("tree `{}`, {side}: {what}", plan.name), remedy)
    };
    if !path.is_absolute() {
        return Err(refuse(
            "SG0421",
            format!("`{shown}` is not an absolute path"),
            "write the full path",
        ));
    }
    let real = path.canonicalize().map_err(|e| {
        refuse("SG0421", format!("`{shown}`: {e}"), "create the folder, or correct the plan")
    })?;
    if path.is_symlink() || !real.is_dir() {
        let what = format!("`{shown}` is not a folder itself");
        return Err(refuse("SG0421", what, "name the folder, not a link to it"));
    }
    if real.parent().is_none_or(|above| above == Path::new("/")) {
        let what = format!("`{shown}` is the system's root or stands directly in it");
        return Err(refuse("SG0423", what, "name a folder that belongs to the unit alone"));
    }
    let writable = rustix::fs::access(&real, Access::WRITE_OK | Access::READ_OK).is_ok();
    let read_only =
        rustix::fs::statvfs(&real).is_ok_and(|v| v.f_flag.contains(StatVfsMountFlags::RDONLY));
    if !writable || read_only {
        let what = format!("`{shown}` is not readable and writable for the controller");
        return Err(refuse(
            "SG0422",
            what,
            "run the controller as a user who may, or mount it writable",
        ));
    }
    let beside = real.parent().unwrap_or(&real);
    if rustix::fs::access(beside, Access::WRITE_OK).is_err() {
        let what = format!("`{}` is not writable, where the claim is kept", beside.display());
        return Err(refuse("SG0422", what, "let the controller write beside the tree"));
    }
    Ok((real, None))
}

/// Checks that neither root holds the other.
fn apart(plan: &TreePlan, source: &Path, target: &Path) -> Option<Finding> {
    let relation = if source == target {
        "are the same folder"
    } else if source.starts_with(target) || target.starts_with(source) {
        "are nested in each other"
    } else {
        return None;
    };
    let text = format!(
        "tree `{}`: `{}` and `{}` {relation}",
        plan.name,
        source.display(),
        target.display()
    );
    Some(Finding::refuse("SG0424", text, "give each side a folder of its own"))
}

/// Checks that the trees are free, or this run's already.
fn holders(plan: &TreePlan, claim: &Claim, target: &Size) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ours = false;
    for side in [Side::Source, Side::Target] {
        let root = plan.roots.get(side);
        let what = match claim.holder(root) {
            Ok(Holder::Another(who)) => format!("is held by {who}"),
            Err(fault) => fault.to_string(),
            Ok(holder) => {
                ours = side == Side::Target && holder == Holder::This;
                continue;
            }
        };
        findings.push(Finding::refuse(
            "SG0425",
            format!("tree `{}`, {side}: `{}` {what}", plan.name, root.display()),
            "end that run; if it is gone for good, remove the file `.segue-claim.*` beside the tree",
        ));
    }
    if target.entries > 0 && !ours && findings.is_empty() {
        findings.push(Finding::refuse(
            "SG0425",
            format!(
                "tree `{}`: `{}` holds {} entries that are not this run's",
                plan.name,
                plan.roots.target.display(),
                target.entries
            ),
            "empty it: the first copy deletes what is not at the source",
        ));
    }
    findings
}

fn space(plan: &TreePlan, target: &Path, from: &Size, to: &Size) -> Option<Finding> {
    let disk = rustix::fs::statvfs(target).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let need = from.bytes.saturating_sub(to.bytes);
    let mib = |bytes: u64| bytes / (1 << 20);
    // A tenth more: the copy grows while it is followed.
    if free < need.saturating_add(need / 10) {
        let text = format!(
            "tree `{}` needs {} MiB at the target, {} MiB are free",
            plan.name,
            mib(need),
            mib(free)
        );
        return Some(Finding::refuse("SG0426", text, "make room, or exclude what need not move"));
    }
    let inodes_short = disk.f_files > 0 && disk.f_favail < from.entries.saturating_sub(to.entries);
    inodes_short.then(|| {
        let text = format!("tree `{}` has more entries than the target has inodes free", plan.name);
        Finding::refuse("SG0426", text, "use a file system with more inodes")
    })
}

fn watches(plan: &TreePlan, folders: u64) -> Option<Finding> {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?;
    let limit: u64 = limit.trim().parse().ok()?;
    let remedy = format!("sysctl fs.inotify.max_user_watches={}", (folders * 2).max(limit));
    let text = format!("tree `{}` needs {folders} watches, the limit is {limit}", plan.name);
    if folders >= limit {
        Some(Finding::refuse("SG0427", text, remedy))
    } else if folders >= limit / 5 * 4 {
        Some(Finding::warn("SG0427", text, remedy))
    } else {
        None
    }
}

/// How big a tree is.
#[derive(Default)]
struct Size {
    entries: u64,
    folders: u64,
    bytes: u64,
    foreign: u64,
}

impl Size {
    fn of(root: &Path, excludes: &Excludes) -> std::io::Result<Self> {
        let own = rustix::process::geteuid().as_raw();
        let mut size = Self { folders: 1, ..Self::default() };
        walk::each(root, excludes, &mut |_, about| {
            size.entries += 1;
            size.folders += u64::from(about.is_dir());
            size.bytes += about.blocks() * 512 / about.nlink().max(1) * u64::from(!about.is_dir());
            size.foreign += u64::from(about.uid() != own);
        })?;
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn reads_the_versions_that_rsync_prints() {
        assert_eq!(version("rsync  version 3.2.7  protocol version 31"), Some([3, 2, 7]));
        assert_eq!(version("rsync  version v3.4.0pre1  protocol"), Some([3, 4, 0]));
        assert_eq!(version("openrsync: protocol version 29"), None);
    }
}
