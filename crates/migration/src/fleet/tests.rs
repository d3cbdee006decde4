//! Claims about waves, windows and what a unit lacks.

use super::{Standing, Turn, WindowNow, missing, standing, turn, window_now};
use segue_model::event::{Actor, Event, Phase, Record, UnitEntry};
use segue_model::fleet::{Approval, Fleet, Freeze, Schedule, Wave, Window};
use segue_model::state::RunState;
use segue_model::table::{Retry, StepShape, TableShape};
use segue_model::{Epoch, RunId, StepName, UnitName};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) const HOUR: u64 = 3_600_000;
/// 2026-06-01 00:00 UTC, a Monday.
pub(crate) const MONDAY: u64 = 1_780_272_000_000;

pub(crate) fn fleet(units: &[&str], canaries: usize) -> Fleet {
    let plan = segue_plan::parse(segue_plan::template(), "example.toml").unwrap();
    let named = |name: &&str| {
        let mut plan = plan.clone();
        plan.unit.name = UnitName::from(*name);
        Arc::new(plan)
    };
    let names = units.iter().map(|name| UnitName::from(*name)).collect();
    Fleet {
        units: units.iter().map(named).collect(),
        waves: vec![Wave { name: "1".into(), units: names, canaries }],
        ..Fleet::of_one(plan.clone())
    }
}

/// A journal in memory.
pub(crate) struct Log(pub(crate) RunState);

impl Log {
    pub(crate) fn new(fleet: &Fleet) -> Self {
        let mut log = Self(RunState::default());
        let entry = |plan: &Arc<segue_model::plan::Plan>| UnitEntry {
            unit: plan.unit.name.clone(),
            plan_hash: "h".into(),
            wave: 1,
        };
        log.add(
            None,
            Event::RunStarted {
                run: RunId::from("run"),
                name: "plan".into(),
                plan_hash: "hash".into(),
                units: fleet.units.iter().map(entry).collect(),
                by: Actor::Person("ada".into()),
            },
        );
        log.add(None, Event::EpochTaken { epoch: Epoch(1), pid: 1 });
        log
    }

    pub(crate) fn add(&mut self, unit: Option<&str>, event: Event) {
        let seq = self.0.last_seq + 1;
        let unit = unit.map(UnitName::from);
        self.0.take(&Record { seq, at_ms: MONDAY + seq, boot_ms: seq, unit, event }).unwrap();
    }

    pub(crate) fn attempt(&mut self, unit: &str, phase: Phase, completes: bool) {
        let attempt = self.0.unit(&UnitName::from(unit)).unwrap().next_attempt(phase);
        let step = StepName::from("only");
        let shape = StepShape {
            name: step.clone(),
            title: String::new(),
            no_return: false,
            pause: segue_model::table::Pause::None,
            retry: Retry::Never,
        };
        let table = TableShape { phase, steps: vec![shape], budget: None };
        let by = Actor::Controller;
        self.add(
            Some(unit),
            Event::AttemptStarted { attempt, by: by.clone(), because: String::new() },
        );
        self.add(Some(unit), Event::TableFixed { table });
        if completes {
            self.add(
                Some(unit),
                Event::StepIntended { step: step.clone(), prepared: Value::Null, epoch: Epoch(1) },
            );
            self.add(Some(unit), Event::StepDone { step, output: Value::Null });
            self.add(Some(unit), Event::AttemptCompleted);
        } else {
            self.add(Some(unit), Event::WithdrawalStarted { by, because: "too slow".into() });
            self.add(Some(unit), Event::AttemptWithdrawn);
        }
    }

    pub(crate) fn synced(&mut self, units: &[&str]) {
        for unit in units {
            self.attempt(unit, Phase::Sync, true);
            self.attempt(unit, Phase::Prepare, true);
        }
    }

    fn turn(&self, fleet: &Fleet, running: &[&str]) -> Turn {
        let running: BTreeSet<UnitName> =
            running.iter().map(|name| UnitName::from(*name)).collect();
        turn(fleet, &self.0, 1, &running, MONDAY)
    }
}

