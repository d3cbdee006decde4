#![allow(clippy::unwrap_used)]

use super::{EndedHow, RunState, Stage, StepStatus, UnitState};
use crate::event::{Actor, Attempt, Event, Phase, Record, UnitEntry, WriteSide};
use crate::fault::{Fault, FaultKind};
use crate::ids::{Epoch, RunId, StepName, UnitName};
use crate::side::Side;
use crate::table::{Budget, Pause, Retry, StepShape, TableShape};
use serde_json::{Value, json};

/// A journal in memory.
#[derive(Clone)]
struct Log {
    state: RunState,
    records: Vec<Record>,
}

fn shape(phase: Phase) -> TableShape {
    let names: &[&str] = match phase {
        Phase::Cutover | Phase::Failback => &["hold", "seal", "promote", "route"],
        Phase::Drill => &["hold", "fence"],
        _ => &["claim", "seed"],
    };
    let step = |name: &&str| StepShape {
        name: StepName::from(*name),
        title: name.to_string(),
        no_return: *name == "promote",
        pause: match *name {
            "hold" => Pause::Begins,
            "seal" => Pause::Seal,
            "route" => Pause::Ends,
            _ => Pause::None,
        },
        retry: Retry::Never,
    };
    TableShape { phase, steps: names.iter().map(step).collect(), budget: None }
}

fn intend(step: &str) -> Event {
    let prepared = json!({ "inverse": step });
    Event::StepIntended { step: StepName::from(step), prepared, epoch: Epoch(1) }
}

fn done(step: &str) -> Event {
    Event::StepDone { step: StepName::from(step), output: json!(step) }
}

fn undo(step: &str) -> Event {
    Event::UndoIntended { step: StepName::from(step), epoch: Epoch(1) }
}

fn undone(step: &str) -> Event {
    Event::UndoDone { step: StepName::from(step) }
}

fn fault() -> Fault {
    Fault::new("SG0601", FaultKind::Busy, "test", "a fault")
}

fn failed(step: &str) -> Event {
    Event::StepFailed { step: StepName::from(step), fault: fault() }
}

fn turn_back() -> Event {
    Event::WithdrawalStarted { by: Actor::Controller, because: "tests".into() }
}

fn start(phase: Phase, number: u32) -> Event {
    start_by(phase, number, Actor::Controller)
}

fn start_by(phase: Phase, number: u32, by: Actor) -> Event {
    Event::AttemptStarted { attempt: Attempt { phase, number }, by, because: String::new() }
}

fn stuck() -> Event {
    Event::AttemptStuck { because: "tests".into(), way_out: vec!["wait".into()] }
}

fn confirmed() -> Event {
    Event::Confirmed { by: Actor::Controller }
}

impl Log {
    fn new() -> Self {
        let mut log = Self { state: RunState::default(), records: Vec::new() };
        log.add(Event::RunStarted {
            run: RunId::from("run"),
            name: "plan".into(),
            plan_hash: "hash".into(),
            units: vec![UnitEntry {
                unit: UnitName::from("shop"),
                plan_hash: "own".into(),
                wave: 1,
            }],
            by: Actor::Controller,
        });
        log.add(Event::EpochTaken { epoch: Epoch(1), pid: 1 });
        log
    }

    fn record(&self, event: Event) -> Record {
        let seq = self.state.last_seq + 1;
        let of_run = matches!(event, Event::RunStarted { .. } | Event::EpochTaken { .. });
        let unit = (!of_run).then(|| UnitName::from("shop"));
        Record { seq, at_ms: 1000 + seq, boot_ms: 10 * seq, unit, event }
    }

    fn unit(&self) -> &UnitState {
        self.state.unit(&UnitName::from("shop")).unwrap()
    }

    fn add(&mut self, event: Event) {
        let record = self.record(event);
        self.state = self.state.apply(&record).unwrap();
        self.records.push(record);
    }

