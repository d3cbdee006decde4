//! The ending: visitors leave, the oracle judges, the report is compared with it.

use crate::scene::{Scene, write_lines};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Lets the oracle judge and shows report and judgement side by side.
///
/// Returns whether nothing was wrong. Where an `outage` was staged, requests may have
/// failed; nothing acknowledged may be lost all the same.
pub(crate) fn judge(scene: &mut Scene, outage: bool) -> Result<bool> {
    scene.say("the visitors leave");
    if let Some(visitors) = scene.visitors.take() {
        visitors.leave()?;
    }
    let out = scene.out.display().to_string();
    let status = scene.segue.status()?;
    let write_side = status["write_side"]["at"].as_str().unwrap_or("source").to_owned();
    scene.segue.must(&["report", "--out", &out], 0)?;
    let zone = scene.world()?.dump_zone()?;
    write_lines(&scene.description.ledger_dir.join("zone.after"), &zone)?;
    scene.say("the oracle judges from the visitors' ledger and both databases");
    let judged = Command::new(scene.bin.join("segue-oracle"))
        .arg("--world")
        .arg(scene.description.path())
        .arg("--out")
        .arg(scene.out.join("oracle.json"))
        .args(["--write-side", &write_side])
        .status()
        .context("run the oracle")?;
    let agree = compare(&scene.out)?;
    println!("\nreport: {out}/report.html   judgement: {out}/oracle.json");
    if outage {
        return kept(&scene.out);
    }
    Ok(judged.success() && agree)
}

/// Whether every acknowledged write is there exactly once, in order, and nothing foreign changed.
fn kept(out: &Path) -> Result<bool> {
    let oracle = read(&out.join("oracle.json"))?;
    let wrong =
        ["lost_writes", "doubled_writes", "out_of_order_per_client", "foreign_bytes_changed"];
    Ok(wrong.iter().all(|key| oracle[*key] == 0))
}

fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("read `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("understand `{}`", path.display()))
}

/// Shows both and tells whether the report's word on failures is the oracle's.
fn compare(out: &Path) -> Result<bool> {
    let (report, oracle) = (read(&out.join("report.json"))?, read(&out.join("oracle.json"))?);
    let summary = &report["summary"];
    println!("\n  what                        report      oracle");
    let line = |what: &str, left: &Value, right: &Value| {
        println!("  {what:<24} {:>9}   {:>9}", words(left), words(right));
    };
    line("outcome", &report["outcome"], &Value::Null);
    line("requests", &summary["requests"], &oracle["requests"]);
    line("failed requests", &summary["failed_requests"], &oracle["failed_requests"]);
    line("longest request, ms", &summary["longest_request_ms"], &oracle["longest_request_ms"]);
    line("write pause, ms", &summary["write_pause_ms"], &Value::Null);
    line("interruption, ms", &summary["interruption_ms"], &Value::Null);
    line("acknowledged writes", &Value::Null, &oracle["acknowledged_writes"]);
    line("lost writes", &Value::Null, &oracle["lost_writes"]);
    line("doubled writes", &Value::Null, &oracle["doubled_writes"]);
    line("out of order", &Value::Null, &oracle["out_of_order_per_client"]);
    line("foreign bytes changed", &Value::Null, &oracle["foreign_bytes_changed"]);
    line("at former address", &Value::Null, &oracle["requests_at_former_address_after_publish"]);
    let login = &report["sessions"][0]["tries"];
    line("one login tried, times", &login["tried"], &Value::Null);
    line("and not known, times", &login["lost"], &Value::Null);
    let kept = login["lost"] == 0 && login["tried"].as_u64() > Some(0);
    if !kept {
        println!("\n  the login that was tried all the while was lost, or never tried");
    }
    let failed = |value: &Value| value.as_u64().map(|n| n > 0);
    let agree = failed(&summary["failed_requests"]) == failed(&oracle["failed_requests"]);
    if !agree {
        println!("\n  report and oracle disagree about failed requests");
    }
    Ok(agree && kept)
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Number(number) => number.as_f64().map_or_else(
            || number.to_string(),
            |v| {
                if v.fract() == 0.0 { format!("{v:.0}") } else { format!("{v:.1}") }
            },
        ),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