fn start(units: &[&str]) -> Turn {
    Turn::Start(units.iter().map(|name| UnitName::from(*name)).collect())
}

#[test]
fn canaries_go_first_and_alone() {
    let fleet = fleet(&["a", "b", "c"], 1);
    let mut log = Log::new(&fleet);
    log.synced(&["a", "b", "c"]);
    log.add(None, Event::WaveStarted { wave: 1, by: Actor::Controller });
    assert_eq!(log.turn(&fleet, &[]), start(&["a"]));
    assert_eq!(log.turn(&fleet, &["a"]), Turn::Wait, "the rest waits for the canary");
    log.attempt("a", Phase::Cutover, true);
    assert_eq!(log.turn(&fleet, &[]), start(&["b", "c"]));
    assert_eq!(log.turn(&fleet, &["b"]), start(&["c"]));
    log.attempt("b", Phase::Cutover, true);
    log.attempt("c", Phase::Cutover, true);
    assert_eq!(log.turn(&fleet, &[]), Turn::Done);
}

#[test]
fn a_wave_stops_at_the_first_unit_that_went_back_until_a_person_lets_it_go_on() {
    let fleet = fleet(&["a", "b", "c"], 0);
    let mut log = Log::new(&fleet);
    log.synced(&["a", "b", "c"]);
    log.add(None, Event::WaveStarted { wave: 1, by: Actor::Controller });
    log.attempt("a", Phase::Cutover, true);
    log.attempt("a", Phase::Failback, true);
    let Turn::Stop(because) = log.turn(&fleet, &[]) else { panic!("it goes on") };
    assert!(because.contains("unit `a` went back"), "{because}");
    log.add(None, Event::WaveStopped { wave: 1, because });
    assert!(matches!(log.turn(&fleet, &[]), Turn::Stop(_)));
    assert_eq!(log.turn(&fleet, &["b"]), Turn::Wait, "what runs ends first");
    log.add(None, Event::WaveResumed { wave: 1, by: Actor::Person("ada".into()) });
    assert_eq!(log.turn(&fleet, &[]), start(&["b", "c"]), "without the unit that went back");
    log.attempt("b", Phase::Cutover, false);
    let Turn::Stop(because) = log.turn(&fleet, &[]) else { panic!("it goes on") };
    assert!(because.contains("unit `b` went back: too slow"), "{because}");
}

#[test]
fn units_taken_out_or_put_off_do_not_start() {
    let fleet = fleet(&["a", "b", "c"], 0);
    let mut log = Log::new(&fleet);
    log.synced(&["a", "b"]);
    let by = || Actor::Person("ada".into());
    log.add(None, Event::WaveStarted { wave: 1, by: by() });
    log.add(Some("a"), Event::UnitExcluded { by: by(), because: "customer asked".into() });
    let not_before_ms = MONDAY + HOUR;
    log.add(Some("b"), Event::UnitDeferred { not_before_ms, by: by(), because: "sale".into() });
    let Turn::Stop(because) = log.turn(&fleet, &[]) else { panic!("it goes on") };
    assert!(because.contains("does not follow yet: c"), "{because}");
    log.synced(&["c"]);
    assert_eq!(log.turn(&fleet, &[]), start(&["c"]));
    log.attempt("c", Phase::Cutover, true);
    assert_eq!(log.turn(&fleet, &[]), Turn::Done);
    let unit = log.0.unit(&UnitName::from("b")).unwrap();
    assert_eq!(standing(unit, MONDAY), Standing::Deferred);
    assert_eq!(standing(unit, MONDAY + 2 * HOUR), Standing::Ready);
}

fn night(zone: &str) -> Schedule {
    let window =
        Window { days: vec![1, 5], from_minute: 22 * 60, to_minute: 120, zone: zone.into() };
    Schedule { windows: vec![window], ..Schedule::default() }
}