    fn all(&mut self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.add(event));
    }

    #[track_caller]
    fn refuses(&self, event: Event) {
        let record = self.record(event);
        assert!(self.state.apply(&record).is_err(), "allowed: {:?}", record.event);
    }

    fn open(&mut self, phase: Phase) {
        let attempt = self.unit().next_attempt(phase);
        self.add(start(phase, attempt.number));
        self.add(Event::TableFixed { table: shape(phase) });
    }

    fn complete(&mut self, phase: Phase) {
        self.open(phase);
        for step in shape(phase).steps {
            self.all([intend(step.name.as_str()), done(step.name.as_str())]);
        }
        self.add(Event::AttemptCompleted);
    }

    /// A unit that can be cut over, with an open cutover.
    fn in_cutover() -> Self {
        let mut log = Self::new();
        log.complete(Phase::Sync);
        log.complete(Phase::Prepare);
        log.open(Phase::Cutover);
        log
    }
}

#[test]
fn stages_follow_each_other_and_nothing_else() {
    let mut log = Log::new();
    let phases =
        [Phase::Sync, Phase::Prepare, Phase::Drill, Phase::Cutover, Phase::Failback, Phase::Settle];
    let refuses_others = |log: &Log, allowed: &[Phase]| {
        for phase in phases {
            let event = start(phase, log.unit().next_attempt(phase).number);
            assert_eq!(log.unit().allows(&event, Epoch(1)), allowed.contains(&phase), "{phase:?}");
        }
    };
    refuses_others(&log, &[Phase::Sync]);
    log.complete(Phase::Sync);
    refuses_others(&log, &[Phase::Prepare, Phase::Drill]);
    log.complete(Phase::Prepare);
    refuses_others(&log, &[Phase::Cutover, Phase::Drill]);
    log.refuses(confirmed());
    log.complete(Phase::Cutover);
    assert_eq!(log.unit().write_side, WriteSide::At(Side::Target));
    assert_eq!(log.unit().watching_since.unwrap().seq, log.state.last_seq);
    refuses_others(&log, &[Phase::Failback]);
    log.complete(Phase::Failback);
    assert_eq!(log.unit().write_side, WriteSide::At(Side::Source));
    assert_eq!(log.unit().watching_since, None);
    refuses_others(&log, &[Phase::Cutover, Phase::Drill]);
    log.complete(Phase::Cutover);
    log.add(confirmed());
    log.refuses(confirmed());
    refuses_others(&log, &[Phase::Settle]);
    log.complete(Phase::Settle);
    assert_eq!(log.unit().stage, Stage::Settled);
    refuses_others(&log, &[]);
    assert_eq!(RunState::fold(&log.records).unwrap(), log.state);
}

#[test]
fn confirm_and_failback_exclude_each_other() {
    let mut log = Log::in_cutover();
    for step in ["hold", "seal", "promote", "route"] {
        log.all([intend(step), done(step)]);
    }
    log.refuses(confirmed());
    log.add(Event::AttemptCompleted);
    let trigger = || Actor::Trigger("slow".into());
    let mut first = Log { state: log.state.clone(), records: Vec::new() };
    first.add(start_by(Phase::Failback, 4, trigger()));
    first.refuses(confirmed());
    log.add(confirmed());
    log.refuses(start_by(Phase::Failback, 4, trigger()));
    log.add(start_by(Phase::Failback, 4, Actor::Person("admin".into())));
}

#[test]
fn a_step_has_one_intent_after_those_before_it_are_done() {
    let mut log = Log::in_cutover();
    log.refuses(intend("seal"));
    log.refuses(intend("unknown"));
    log.refuses(done("hold"));
    log.add(intend("hold"));
    log.refuses(intend("hold"));
    log.refuses(intend("seal"));
    log.add(failed("hold"));
    log.add(done("hold"));
    log.refuses(done("hold"));
    log.refuses(failed("hold"));
    log.refuses(Event::AttemptCompleted);
    let stale = Event::StepIntended { step: "seal".into(), prepared: Value::Null, epoch: Epoch(0) };
    log.refuses(stale);
    log.refuses(Event::TableFixed { table: shape(Phase::Cutover) });
}

