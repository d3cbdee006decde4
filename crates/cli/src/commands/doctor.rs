//! `segue doctor`: checks this machine, the plan and both sides; touches nothing.

use anyhow::{Context, Result};
use segue_model::{Finding, Severity};
use std::path::Path;

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

/// Reads and understands a plan file.
///
/// # Errors
/// If it cannot be read or is not a plan.
pub(crate) fn read_plan(file: &Path) -> Result<segue_model::plan::Plan> {
    let text = std::fs::read_to_string(file).with_context(|| {
        format!("read plan file `{}` (`segue init` writes one)", file.display())
    })?;
    Ok(segue_plan::parse(&text, &file.display().to_string())?)
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
