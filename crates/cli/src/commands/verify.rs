//! `segue verify`: do both sides' databases hold the same? Reads only, and needs no run.

use super::doctor;
use crate::args::VerifyArgs;
use crate::output::{self, View, date_time};
use anyhow::{Result, bail};
use segue_model::plan::{DatabasePlan, Plan};
use segue_server::verify::{self, Difference, DifferentRange, Keys, Verified, Wish};
use std::path::Path;

/// Compares and prints: 0 equal, 3 something differs, 1 it failed or cannot be told.
///
/// # Errors
/// If the plan cannot be read, or has nothing to compare.
pub(crate) async fn run(dir: &Path, args: VerifyArgs, json: bool) -> Result<u8> {
    let fleet = doctor::read_plan(&args.file)?;
    let chosen = fleet.units.iter().filter(|plan| {
        args.unit.as_ref().is_none_or(|unit| plan.unit.name.as_str() == unit.as_str())
    });
    let all: Vec<(&Plan, &DatabasePlan)> = chosen
        .flat_map(|plan| plan.unit.databases.iter().map(move |database| (&**plan, database)))
        .collect();
    if all.is_empty() {
        bail!("the plan has no such unit, or none with a database");
    }
    if all.len() > 1 && !args.tables.is_empty() {
        bail!("the plan has several databases: name the unit of the tables with --unit");
    }
    let wish = Wish {
        tables: args.tables,
        load: args.load,
        most_running: args.max_running,
        again: args.again,
        ..Wish::default()
    };
    let (mut differs, mut failed) = (false, false);
    for (plan, database) in all {
        let name = format!("{} (schema `{}`)", plan.unit.name, database.schema);
        match one(dir, plan, database, &wish, json).await {
            Ok(told) => {
                differs |= !told.differences.is_empty();
                failed |= !told.undecided.is_empty();
                if json {
                    println!("{}", line(plan, database, &told));
                } else {
                    print(&name, &told);
                }
            }
            Err(error) => {
                eprintln!("{name}:");
                output::error(&error);
                eprintln!("what was compared is kept: the same command goes on from there");
                failed = true;
            }
        }
    }
    Ok(match (differs, failed) {
        (true, _) => 3,
        (false, true) => 1,
        (false, false) => 0,
    })
}

async fn one(
    dir: &Path,
    plan: &Plan,
    database: &DatabasePlan,
    wish: &Wish,
    json: bool,
) -> Result<Verified> {
    let mut view = View::new(false);
    let told = verify::verify(dir, plan, database, wish, |line| {
        if !json {
            view.show(line);
        }
    })
    .await;
    view.close_progress();
    Ok(told?)
}

fn line(plan: &Plan, database: &DatabasePlan, told: &Verified) -> serde_json::Value {
    serde_json::json!({ "unit": plan.unit.name, "schema": database.schema, "verified": told })
}

fn print(name: &str, told: &Verified) {
    let (tables, rows) = (told.tables, told.rows);
    match told.differences.len() {
        0 if told.undecided.is_empty() => {
            println!("{name}: equal on both sides; {tables} tables, {rows} rows");
        }
        found => println!("{name}: {found} differences; {tables} tables, {rows} rows"),
    }
    for difference in &told.differences {
        print_difference(difference);
    }
    for text in &told.undecided {
        println!("  not decided: {text}");
    }
    for text in &told.worth_knowing {
        println!("  worth knowing: {text}");
    }
    for text in &told.said {
        println!("  {text}");
    }
    for seen in &told.moments {
        let place = match seen.place.as_str() {
            "" => "not one moment: what differed was looked at again",
            place => place,
        };
        println!("  at {}, {place}: {}", date_time(seen.at_ms), seen.parts.join(", "));
    }
}

fn print_difference(difference: &Difference) {
    let Difference { object, what, source, target, key, ranges, more } = difference;
    println!("  {object}: {what}");
    if what != "rows" {
        return;
    }
    println!("    source: {source}; target: {target}");
    for range in ranges {
        print_range(&key.join(", "), range);
    }
    if *more {
        println!("    and more ranges");
    }
}

fn print_range(key: &str, range: &DifferentRange) {
    let after = match range.after.as_str() {
        "" => "from the beginning".to_owned(),
        after => format!("after {after}"),
    };
    let to = match range.to.as_str() {
        "" => "to the end".to_owned(),
        to => format!("up to {to}"),
    };
    let (here, there) = (range.source_rows, range.target_rows);
    println!("    ({key}) {after} {to}: {here} rows at the source, {there} at the target");
    let kinds = [
        ("only at the source", &range.only_source),
        ("only at the target", &range.only_target),
        ("with other values", &range.changed),
    ];
    for (kind, keys) in kinds {
        if !keys.is_empty() {
            println!("      {} {kind}{}", keys.count, named(keys));
        }
    }
}

/// Returns keys in brackets, for those of several columns have commas of their own.
fn named(keys: &Keys) -> String {
    if keys.first.is_empty() {
        return String::new();
    }
    let all: Vec<String> = keys.first.iter().map(|key| format!("({key})")).collect();
    let rest = if keys.count > keys.first.len() as u64 { " ..." } else { "" };
    format!(": {}{rest}", all.join(" "))
}