#[test]
fn nothing_turns_round_from_the_intent_of_no_return_on() {
    let mut log = Log::in_cutover();
    log.all([intend("hold"), done("hold"), intend("seal")]);
    assert_eq!(log.unit().write_side, WriteSide::Held);
    log.add(done("seal"));
    assert!(log.unit().allows(&turn_back(), Epoch(1)));
    log.add(intend("promote"));
    log.refuses(turn_back());
    log.refuses(undo("promote"));
    log.refuses(Event::AttemptWithdrawn);
    log.all([done("promote"), intend("route")]);
    log.refuses(turn_back());
    assert_eq!(log.unit().write_side, WriteSide::Held);
    log.add(done("route"));
    assert_eq!(log.unit().write_side, WriteSide::At(Side::Target));
    let pause = log.unit().open.as_ref().unwrap().pause;
    let order = [pause.began, pause.sealed, pause.ended].map(|moment| moment.unwrap().seq);
    assert!(order.is_sorted());
}

#[test]
fn steps_are_undone_in_reverse_order_and_all_of_them() {
    let mut log = Log::in_cutover();
    log.all([intend("hold"), done("hold"), intend("seal")]);
    log.refuses(undo("seal"));
    log.add(turn_back());
    log.refuses(turn_back());
    log.refuses(done("seal"));
    log.refuses(intend("promote"));
    log.refuses(undo("hold"));
    log.refuses(undone("seal"));
    log.add(undo("seal"));
    log.refuses(undo("seal"));
    log.add(Event::UndoFailed { step: "seal".into(), fault: fault() });
    log.refuses(undo("hold"));
    log.add(undone("seal"));
    assert_eq!(log.unit().write_side, WriteSide::At(Side::Source));
    log.refuses(Event::AttemptWithdrawn);
    log.all([undo("hold"), undone("hold")]);
    log.refuses(Event::AttemptCompleted);
    log.add(Event::AttemptWithdrawn);
    let past = log.unit().history.last().unwrap();
    assert_eq!(past.how, EndedHow::Withdrawn);
    assert!(past.state.pause.ended.is_some());
    assert_eq!(past.state.facts().len(), 0);
    assert_eq!(log.unit().stage, Stage::Prepared);
}

#[test]
fn a_table_without_no_return_may_undo_only_its_open_step() {
    let mut log = Log::new();
    log.open(Phase::Sync);
    log.all([intend("claim"), done("claim"), intend("seed")]);
    log.refuses(undo("claim"));
    log.all([undo("seed"), undone("seed"), intend("seed"), done("seed")]);
    log.refuses(undo("seed"));
    log.add(Event::AttemptCompleted);
}

#[test]
fn a_drill_ends_with_everything_undone_and_changes_no_stage() {
    let mut log = Log::new();
    log.complete(Phase::Sync);
    log.complete(Phase::Prepare);
    log.open(Phase::Drill);
    log.all([intend("hold"), done("hold"), intend("fence")]);
    log.refuses(undo("fence"));
    log.add(done("fence"));
    log.refuses(Event::AttemptCompleted);
    assert_eq!(log.unit().write_side, WriteSide::At(Side::Source));
    log.all([turn_back(), undo("fence"), undone("fence"), undo("hold"), undone("hold")]);
    log.add(Event::AttemptWithdrawn);
    assert_eq!(log.unit().stage, Stage::Prepared);
    assert_eq!(log.unit().write_side, WriteSide::At(Side::Source));
    assert!(!log.unit().went_back(), "a wave does not stop for a drill");
    let past = log.unit().history.last().unwrap();
    assert!(past.state.steps.values().all(|step| step.output.is_some()));
    let at = |moment: Option<super::Moment>| moment.map(|moment| moment.seq);
    assert!(at(past.state.pause.began) < at(past.state.pause.ended));
    log.open(Phase::Drill);
}

