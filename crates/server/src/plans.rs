//! Approved plans: stored by hash, never changed.

use segue_model::fleet::{Fleet, Joint, People, Schedule, Wave};
use segue_model::plan::{Plan, Policy, UnitPlan};
use segue_model::{Fault, FaultKind};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// What stands in the first line of a stored plan: everything but the units.
#[derive(Serialize, Deserialize)]
struct Head {
    name: String,
    joints: Vec<Joint>,
    waves: Vec<Wave>,
    schedule: Schedule,
    people: People,
    policies: Vec<Arc<Policy>>,
}

/// What stands in every further line.
#[derive(Serialize, Deserialize)]
struct Line {
    unit: UnitPlan,
    /// Place of its policy in the head.
    policy: usize,
}

/// The same, as it is written.
#[derive(Serialize)]
struct LineOf<'a> {
    unit: &'a UnitPlan,
    policy: usize,
}

/// Returns the hash of a whole plan; see [`segue_plan::fleet_hash`].
pub fn hash(fleet: &Fleet) -> String {
    let units = &fleet.units;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = units.len().div_ceil(cores).max(1);
    let hashes: Vec<String> = std::thread::scope(|scope| {
        let hash = |share: &[Arc<Plan>]| -> Vec<String> {
            let mut hashes = segue_plan::Hashes::default();
            share.iter().map(|plan| hashes.of(plan)).collect()
        };
        let working: Vec<_> =
            units.chunks(share).map(|share| scope.spawn(move || hash(share))).collect();
        working.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    segue_plan::fleet_hash(fleet, &hashes)
}

/// Stores a plan under its hash and returns the hash and where; storing it twice changes
/// nothing.
///
/// # Errors
/// `SG0805` if the folder or file cannot be written.
pub fn store(dir: &Path, fleet: &Fleet) -> Result<(String, PathBuf), Fault> {
    create_dir(dir)?;
    let plans = dir.join("plans");
    // The name of the whole is known at its end; two commands may store at once.
    let temporary = plans.join(format!("{}.new", std::process::id()));
    let op = || format!("store a plan in `{}`", plans.display());
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(|e| fault(op(), e))?;
    let mut out = BufWriter::new(file);
    let written = write(&mut out, fleet).and_then(|hash| {
        out.into_inner()?.sync_all()?;
        let path = plans.join(format!("{hash}.plan"));
        std::fs::rename(&temporary, &path)?;
        Ok((hash, path))
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(|e| fault(op(), e))
}

/// Units that a thread takes at once: lines are written while others are made.
const BATCH: usize = 2048;

/// Writes the plan and returns its hash.
fn write(out: &mut impl Write, fleet: &Fleet) -> std::io::Result<String> {
    let mut policies: Vec<Arc<Policy>> = Vec::new();
    let mut known: HashMap<*const Policy, usize> = HashMap::new();
    let mut places = Vec::with_capacity(fleet.units.len());
    for plan in &fleet.units {
        // Shared policies are the same allocation; a few that are equal and not shared cost
        // some lines.
        let place = known.entry(Arc::as_ptr(&plan.policy)).or_insert_with(|| {
            policies.push(Arc::clone(&plan.policy));
            policies.len() - 1
        });
        places.push(*place);
    }
    let head = Head {
        name: fleet.name.clone(),
        joints: fleet.joints.clone(),
        waves: fleet.waves.clone(),
        schedule: fleet.schedule.clone(),
        people: fleet.people.clone(),
        policies,
    };
    serde_json::to_writer(&mut *out, &head)?;
    out.write_all(b"\n")?;
    let units: Vec<(&Arc<Plan>, usize)> = fleet.units.iter().zip(places).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut hashes = Vec::with_capacity(units.len());
    for batch in units.chunks(cores * BATCH) {
        let made: Vec<_> = std::thread::scope(|scope| {
            let working: Vec<_> =
                batch.chunks(BATCH).map(|part| scope.spawn(move || lines(part))).collect();
            working.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for part in made {
            let (text, of_units) = part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            out.write_all(&text)?;
            hashes.extend(of_units);
        }
    }
    Ok(segue_plan::fleet_hash(fleet, &hashes))
}

/// Returns the lines of some units, and their hashes.
fn lines(units: &[(&Arc<Plan>, usize)]) -> std::io::Result<(Vec<u8>, Vec<String>)> {
    let mut text = Vec::new();
    let mut hashes = segue_plan::Hashes::default();
    let mut of_units = Vec::with_capacity(units.len());
    for (plan, policy) in units {
        serde_json::to_writer(&mut text, &LineOf { unit: &plan.unit, policy: *policy })?;
        text.push(b'\n');
        of_units.push(hashes.of(plan));
    }
    Ok((text, of_units))
}

fn read(path: &Path) -> std::io::Result<Fleet> {
    let mut lines = BufReader::new(File::open(path)?).lines();
    let missing = || std::io::Error::other("the file is empty");
    let head: Head = serde_json::from_str(&lines.next().ok_or_else(missing)??)?;
    let mut units = Vec::new();
    for line in lines {
        let Line { unit, policy } = serde_json::from_str(&line?)?;
        let policy = head.policies.get(policy).map(Arc::clone);
        let policy = policy.ok_or_else(|| std::io::Error::other("a unit's policy is missing"))?;
        units.push(Arc::new(Plan { name: head.name.clone(), unit, policy }));
    }
    Ok(Fleet {
        name: head.name,
        units,
        joints: head.joints,
        waves: head.waves,
        schedule: head.schedule,
        people: head.people,
    })
}

/// Loads the approved plan whose hash begins with `wanted` and checks that it still has it.
///
/// # Errors
/// `SG0806` if none or several match, `SG0807` if the stored plan was changed.
pub fn load(dir: &Path, wanted: &str) -> Result<(String, Fleet), Fault> {
    let op = || format!("find approved plan `{wanted}`");
    let refuse = |cause: String| {
        Fault::new("SG0806", FaultKind::NotFound, op(), cause)
            .hint("`segue plan` checks a plan file and prints its hash")
    };
    if wanted.len() < HASH_CHARS_MIN || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(refuse(format!("a hash has at least {HASH_CHARS_MIN} hexadecimal digits")));
    }
    let entries = std::fs::read_dir(dir.join("plans")).map_err(|e| refuse(e.to_string()))?;
    let found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|e| e == "plan")
                && path.file_stem().and_then(|s| s.to_str()).is_some_and(|s| s.starts_with(wanted))
        })
        .collect();
    let path = match found.as_slice() {
        [one] => one,
        [] => return Err(refuse("no plan with this hash was approved here".into())),
        _ => return Err(refuse("several plans begin so; give more digits".into())),
    };
    let fleet = read(path).map_err(|e| fault(op(), e))?;
    let whole = hash(&fleet);
    if path.file_stem().and_then(|s| s.to_str()) != Some(whole.as_str()) {
        return Err(Fault::new(
            "SG0807",
            FaultKind::Conflict,
            format!("check plan `{}`", path.display()),
            format!("its content has hash {whole}: it was changed after it was approved"),
        )
        .hint("run `segue plan` on the plan file again and look at what it shows"));
    }
    Ok((whole, fleet))
}
