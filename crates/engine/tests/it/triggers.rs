//! Triggers fire when they must and only then, and prove that they can.

use segue_engine::clock::TestClock;
use segue_engine::triggers::{Evidence, Judgement, Level, fires, judge, prove};
use segue_engine::{Board, TriggerWatch};
use segue_model::gate::{
    Against, Bound, NoData, Reference, Scope, Standing, Trigger, TriggerAction,
};
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

#[test]
fn no_data_is_a_verdict_of_its_own_and_asks_where_the_plan_says_so() {
    let verdict = |no_data, samples: &[Sample]| {
        let evidence = Evidence { samples, ..Evidence::default() };
        let Judgement { standing, starts, .. } =
            judge(&Trigger { no_data, ..slow() }, evidence, 10_000, 0);
        (standing, starts)
    };
    assert_eq!(verdict(NoData::Ignore, &[]), (Standing::NoData, None));
    let asks = Some(TriggerAction::HoldAndAsk);
    assert_eq!(verdict(NoData::Ask, &[]), (Standing::NoData, asks));
    assert_eq!(verdict(NoData::Violates, &[]), (Standing::Fired, Some(TriggerAction::FailBack)));
    // A good value that is too old is no health, and no alarm before its time is over.
    let mut stale = slow();
    stale.bound.fresh_for_ms = 1_000;
    let old = [sample(10.0, 20, 8_500, "probe")];
    let evidence = Evidence { samples: &old, ..Evidence::default() };
    assert_eq!(judge(&stale, evidence, 10_000, 0).standing, Standing::NoData);
    // Violated, but not for long enough: since when.
    let fresh = series(&[10.0, 900.0, 900.0]);
    let evidence = Evidence { samples: &fresh, ..Evidence::default() };
    let standing = judge(&slow(), evidence, 10_000, 0).standing;
    assert_eq!(standing, Standing::Violating { since_boot_ms: 9_500 });
}

/// Ten percent and 5 ms against `with`.
fn compared(with: Reference, min_clients: u64) -> Trigger {
    let mut trigger = slow();
    trigger.bound.max = Some(1.1);
    trigger.against = Some(Against { with, slack: 5.0, min_clients });
    trigger
}

fn pairs(here: &[f64], there: f64) -> (Vec<Sample>, Vec<Sample>) {
    let here = series(here);
    let there = here.iter().map(|s| Sample {
        what: What::ResponseP95Ms(Side::Source),
        value: there,
        ..s.clone()
    });
    let there = there.collect();
    (here, there)
}

fn standing(trigger: &Trigger, here: &[f64], there: f64) -> Standing {
    let (samples, other_side) = pairs(here, there);
    let evidence = Evidence { samples: &samples, other_side: &other_side, ..Evidence::default() };
    judge(trigger, evidence, 10_000, 0).standing
}

#[test]
fn a_comparison_allows_its_factor_and_slack_and_no_more() {
    let trigger = compared(Reference::OtherSide, 0);
    prove(&trigger).unwrap();
    assert_eq!(standing(&trigger, &[114.0; 6], 100.0), Standing::Quiet, "110 and 5");
    assert_eq!(standing(&trigger, &[116.0; 6], 100.0), Standing::Fired);
    // Short answers differ by chance alone: 3 ms are three times 1 ms.
    assert_eq!(standing(&trigger, &[3.0; 6], 1.0), Standing::Quiet);
}

#[test]
fn what_may_be_chance_does_not_fire() {
    let trigger = compared(Reference::OtherSide, 0);
    let wild = [60.0, 260.0, 70.0, 250.0, 50.0, 240.0];
    assert!(matches!(standing(&trigger, &wild, 100.0), Standing::Violating { .. }));
    let steady = [150.0, 160.0, 155.0, 158.0, 152.0, 149.0];
    assert_eq!(standing(&trigger, &steady, 100.0), Standing::Fired);
}