#[test]
fn a_window_over_midnight_is_open_until_the_next_morning() {
    let open = |at_ms: u64| matches!(window_now(&night("UTC"), at_ms), WindowNow::Open(_));
    assert!(!open(MONDAY + 21 * HOUR));
    assert!(open(MONDAY + 22 * HOUR));
    assert!(open(MONDAY + 25 * HOUR), "on Tuesday, of Monday's window");
    assert!(!open(MONDAY + 26 * HOUR));
    assert!(!open(MONDAY + 24 * HOUR + 22 * HOUR), "Tuesday has none");
    let WindowNow::Closed { next: Some(next), .. } = window_now(&night("UTC"), MONDAY + 27 * HOUR)
    else {
        panic!("open")
    };
    assert_eq!(next.from_ms, MONDAY + 4 * 24 * HOUR + 22 * HOUR, "Friday's");
    assert!(matches!(window_now(&Schedule::default(), MONDAY), WindowNow::Always));
}

#[test]
fn a_window_follows_the_clocks_of_its_zone() {
    // In June Berlin is two hours ahead: 22:00 there is 20:00 UTC.
    let open =
        |at_ms: u64| matches!(window_now(&night("Europe/Berlin"), at_ms), WindowNow::Open(_));
    assert!(!open(MONDAY + 19 * HOUR + HOUR / 2));
    assert!(open(MONDAY + 20 * HOUR));
    assert!(!open(MONDAY + 24 * HOUR));
}

#[test]
fn a_freeze_closes_windows_and_is_named() {
    let mut schedule = night("UTC");
    schedule.freezes.push(Freeze {
        from: "2026-06-01".into(),
        to: "2026-06-05".into(),
        zone: "UTC".into(),
        because: "quarter's end".into(),
    });
    let WindowNow::Closed { because, next } = window_now(&schedule, MONDAY + 23 * HOUR) else {
        panic!("open")
    };
    assert!(because.contains("quarter's end"), "{because}");
    let next = next.unwrap();
    assert_eq!(next.from_ms, MONDAY + 7 * 24 * HOUR + 22 * HOUR, "Friday is frozen too");
}

#[test]
fn no_unit_starts_that_would_not_end_inside_its_window() {
    let mut fleet = fleet(&["a"], 0);
    fleet.schedule = night("UTC");
    let mut log = Log::new(&fleet);
    let unit = UnitName::from("a");
    let rules = |log: &Log, at_ms: u64| -> Vec<String> {
        missing(&fleet, &log.0, &unit, at_ms).into_iter().map(|m| m.rule).collect()
    };
    let end = MONDAY + 26 * HOUR;
    assert_eq!(rules(&log, end - 20 * 60_000), Vec::<String>::new());
    assert_eq!(rules(&log, end - 60_000), ["window"], "nobody measured it");
    log.add(
        Some("a"),
        Event::UnitRehearsed {
            plan_hash: "h".into(),
            passed: true,
            pause_ms: Some(80.0),
            took_ms: 20_000,
            detail: Value::Null,
        },
    );
    assert_eq!(rules(&log, end - 60_000), Vec::<String>::new(), "30 s by its rehearsal");
    assert_eq!(rules(&log, end - 29_000), ["window"]);
    assert_eq!(rules(&log, end + 1), ["window"]);
    let (by, because) = (Actor::Person("ada".into()), "agreed by phone".into());
    log.add(Some("a"), Event::Waived { rule: "window".into(), by, because });
    assert_eq!(rules(&log, end + 1), Vec::<String>::new());
}

