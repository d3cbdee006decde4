//! `segue plan`: shows what will happen and approves it by its hash.

use super::doctor;
use anyhow::{Context, Result, bail};
use segue_model::{Fleet, Severity};
use std::path::Path;

/// What `segue plan` shall do besides.
pub(crate) struct Wish {
    /// Print the by-hand undo of every step.
    pub(crate) sheet: bool,
    /// Do not look at the servers.
    pub(crate) offline: bool,
    /// Print the plan file's schema and stop.
    pub(crate) schema: bool,
}

/// Checks the plan, prints its steps and stores it under its hash.
///
/// # Errors
/// If the plan file cannot be read or the plan cannot be stored.
pub(crate) async fn run(dir: &Path, file: &Path, json: bool, wish: Wish) -> Result<u8> {
    if wish.schema {
        println!("{}", serde_json::to_string_pretty(&segue_plan::schema())?);
        return Ok(0);
    }
    let plan = doctor::read_plan(file)?;
    // Each unit was checked when it was read.
    let mut findings = segue_server::doctor::joined(&plan);
    let sound = !findings.iter().any(|finding| finding.severity == Severity::Refuse);
    if sound && !wish.offline {
        findings.extend(segue_server::doctor::world(&plan).await);
    }
    doctor::print(&findings, json)?;
    if findings.iter().any(|finding| finding.severity == Severity::Refuse) {
        eprintln!("the plan is refused and was not stored; nothing was touched");
        return Ok(1);
    }
    let Some(first) = plan.units.first() else { bail!("the plan has no unit") };
    let tables = segue_server::outline::tables(first)?;
    if json {
        println!("{}", serde_json::to_string(&tables)?);
        if plan.units.len() > 1 {
            let groups = serde_json::json!({ "joints": plan.joints, "waves": plan.waves });
            println!("{groups}");
        }
    } else {
        if plan.units.len() > 1 {
            println!("{}", segue_server::outline::fleet(&plan));
            println!("every unit goes this way, shown for `{}`:\n", first.unit.name);
        }
        for table in &tables {
            println!("{}", table.text(wish.sheet));
        }
        for line in segue_server::outline::logins(first) {
            println!("{line}");
        }
        for line in segue_server::outline::not_provable(first) {
            println!("cannot be proven: {line}");
        }
    }
    times(&plan, json, wish.offline)?;
    let (hash, path) = segue_server::plans::store(dir, &plan)?;
    if json {
        println!("{}", serde_json::json!({ "hash": hash, "stored": path }));
    } else {
        println!("plan {hash} stored in {}", path.display());
        println!("next: segue sync {}", hash.get(..8).context("hash is too short")?);
    }
    Ok(0)
}

/// Tells what concerns when and by whom: the quietest hour, and duties that nobody has.
fn times(plan: &Fleet, json: bool, offline: bool) -> Result<()> {
    let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond())?;
    let quiet = match offline {
        true => Err("the access logs were not looked at".to_owned()),
        false => segue_server::quiet::of(plan, now_ms),
    };
    let missing = segue_server::timeline::duties_without_person(plan);
    if json {
        let found = quiet.as_ref().ok();
        let unknown = quiet.as_ref().err();
        println!(
            "{}",
            serde_json::json!({
                "quietest_hour": found,
                "quietest_hour_unknown": unknown,
                "duties_without_person": missing,
            })
        );
        return Ok(());
    }
    println!("{}", segue_server::quiet::told(&quiet));
    if !missing.is_empty() {
        println!("duties of the timeline that nobody has: {}", missing.join(", "));
    }
    Ok(())
}
