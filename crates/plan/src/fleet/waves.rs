//! Waves: which units move in which stretch.

use super::problem;
use super::shared::Shared;
use crate::Problem;
use crate::file::{TrafficFile, WaveFile};
use segue_model::UnitName;
use segue_model::fleet::Wave;
use segue_model::plan::UnitPlan;
use std::collections::BTreeSet;

/// Shares of the waves of a plan that names none, percent; the last one takes the rest.
const PRESET: [f64; 4] = [10.0, 20.0, 20.0, 100.0];
/// So few units need no waves.
const ONE_WAVE: usize = 4;
/// Requests a day from which traffic is medium and high.
const MEDIUM: u64 = 1_000;
const HIGH: u64 = 50_000;

/// Gives every unit its wave.
pub(super) fn assign(
    said: Option<&[WaveFile]>,
    shared: &Shared,
    problems: &mut Vec<Problem>,
) -> Vec<Wave> {
    let preset: Vec<WaveFile> = if shared.units.len() <= ONE_WAVE {
        vec![WaveFile { canaries: Some(0), ..WaveFile::default() }]
    } else {
        let wave = |percent: &f64| WaveFile { percent: Some(*percent), ..WaveFile::default() };
        PRESET.iter().map(wave).collect()
    };
    let files = said.unwrap_or(&preset);
    // The least traffic first: what goes wrong there hurts the fewest.
    let mut left: Vec<&UnitPlan> = shared.units.iter().map(|plan| &plan.unit).collect();
    left.sort_by_key(|unit| (unit.requests_per_day.unwrap_or(u64::MAX), unit.name.clone()));
    let all = left.len();
    let mut waves = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let name = file.name.clone().unwrap_or_else(|| (place + 1).to_string());
        unknown_names(&name, file, shared, problems);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let most = file.percent.map_or(usize::MAX, |p| (all as f64 * p / 100.0).ceil() as usize);
        let mut units = Vec::new();
        left.retain(|unit| {
            let takes = units.len() < most && selects(file, unit);
            if takes {
                units.push(unit.name.clone());
            }
            !takes
        });
        if units.is_empty() {
            problems.push(problem(
                "SG0742",
                format!("wave[{name}]"),
                "the wave selects no unit, or earlier ones took all of them",
                "change what it selects, or take it away",
            ));
        }
        let canaries = file.canaries.unwrap_or(usize::from(place == 0)).min(units.len());
        waves.push(Wave { name, units, canaries });
    }
    if !left.is_empty() {
        let names: Vec<&str> = left.iter().take(5).map(|unit| unit.name.as_str()).collect();
        problems.push(problem(
            "SG0742",
            "wave",
            format!("{} units are in no wave: {} ...", left.len(), names.join(", ")),
            "add a last [[wave]] that selects nothing: it takes the rest",
        ));
    }
    waves
}

fn selects(file: &WaveFile, unit: &UnitPlan) -> bool {
    let class = unit.requests_per_day.map(|requests| match requests {
        ..MEDIUM => TrafficFile::Low,
        MEDIUM..HIGH => TrafficFile::Medium,
        HIGH.. => TrafficFile::High,
    });
    // Days as `2024-05-31` compare as they are.
    let created = |fits: &dyn Fn(&str) -> bool| unit.created.as_deref().is_some_and(fits);
    file.units
        .as_ref()
        .is_none_or(|names| names.iter().any(|name| super::like(name, unit.name.as_str())))
        && file.traffic.is_none_or(|wanted| class == Some(wanted))
        && file.created_before.as_ref().is_none_or(|day| created(&|of| of < day.as_str()))
        && file.created_from.as_ref().is_none_or(|day| created(&|of| of >= day.as_str()))
}

/// A name that is written out must exist; one that is a member of a joint is told so.
fn unknown_names(wave: &str, file: &WaveFile, shared: &Shared, problems: &mut Vec<Problem>) {
    let known: BTreeSet<&UnitName> = shared.units.iter().map(|plan| &plan.unit.name).collect();
    for name in file.units.iter().flatten().filter(|name| !name.contains('*')) {
        if known.contains(&UnitName::from(name.as_str())) {
            continue;
        }
        let joint = shared.joints.iter().find(|joint| joint.members.iter().any(|m| m.0 == *name));
        let text = match joint {
            Some(joint) => format!("unit `{name}` moves as part of `{}`", joint.unit),
            None => format!("there is no unit `{name}`"),
        };
        problems.push(problem(
            "SG0742",
            format!("wave[{wave}].units"),
            text,
            "name units as `segue plan` shows them",
        ));
    }
}
