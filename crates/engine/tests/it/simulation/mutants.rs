//! Every mistake that the protocol could be built with is found.

use crate::model;
use segue_engine::simulator::{Mutant, Script, run, shrink};
use serde_json::{Value, json};

/// Seeds that are tried for one mutant.
const SEEDS: u64 = 20_000;

/// Who found a mutant.
struct Catch {
    mutant: Mutant,
    /// The model's name and the property that fails.
    model: Option<(&'static str, &'static str)>,
    /// The first seed that fails, which is also the number of runs, and what was broken.
    simulator: Option<(u64, String)>,
}

fn first_seed(mutant: Mutant) -> Option<(u64, String)> {
    (1..=SEEDS)
        .find_map(|seed| Some((seed, run(&Script::of(seed, Some(mutant)), false).violation?)))
}

fn as_json(catch: &Catch) -> Value {
    let model =
        catch.model.map(|(model, property)| json!({ "model": model, "property": property }));
    let simulator =
        catch.simulator.as_ref().map(|(seed, why)| json!({ "runs": seed, "violation": why }));
    let (name, what) = (format!("{:?}", catch.mutant), catch.mutant.what());
    json!({ "mutant": name, "what": what, "model": model, "simulator": simulator })
}

/// Prints who caught what, and writes it as JSON to `SEGUE_MUTANTS_OUT` if that is set.
#[allow(clippy::print_stdout)]
#[test]
fn every_mutant_is_caught() {
    let of = |mutant: &Mutant| Catch {
        mutant: *mutant,
        model: model::finds(*mutant),
        simulator: first_seed(*mutant),
    };
    let all: Vec<Catch> = Mutant::ALL.iter().map(of).collect();
    println!("mutant | caught by model | caught by simulator after so many runs");
    for catch in &all {
        let model = catch.model.map_or("-".into(), |(model, what)| format!("{model}: {what}"));
        let simulator =
            catch.simulator.as_ref().map_or("-".into(), |(runs, why)| format!("{runs}: {why}"));
        println!("{} | {model} | {simulator}", catch.mutant.what());
    }
    if let Ok(path) = std::env::var("SEGUE_MUTANTS_OUT") {
        let rows: Vec<Value> = all.iter().map(as_json).collect();
        std::fs::write(path, serde_json::to_string_pretty(&rows).unwrap()).unwrap();
    }
    // The simulator knows all of them; a model that is about one must know it as well.
    let missed: Vec<_> = all.iter().filter(|c| c.simulator.is_none()).map(|c| c.mutant).collect();
    assert!(missed.is_empty(), "the simulator misses {missed:?}");
    let modelled = all.iter().filter(|catch| catch.model.is_some()).count();
    assert_eq!(modelled, 15, "a model no longer finds what it is about");
}

#[test]
fn a_failing_run_is_made_small() {
    let mutant = Mutant::PositionBeforeFence;
    let script = Script::of(first_seed(mutant).unwrap().0, Some(mutant));
    let (small, report) = shrink(&script);
    let whole = run(&script, false).disturbed.len();
    assert!(report.violation.is_some());
    assert!(report.disturbed.len() < whole, "{} of {whole}", report.disturbed.len());
    let read: Script = format!("{small}  # a note").parse().unwrap();
    assert_eq!((read.seed, read.only), (small.seed, small.only));
}