#[test]
fn a_cutover_waits_for_agreement_roll_call_and_a_rehearsal_of_this_very_plan() {
    let mut fleet = fleet(&["a"], 0);
    fleet.people.approvals = vec![Approval { role: "owner".into(), persons: Vec::new() }];
    fleet.people.roll_call = vec!["dns".into()];
    fleet.schedule.rehearsal = segue_model::fleet::RehearsalRule { needed: true, within_s: 3600 };
    let mut log = Log::new(&fleet);
    let unit = UnitName::from("a");
    let rules = |log: &Log, at_ms: u64| -> Vec<String> {
        missing(&fleet, &log.0, &unit, at_ms).into_iter().map(|m| m.rule).collect()
    };
    assert_eq!(rules(&log, MONDAY), ["approval:owner", "ready:dns", "rehearsal"]);
    let ada = Actor::Person("ada".into());
    let refused = super::may_approve(&fleet, &log.0, "owner", &ada).unwrap_err();
    assert!(refused.contains("began the run"), "{refused}");
    let eve = Actor::Person("eve".into());
    super::may_approve(&fleet, &log.0, "owner", &eve).unwrap();
    log.add(None, Event::Approved { by: eve.clone(), role: "owner".into() });
    let (item, note, held) = ("ready:dns".into(), String::new(), None);
    log.add(None, Event::Acknowledged { item, by: eve, note, held });
    let rehearsed = |plan_hash: &str, passed| Event::UnitRehearsed {
        plan_hash: plan_hash.into(),
        passed,
        pause_ms: None,
        took_ms: 1,
        detail: Value::Null,
    };
    log.add(Some("a"), rehearsed("another", true));
    assert_eq!(rules(&log, MONDAY), ["rehearsal"]);
    log.add(Some("a"), rehearsed("h", false));
    assert_eq!(rules(&log, MONDAY), ["rehearsal"]);
    log.add(Some("a"), rehearsed("h", true));
    assert_eq!(rules(&log, MONDAY), Vec::<String>::new());
    assert_eq!(rules(&log, MONDAY + 2 * HOUR), ["rehearsal"], "too old by then");
    assert_eq!(rules(&log, MONDAY + 13 * HOUR), ["ready:dns", "rehearsal"]);
}

#[test]
fn a_needed_item_of_the_timeline_locks_the_cutover_until_whoever_has_the_duty_did_it() {
    let mut fleet = fleet(&["a"], 0);
    fleet.schedule.timeline.own.push(segue_model::fleet::OwnItem {
        id: "backup".into(),
        at_s: -3600,
        what: "the backup was restored on trial".into(),
        duty: "database".into(),
        needed: true,
    });
    let mut log = Log::new(&fleet);
    let unit = UnitName::from("a");
    let rules = |fleet: &Fleet, log: &Log| -> Vec<String> {
        missing(fleet, &log.0, &unit, MONDAY).into_iter().map(|m| m.rule).collect()
    };
    let said = |by: &str| Event::Acknowledged {
        item: "backup".into(),
        by: Actor::Person(by.into()),
        note: String::new(),
        held: None,
    };
    assert_eq!(rules(&fleet, &log), ["backup"]);
    log.add(None, said("eve"));
    assert_eq!(rules(&fleet, &log), Vec::<String>::new(), "the plan names nobody");
    fleet
        .people
        .duties
        .push(segue_model::fleet::Duty { role: "database".into(), person: "ada".into() });
    assert_eq!(rules(&fleet, &log), ["backup"], "the duty is ada's");
    let (by, because) = (Actor::Person("eve".into()), "restored yesterday".into());
    log.add(None, Event::Waived { rule: "backup".into(), by, because });
    assert_eq!(rules(&fleet, &log), Vec::<String>::new(), "waived by name and with a reason");
    let mut log = Log::new(&fleet);
    log.add(None, said("ada"));
    assert_eq!(rules(&fleet, &log), Vec::<String>::new());
}

#[test]
fn a_maintenance_window_starts_only_if_its_whole_pause_fits_the_window() {
    let mut fleet = fleet(&["a"], 0);
    fleet.schedule = night("UTC");
    fleet.schedule.strategy = segue_model::fleet::Strategy::MaintenanceWindow;
    let mut plan = (*fleet.units[0]).clone();
    Arc::make_mut(&mut plan.policy).maintenance_budget_ms = Some(HOUR);
    fleet.units[0] = Arc::new(plan);
    let log = Log::new(&fleet);
    let unit = UnitName::from("a");
    let end = MONDAY + 26 * HOUR;
    let fits = |at_ms| missing(&fleet, &log.0, &unit, at_ms).is_empty();
    assert!(fits(end - 2 * HOUR));
    assert!(!fits(end - HOUR), "an hour of pause, and the way there");
}
