//! The protocol holds in every reachable state of a small instance, and each of its rules
//! is needed: without it, a state is found in which something is lost.
//!
//! Table, steps and words are those of the cutover; why it is as it is stands in
//! ARCHITECTURE.md. A change of the protocol changes the numbers of states below.

mod protocol;
mod state;

use protocol::Protocol;
use state::Broken;
use stateright::{Checker, Model};

/// Says what it found, for whoever breaks a rule and looks why.
///
/// Returns the names of the properties that do not hold, and the number of states seen.
#[allow(clippy::print_stdout)]
fn check(broken: &'static [Broken]) -> (Vec<&'static str>, usize) {
    let checker = Protocol { broken }.checker().threads(2).spawn_bfs().join();
    let found = checker.discoveries();
    let mut wrong: Vec<_> = checker
        .model()
        .properties()
        .into_iter()
        .filter(|p| {
            // A counterexample to what must always hold, or no example of what must be possible.
            let always = matches!(p.expectation, stateright::Expectation::Always);
            found.contains_key(p.name) == always
        })
        .map(|p| p.name)
        .collect();
    wrong.sort_unstable();
    for name in &wrong {
        if let Some(path) = found.get(name) {
            println!("{broken:?}: `{name}` fails after {:?}", path.clone().into_actions());
        }
    }
    println!("{broken:?}: {} states", checker.unique_state_count());
    (wrong, checker.unique_state_count())
}

const LOST: &str = "whoever takes writes has every acknowledged one";
const TWO: &str = "one writer";

#[test]
fn the_protocol_holds_in_every_reachable_state() {
    let (wrong, states) = check(&[]);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(states, 105_404);
}

#[test]
fn without_a_rule_something_is_lost() {
    let rows: [(&[Broken], &str); 6] = [
        (&[Broken::Seal], TWO),
        (&[Broken::Quench], TWO),
        (&[Broken::EpochAtResource], TWO),
        (&[Broken::OutcomeAfterEffect], TWO),
        (&[Broken::NoWithdrawalAfterPromote], TWO),
        (&[Broken::FenceBeforePosition, Broken::PositionAtSeal], LOST),
    ];
    let mut missed = Vec::new();
    for (broken, consequence) in rows {
        if !check(broken).0.contains(&consequence) {
            missed.push(broken);
        }
    }
    assert!(missed.is_empty(), "found sound without a rule: {missed:?}");
}

/// Each is the second line behind the other.
#[test]
fn the_position_is_kept_by_the_order_of_steps_and_again_at_seal() {
    for broken in [&[Broken::FenceBeforePosition][..], &[Broken::PositionAtSeal]] {
        let (wrong, _) = check(broken);
        assert!(!wrong.contains(&LOST) && !wrong.contains(&TWO), "{broken:?}: {wrong:?}");
    }
}