#[test]
fn a_stuck_attempt_waits_for_a_person() {
    let mut log = Log::in_cutover();
    log.refuses(Event::AttemptResumed { by: Actor::Controller });
    log.all([intend("hold"), stuck()]);
    for event in [done("hold"), turn_back(), stuck(), Event::AttemptCompleted] {
        log.refuses(event);
    }
    log.add(Event::EpochTaken { epoch: Epoch(2), pid: 2 });
    log.add(Event::AttemptResumed { by: Actor::Person("admin".into()) });
    log.add(done("hold"));
    log.refuses(Event::EpochTaken { epoch: Epoch(2), pid: 2 });
    let status = log.unit().open.as_ref().unwrap().status(&"hold".into());
    assert_eq!(status, Some(&StepStatus::Done));
}

#[test]
fn records_follow_each_other_without_gaps() {
    let log = Log::new();
    let mut record = log.record(Event::Noted { text: "gap".into() });
    record.seq += 1;
    assert!(log.state.apply(&record).is_err());
    assert!(RunState::default().apply(&log.record(start(Phase::Sync, 1))).is_err());
}

#[test]
fn state_and_records_survive_their_json_form() {
    let mut log = Log::in_cutover();
    log.all([intend("hold"), failed("hold"), turn_back(), undo("hold"), stuck()]);
    let text = serde_json::to_string(&log.state).unwrap();
    assert_eq!(serde_json::from_str::<RunState>(&text).unwrap(), log.state);
    for record in &log.records {
        let text = serde_json::to_string(record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), *record);
    }
}

#[test]
fn a_table_that_makes_no_sense_is_refused() {
    let good = shape(Phase::Cutover);
    good.check().unwrap();
    let changes: [fn(&mut TableShape); 6] = [
        |t| t.steps.clear(),
        |t| t.steps[1].name = StepName::from("hold"),
        |t| t.steps[0].no_return = true,
        |t| t.steps.swap(1, 2),
        |t| t.steps[1].pause = Pause::Ends,
        |t| {
            t.steps[1].pause = Pause::None;
            t.budget = Some(Budget { limit_ms: 1, reserve_ms: 1 });
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut table = good.clone();
        change(&mut table);
        assert!(table.check().is_err(), "change {n}");
        assert!(!table.same_rules(&good) || table.budget.is_some(), "change {n}");
    }
    let as_drill = |steps| TableShape { phase: Phase::Drill, steps, budget: None };
    assert!(as_drill(good.steps[..2].to_vec()).check().is_err(), "a drill that seals");
    assert!(as_drill(good.steps[2..].to_vec()).check().is_err(), "a drill that promotes");
}

#[test]
fn the_share_of_a_split_follows_its_steps_and_ends_with_the_cutover() {
    let mut log = Log::new();
    log.complete(Phase::Sync);
    log.refuses(start(Phase::Split, 2));
    log.complete(Phase::Prepare);
    log.add(start(Phase::Split, 3));
    let mut table = shape(Phase::Split);
    table.steps[0].name = StepName::from("split_5");
    table.steps[1].name = StepName::from("split_25");
    log.add(Event::TableFixed { table });
    let share = |log: &Log| (log.unit().share, log.unit().is_split());
    assert_eq!(share(&log), (0, true));
    let up = |step: &str, share: u8, former: u8| {
        let step = StepName::from(step);
        let prepared = json!({ "former_share": former });
        let intended = Event::StepIntended { step: step.clone(), prepared, epoch: Epoch(1) };
        [intended, Event::StepDone { step, output: json!({ "share": share }) }]
    };
    log.all(up("split_5", 5, 0));
    log.all(up("split_25", 25, 5));
    assert_eq!(share(&log), (25, true));
    // A step back while the table goes forward: the last one, and no other.
    log.refuses(undo("split_5"));
    log.all([undo("split_25"), undone("split_25")]);
    assert_eq!(share(&log), (5, true));
    log.all(up("split_25", 25, 5));
    log.add(Event::AttemptCompleted);
    assert_eq!(share(&log), (25, true));
    // What is split is not split again, but taken back or cut over.
    log.refuses(start(Phase::Split, 4));
    let mut back = log.clone();
    back.add(start(Phase::Unsplit, 4));
    log.complete(Phase::Cutover);
    assert_eq!(share(&log), (0, false));
}
