//! `segue doctor`: checks this machine, the plan and both sides; touches nothing.

use anyhow::{Context, Result, bail};
use segue_model::{Finding, Fleet, Severity};
use segue_plan::{FleetHead, PlanText, UnitText};
use std::path::{Path, PathBuf};

/// Prints every finding with its remedy.
///
/// # Errors
/// If the plan file cannot be read or understood.
pub(crate) async fn run(file: &Path, json: bool) -> Result<u8> {
    let plan = read_plan(file)?;
    let mut findings = segue_server::doctor::machine();
    findings.extend(segue_server::doctor::plan(&plan));
    if !findings.iter().any(|finding| finding.severity == Severity::Refuse) {
        findings.extend(segue_server::doctor::world(&plan).await);
    }
    print(&findings, json)?;
    let refused = findings.iter().any(|finding| finding.severity == Severity::Refuse);
    if !json {
        if refused {
            println!("refused: mend what is listed above, then run `segue doctor` again");
        } else {
            println!("ready: next, `segue plan {}`", file.display());
        }
    }
    Ok(u8::from(refused))
}

/// Reads and understands a plan file, and the files of its units if it has many.
///
/// # Errors
/// If one cannot be read or is not a plan.
pub(crate) fn read_plan(file: &Path) -> Result<Fleet> {
    let text = std::fs::read_to_string(file).with_context(|| {
        format!("read plan file `{}` (`segue init` writes one)", file.display())
    })?;
    match segue_plan::read_plan(&text, &file.display().to_string())? {
        PlanText::One(fleet) => Ok(*fleet),
        PlanText::Many(head) => {
            let folder = file.parent().unwrap_or(Path::new("."));
            let mut texts = Vec::new();
            for wanted in head.unit_files() {
                texts.extend(unit_texts(&folder.join(wanted))?);
            }
            Ok(head.compile(&texts)?)
        }
    }
}

/// Reads the files that a pattern means, in order of their names.
fn unit_texts(wanted: &Path) -> Result<Vec<UnitText>> {
    let folder = wanted.parent().unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("look for unit files `{}`", wanted.display()))?;
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| FleetHead::matches(wanted, path))
        .collect();
    files.sort();
    if files.is_empty() {
        bail!("no unit file is `{}`", wanted.display());
    }
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("read unit file `{}`", file.display()))?;
        Ok(UnitText { name: file.display().to_string(), text })
    };
    files.iter().map(read).collect()
}

/// Prints findings, as text or as JSON lines.
///
/// # Errors
/// If a finding cannot be serialised.
pub(crate) fn print(findings: &[Finding], json: bool) -> Result<()> {
    for finding in findings {
        if json {
            println!("{}", serde_json::to_string(finding)?);
        } else {
            println!("{finding}");
        }
    }
    Ok(())
}
