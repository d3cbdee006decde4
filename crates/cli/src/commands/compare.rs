//! `segue compare`: does every URL that the source's log knows answer the same at the target?

use super::doctor;
use crate::args::CompareArgs;
use anyhow::{Context, Result, bail};
use segue_server::compare::{Compared, Comparison, Otherwise, compare, logged};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How much of the end of a log is read, bytes.
const LOG_MAX: u64 = 256 << 20;

/// Compares and prints; 3 if something differs.
///
/// # Errors
/// If plan or log cannot be read, or nothing may be asked for.
pub(crate) async fn run(args: CompareArgs, json: bool) -> Result<u8> {
    let fleet = doctor::read_plan(&args.file)?;
    let mut all = fleet.units.iter().filter(|plan| {
        args.unit.as_ref().is_none_or(|unit| plan.unit.name.as_str() == unit.as_str())
    });
    let (Some(plan), rest) = (all.next(), all.next()) else { bail!("the plan has no such unit") };
    if rest.is_some() {
        bail!("the plan has several units: name one with --unit");
    }
    let mut differs = false;
    for site in &plan.unit.sites {
        let log = args.log.as_ref().or(site.backends.source.access_log.as_ref());
        let log = log.context("the source has no `access_log` in the plan: name one with --log")?;
        let paths = match (args.path.is_empty(), args.all) {
            (_, true) => vec!["/".to_owned()],
            (false, false) => args.path.clone(),
            (true, false) => plan.policy.harmless_paths.clone(),
        };
        if paths.is_empty() {
            bail!(
                "no path is known to be harmless: name some with --path, or write `harmless_paths` \
                 into the plan; --all asks for every URL of the log, and a GET may write"
            );
        }
        let urls = logged(log, LOG_MAX, &paths, args.queries)
            .with_context(|| format!("read log `{}`", log.display()))?;
        let urls = &urls[..urls.len().min(args.limit)];
        if urls.is_empty() {
            bail!("log `{}` has no answered GET below {}", log.display(), paths.join(", "));
        }
        let mut comparison = Comparison::of(&plan.unit, site);
        comparison.every = Duration::from_secs(1) / args.per_second.max(1);
        let shows = std::io::stderr().is_terminal();
        let replayed = compare(&comparison, urls, |done| {
            if shows {
                eprint!("\r{done} of {} URLs of `{}`", urls.len(), site.name);
                let _ = std::io::stderr().flush();
            }
        })
        .await;
        if shows {
            eprintln!();
        }
        differs |= !replayed.compared.differences.is_empty();
        if json {
            println!("{}", serde_json::json!({ "site": site.name, "compared": replayed }));
        } else {
            print(site.name.as_str(), &replayed.compared);
            otherwise(site.name.as_str(), &replayed.otherwise);
        }
    }
    Ok(if differs { 3 } else { 0 })
}

fn print(site: &str, compared: &Compared) {
    let Compared { asked, same, noisy, differences, time_ratio, time_bounds } = compared;
    println!("{site}: {same} of {asked} URLs answer the same; {noisy} change by themselves");
    if let Some(ratio) = time_ratio {
        let bounds = time_bounds.map_or_else(
            || "too few URLs to say how surely".to_owned(),
            |(low, high)| format!("95 %: {low:.2} to {high:.2}"),
        );
        println!("{site}: the target takes {ratio:.2} times as long as the source ({bounds})");
    }
    for difference in differences {
        println!("  {} URLs: {}", difference.count, difference.text);
        for example in &difference.examples {
            println!("    {example}");
        }
    }
}

/// Says which answers are no news between the sides, and still not what visitors got.
fn otherwise(site: &str, found: &Otherwise) {
    if found.count == 0 {
        return;
    }
    println!(
        "{site}: {} URLs answer otherwise than the log says, at both sides: what visitors get there was \
         not compared",
        found.count
    );
    for example in &found.examples {
        println!("    {example}");
    }
}