#[test]
fn a_comparison_without_the_other_side_says_so() {
    let trigger = compared(Reference::OtherSide, 0);
    let (samples, other_side) = pairs(&[900.0; 6], 100.0);
    let earlier: Vec<Sample> = other_side
        .iter()
        .map(|s| Sample { taken_at_ms: s.taken_at_ms - 5_000, ..s.clone() })
        .collect();
    let apart = Evidence { samples: &samples, other_side: &earlier, ..Evidence::default() };
    assert_eq!(judge(&trigger, apart, 10_000, 0).standing, Standing::NoData, "other moments");
    let alone = Evidence { samples: &samples, ..Evidence::default() };
    assert_eq!(judge(&trigger, alone, 10_000, 0).standing, Standing::NoData);
    let before = compared(Reference::Before, 0);
    assert_eq!(judge(&before, alone, 10_000, 0).standing, Standing::NoData);
    let level = Level::of(&[100.0; 5]);
    let known = Evidence { before: level, ..alone };
    assert_eq!(judge(&before, known, 10_000, 0).standing, Standing::Fired);
    assert_eq!(Level::of(&[100.0; 4]), None, "too few to be a level");
}

#[test]
fn one_busy_client_decides_nothing() {
    let trigger = compared(Reference::OtherSide, 3);
    prove(&trigger).unwrap();
    let (samples, other_side) = pairs(&[900.0; 6], 100.0);
    let crowd = |clients: f64| -> Vec<Sample> {
        let of = |side| {
            let count = What::ClientsPerSecond(side);
            samples.iter().map(move |s| Sample { what: count, value: clients, ..s.clone() })
        };
        of(Side::Source).chain(of(Side::Target)).collect()
    };
    for (clients, expected) in [(2.0, Standing::NoData), (3.0, Standing::Fired)] {
        let clients = crowd(clients);
        let evidence = Evidence {
            samples: &samples,
            origins: &[],
            other_side: &other_side,
            clients: &clients,
            before: None,
        };
        assert_eq!(judge(&trigger, evidence, 10_000, 0).standing, expected);
    }
}

#[test]
fn a_trigger_that_counts_later_is_not_quiet_before() {
    let late = Trigger { after_ms: 5_000, ..slow() };
    prove(&late).unwrap();
    let samples = series(&[900.0; 6]);
    let evidence = Evidence { samples: &samples, ..Evidence::default() };
    assert_eq!(judge(&late, evidence, 10_000, 6_000).standing, Standing::NoData);
    assert_eq!(judge(&late, evidence, 10_000, 1_000).standing, Standing::Fired);
}

#[test]
fn comparisons_that_cannot_work_are_refused() {
    let mut once = compared(Reference::OtherSide, 0);
    once.bound.what = What::ProbeMaxMs;
    assert_eq!(prove(&once).unwrap_err().code, "SG0640");
    let mut never = compared(Reference::Before, 0);
    (never.bound.max, never.bound.min) = (None, Some(0.0));
    assert_eq!(prove(&never).unwrap_err().code, "SG0640");
}

#[test]
fn of_several_origins_one_that_fell_silent_is_not_calm() {
    let origins = ["database:target:a".to_owned(), "database:target:b".to_owned()];
    let trigger = Trigger { no_data: NoData::Ask, ..slow() };
    let samples: Vec<Sample> = (1..=20)
        .map(|n| Sample {
            what: trigger.bound.what,
            value: 0.0,
            count: 100,
            taken_at_ms: n * 500,
            from: origins[0].clone(),
        })
        .collect();
    let judged = |origins: &[String]| {
        let evidence = Evidence { samples: &samples, origins, ..Evidence::default() };
        judge(&trigger, evidence, 10_000, 0)
    };
    assert_eq!(judged(&origins[..1]).standing, Standing::Quiet);
    let silent = judged(&origins);
    assert_eq!(silent.standing, Standing::NoData);
    assert!(silent.starts.is_some() && silent.because.contains("database:target:b"), "{silent:?}");
}
