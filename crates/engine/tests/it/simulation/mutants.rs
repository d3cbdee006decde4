//! Every mistake that the protocol could be built with is found.

use segue_engine::simulator::{Mutant, Script, run, shrink};

/// Seeds that are tried for one mutant.
const SEEDS: u64 = 20_000;

/// How the simulator found a mutant.
struct Catch {
    mutant: Mutant,
    seed: u64,
    because: String,
}

fn catch(mutant: Mutant) -> Option<Catch> {
    (1..=SEEDS).find_map(|seed| {
        let because = run(&Script::of(seed, Some(mutant)), false).violation?;
        Some(Catch { mutant, seed, because })
    })
}

/// Prints who caught what, and writes it as JSON to `SEGUE_MUTANTS_OUT` if that is set.
#[allow(clippy::print_stdout)]
#[test]
fn every_mutant_is_caught() {
    let caught: Vec<(Mutant, Option<Catch>)> =
        Mutant::ALL.iter().map(|mutant| (*mutant, catch(*mutant))).collect();
    for (mutant, catch) in &caught {
        match catch {
            Some(c) => println!("{:?} | {} | {}", c.mutant, c.seed, c.because),
            None => println!("{mutant:?} | MISSED"),
        }
    }
    let missed: Vec<_> = caught.iter().filter(|(_, c)| c.is_none()).map(|(m, _)| m).collect();
    assert!(missed.is_empty(), "nobody catches {missed:?}");
}

#[test]
fn a_failing_run_is_made_small() {
    let script =
        Script::of(catch(Mutant::QuenchSkipped).unwrap().seed, Some(Mutant::QuenchSkipped));
    let (small, report) = shrink(&script);
    let whole = run(&script, false).disturbed.len();
    assert!(report.violation.is_some());
    assert!(report.disturbed.len() <= whole, "{} of {whole}", report.disturbed.len());
    let line = format!("{small}  # a note");
    let read: Script = line.parse().unwrap();
    assert_eq!((read.seed, read.only), (small.seed, small.only));
}
