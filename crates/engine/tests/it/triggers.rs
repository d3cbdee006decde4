//! Triggers fire when they must and only then, and prove that they can.

use segue_engine::clock::TestClock;
use segue_engine::triggers::{fires, prove};
use segue_engine::{Board, TriggerWatch};
use segue_model::gate::{Bound, NoData, Scope, Trigger, TriggerAction};
use segue_model::{Sample, Side, What};
use segue_port::Clock;
use std::sync::Arc;
use std::time::Duration;

const WHAT: What = What::ResponseP95Ms(Side::Target);

fn slow() -> Trigger {
    Trigger {
        name: "target_slow".into(),
        bound: Bound { what: WHAT, from: None, max: Some(500.0), min: None, fresh_for_ms: 3000 },
        against: None,
        after_ms: 0,
        scope: Scope::Unit,
        for_ms: 3000,
        min_samples: 3,
        min_count: 10,
        no_data: NoData::Ignore,
        action: TriggerAction::FailBack,
    }
}

fn sample(value: f64, count: u64, taken_at_ms: u64, from: &str) -> Sample {
    Sample { what: WHAT, value, count, taken_at_ms, from: from.into() }
}

fn series(values: &[f64]) -> Vec<Sample> {
    let at = |n: usize| 10_000 - 500 * (values.len() - 1 - n) as u64;
    values.iter().enumerate().map(|(n, value)| sample(*value, 20, at(n), "probe")).collect()
}

fn fired(trigger: &Trigger, samples: &[Sample]) -> bool {
    fires(trigger, samples, 10_000, 0).is_some()
}

#[test]
fn fires_only_when_every_sample_violates() {
    assert!(fired(&slow(), &series(&[900.0; 6])));
    assert!(!fired(&slow(), &series(&[900.0, 900.0, 499.0, 900.0, 900.0, 900.0])));
    assert!(!fired(&slow(), &series(&[500.0; 6])), "the bound itself is allowed");
}

#[test]
fn needs_samples_and_observations_behind_them() {
    assert!(!fired(&slow(), &series(&[900.0; 2])));
    let thin: Vec<Sample> = (0..6).map(|n| sample(900.0, 9, 10_000 - n * 100, "probe")).collect();
    assert!(!fired(&slow(), &thin));
}

#[test]
fn does_not_fire_before_it_watched_long_enough() {
    let samples = series(&[900.0; 6]);
    assert!(fires(&slow(), &samples, 10_000, 7_001).is_none());
    assert!(fires(&slow(), &samples, 10_000, 7_000).is_some());
}

#[test]
fn one_origin_that_violates_is_enough() {
    let mut samples = series(&[900.0; 6]);
    samples.extend((0..6).map(|n| sample(10.0, 20, 10_000 - n * 100, "front:source")));
    assert!(fired(&slow(), &samples));
}

#[test]
fn silence_counts_as_declared() {
    let alive = Trigger { no_data: NoData::Violates, ..slow() };
    assert!(fired(&alive, &[]));
    assert!(fired(&alive, &series(&[900.0])), "one bad sample and silence");
    assert!(!fired(&alive, &series(&[10.0])), "one good sample and silence");
    assert!(!fired(&slow(), &[]));
}

#[test]
fn a_trigger_that_cannot_fire_is_refused() {
    type Change = fn(&mut Trigger);
    let cases: [(&str, Change); 6] = [
        ("a share above one", |t| {
            t.bound = Bound { what: What::FrontsReady, max: Some(1.0), ..slow().bound };
        }),
        ("below nothing", |t| (t.bound.max, t.bound.min) = (None, Some(0.0))),
        ("no bound", |t| t.bound.max = None),
        ("no time", |t| t.for_ms = 0),
        ("longer than the board remembers", |t| t.for_ms = 120_001),
        ("always violated", |t| t.bound.max = Some(-1.0)),
    ];
    prove(&slow()).unwrap();
    for (why, change) in cases {
        let mut trigger = slow();
        change(&mut trigger);
        assert_eq!(prove(&trigger).unwrap_err().code, "SG0640", "{why}");
    }
    let clock: Arc<dyn Clock> = Arc::new(TestClock::standing(0));
    let mut never = slow();
    never.bound.max = None;
    let board = Board::without_samplers(Arc::clone(&clock));
    assert!(TriggerWatch::new(vec![slow(), never], board, clock, 0).is_err());
}

#[test]
fn a_trigger_is_told_once_until_it_was_healthy_again() {
    let clock = Arc::new(TestClock::standing(100_000));
    let board = Board::without_samplers(clock.clone());
    let mut watch = TriggerWatch::new(vec![slow()], board.clone(), clock.clone(), 0).unwrap();
    let mut told = Vec::new();
    for value in [900.0, 900.0, 900.0, 900.0, 900.0, 10.0, 900.0, 900.0, 900.0, 900.0, 900.0] {
        for _ in 0..2 {
            clock.advance(Duration::from_millis(500));
            board.put(sample(value, 20, clock.boot_ms(), "probe"));
        }
        told.push(watch.look().len());
    }
    assert_eq!(told.iter().sum::<usize>(), 2, "{told:?}");
    assert!(told[0] + told[1] == 1 || told[2] == 1, "{told:?}");
}
