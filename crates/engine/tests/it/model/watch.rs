//! A watched unit: a person, the commit timer and a trigger look first and act later.
//!
//! What may follow what is asked of the journal's own rules: a state here is a list of
//! records, folded by the real [`RunState`].

use super::{Verdict, check};
use segue_model::event::{Actor, Event, Phase, Record, UnitEntry};
use segue_model::state::{RunState, Stage, UnitState};
use segue_model::table::{Pause, Retry, StepShape, TableShape};
use segue_model::{Epoch, RunId, StepName, UnitName};
use serde_json::Value;
use stateright::{Model, Property};
use std::sync::LazyLock;

/// The rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The journal is asked again when the record is appended.
    AskedAtAppend,
    /// From `Confirmed` on it takes a person: here the timer acts as one.
    PersonFromConfirmed,
    /// A timer that ran out while no controller watched waits for a person.
    Watched,
}

struct Watch(Option<Rule>);

/// What stands in the journal since the cutover ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Noted {
    Confirmed,
    /// A failback began: by a person, the timer or a trigger.
    Back(Who),
    Fired,
    Asked,
    Fixed,
    Promote,
    Promoted,
    Completed,
    Withdrawing,
    Withdrawn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Person,
    Timer,
    Trigger,
}

const ALL: [Who; 3] = [Who::Person, Who::Timer, Who::Trigger];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    journal: Vec<Noted>,
    /// Who looked, and wants to start a failback, or (a person) to confirm.
    looked: [bool; 3],
    confirming: bool,
    alive: bool,
    /// A controller has lived since the cutover.
    watched: bool,
    ran_out: bool,
    /// A person was told that the unit is confirmed.
    told: bool,
    /// A failback began by itself after that, or although nobody watched.
    after_told: bool,
    unwatched: bool,
    /// Two attempts were open at once.
    doubled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    RunsOut,
    Looks(Who),
    Starts(Who),
    WantsToConfirm,
    Confirms,
    /// The open failback's next record.
    GoesOn,
    TurnsRound,
    Dies,
    Comes,
}

fn step() -> StepShape {
    StepShape {
        name: StepName::from("promote"),
        title: String::new(),
        no_return: true,
        pause: Pause::None,
        retry: Retry::Never,
    }
}

fn table(phase: Phase) -> TableShape {
    TableShape { phase, steps: vec![step()], budget: None }
}

fn unit() -> UnitName {
    UnitName::from("unit")
}

fn of_unit(state: &RunState) -> &UnitState {
    state.unit(&unit()).unwrap()
}

fn event(noted: Noted, state: &RunState) -> Event {
    let person = || Actor::Person("admin".into());
    let (step, none) = (step().name, String::new);
    match noted {
        Noted::Confirmed => Event::Confirmed { by: person() },
        Noted::Back(who) => Event::AttemptStarted {
            attempt: of_unit(state).next_attempt(Phase::Failback),
            by: match who {
                Who::Person => person(),
                Who::Timer => Actor::Trigger("commit timer".into()),
                Who::Trigger => Actor::Trigger("target slow".into()),
            },
            because: none(),
        },
        Noted::Fired => Event::TriggerFired { trigger: none(), because: none() },
        Noted::Asked => Event::FailbackRefused { because: none(), way_out: Vec::new() },
        Noted::Fixed => Event::TableFixed { table: table(Phase::Failback) },
        Noted::Promote => Event::StepIntended { step, prepared: Value::Null, epoch: state.epoch },
        Noted::Promoted => Event::StepDone { step, output: Value::Null },
        Noted::Completed => Event::AttemptCompleted,
        Noted::Withdrawing => Event::WithdrawalStarted { by: person(), because: none() },
        Noted::Withdrawn => Event::AttemptWithdrawn,
    }
}

/// Appends a record; one that is not legal is left out, as the journal does.
fn add(state: &mut RunState, event: Event) {
    let seq = state.last_seq + 1;
    let of_run = matches!(event, Event::RunStarted { .. } | Event::EpochTaken { .. });
    let unit = (!of_run).then(unit);
    // Refused, the state stays as it is.
    let _ = state.take(&Record { seq, at_ms: seq, boot_ms: seq, unit, event });
}

/// Returns the state at the end of the cutover.
fn cut_over() -> RunState {
    let mut state = RunState::default();
    let started = Event::RunStarted {
        run: RunId::from("run"),
        name: String::new(),
        plan_hash: String::new(),
        units: vec![UnitEntry { unit: unit(), plan_hash: String::new(), wave: 1 }],
        by: Actor::Controller,
    };
    add(&mut state, started);
    add(&mut state, Event::EpochTaken { epoch: Epoch(1), pid: 1 });
    for phase in [Phase::Sync, Phase::Prepare, Phase::Cutover] {
        let (attempt, by) = (of_unit(&state).next_attempt(phase), Actor::Controller);
        add(&mut state, Event::AttemptStarted { attempt, by, because: String::new() });
        add(&mut state, Event::TableFixed { table: table(phase) });
        for noted in [Noted::Promote, Noted::Promoted, Noted::Completed] {
            let event = event(noted, &state);
            add(&mut state, event);
        }
    }
    state
}

/// Folds what was noted since the cutover.
fn fold(journal: &[Noted]) -> RunState {
    static BEGINS: LazyLock<RunState> = LazyLock::new(cut_over);
    journal.iter().fold(BEGINS.clone(), |mut state, noted| {
        let event = event(*noted, &state);
        add(&mut state, event);
        state
    })
}

impl Watch {
    fn lacks(&self, rule: Rule) -> bool {
        self.0 == Some(rule)
    }

    /// Appends if it is legal. Without the rule that asks again, whoever looked at an earlier
    /// moment writes regardless, and the journal is whatever it becomes.
    fn append(&self, s: &mut State, noted: Noted) -> bool {
        let state = fold(&s.journal);
        let allowed = state.allows(Some(&unit()), &event(noted, &state));
        if allowed {
            s.journal.push(noted);
        }
        allowed
    }

    fn starts(&self, s: &mut State, who: Who) {
        let state = fold(&s.journal);
        let open = of_unit(&state).open.is_some();
        let overdue = who == Who::Timer && !s.watched && !self.lacks(Rule::Watched);
        if overdue {
            self.append(s, Noted::Asked);
            return;
        }
        let named = match who {
            Who::Timer if self.lacks(Rule::PersonFromConfirmed) => Who::Person,
            who => who,
        };
        let began = self.append(s, Noted::Back(named)) || self.lacks(Rule::AskedAtAppend);
        if began {
            s.doubled |= open;
            s.after_told |= s.told && who != Who::Person;
            s.unwatched |= who == Who::Timer && !s.watched;
        }
    }
}

impl Model for Watch {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            journal: Vec::new(),
            looked: [false; 3],
            confirming: false,
            alive: true,
            watched: true,
            ran_out: false,
            told: false,
            after_told: false,
            unwatched: false,
            doubled: false,
        }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend([
            Action::RunsOut,
            Action::WantsToConfirm,
            Action::Confirms,
            Action::GoesOn,
            Action::TurnsRound,
            Action::Dies,
            Action::Comes,
        ]);
        actions.extend(ALL.iter().flat_map(|who| [Action::Looks(*who), Action::Starts(*who)]));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        let state = fold(&s.journal);
        let watching = of_unit(&state).stage == Stage::Watching && of_unit(&state).open.is_none();
        match action {
            Action::RunsOut if s.ran_out => return None,
            Action::RunsOut => s.ran_out = true,
            Action::Dies if !s.alive => return None,
            Action::Dies => (s.alive, s.watched, s.looked) = (false, false, [false; 3]),
            Action::Comes if s.alive => return None,
            Action::Comes => s.alive = true,
            _ if !s.alive => return None,
            Action::Looks(who) => {
                let due = who != Who::Timer || s.ran_out && of_unit(&state).refused.is_none();
                if s.looked[who as usize] || !watching || !due {
                    return None;
                }
                s.looked[who as usize] = true;
                if who == Who::Trigger {
                    self.append(&mut s, Noted::Fired);
                }
            }
            Action::Starts(who) => {
                if !std::mem::take(&mut s.looked[who as usize]) {
                    return None;
                }
                self.starts(&mut s, who);
            }
            Action::WantsToConfirm if s.confirming || !watching => return None,
            Action::WantsToConfirm => s.confirming = true,
            Action::Confirms => {
                if !std::mem::take(&mut s.confirming) {
                    return None;
                }
                s.told |= self.append(&mut s, Noted::Confirmed);
            }
            Action::GoesOn => {
                let next = match s.journal.last()? {
                    Noted::Back(_) => Noted::Fixed,
                    Noted::Fixed => Noted::Promote,
                    Noted::Promote => Noted::Promoted,
                    Noted::Promoted => Noted::Completed,
                    Noted::Withdrawing => Noted::Withdrawn,
                    _ => return None,
                };
                self.append(&mut s, next).then_some(())?;
            }
            Action::TurnsRound => self.append(&mut s, Noted::Withdrawing).then_some(())?,
        }
        // Small: one failback and a half is enough to see every race.
        (s.journal.len() <= 7).then_some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(TOLD, |_, s: &State| !s.after_told),
            Property::always(UNWATCHED, |_, s: &State| !s.unwatched),
            Property::always(ONE, |_, s: &State| !s.doubled),
            Property::always("what was withdrawn stays at the target, watched", |_, s: &State| {
                s.journal.last() != Some(&Noted::Withdrawn)
                    || matches!(
                        of_unit(&fold(&s.journal)).stage,
                        Stage::Watching | Stage::Confirmed
                    )
            }),
            Property::sometimes("the person is first", |_, s: &State| s.told && s.ran_out),
            Property::sometimes("the timer is first", |_, s: &State| {
                s.journal.contains(&Noted::Back(Who::Timer))
            }),
            Property::sometimes("a trigger fails it back to the end", |_, s: &State| {
                s.journal.contains(&Noted::Back(Who::Trigger))
                    && s.journal.contains(&Noted::Completed)
            }),
            Property::sometimes("an overdue confirmation waits for a person", |_, s: &State| {
                s.journal.contains(&Noted::Asked) && s.told
            }),
            Property::sometimes("a person fails a confirmed unit back", |_, s: &State| {
                s.told && s.journal.contains(&Noted::Back(Who::Person))
            }),
            Property::sometimes("a failback is withdrawn", |_, s: &State| {
                s.journal.contains(&Noted::Withdrawn)
            }),
        ]
    }
}

const TOLD: &str = "who was told that it is confirmed sees no failback by itself";
const UNWATCHED: &str = "no failback by itself that nobody watched";
const ONE: &str = "one attempt at a time";

/// Looks for a failback by itself: after a person confirmed, or although nobody watched.
pub(super) fn finds(after_confirm: bool) -> Option<&'static str> {
    if after_confirm {
        super::seek(Watch(Some(Rule::PersonFromConfirmed)), TOLD)
    } else {
        super::seek(Watch(Some(Rule::Watched)), UNWATCHED)
    }
}

#[test]
fn of_confirm_and_failback_the_first_wins() {
    let wrong: Vec<String> = [
        (None, Verdict::Holds(5758)),
        (Some(Rule::AskedAtAppend), Verdict::Fails(TOLD, 2262)),
        (Some(Rule::AskedAtAppend), Verdict::Fails(ONE, 2262)),
        (Some(Rule::PersonFromConfirmed), Verdict::Fails(TOLD, 2031)),
        (Some(Rule::Watched), Verdict::Fails(UNWATCHED, 2097)),
    ]
    .into_iter()
    .filter_map(|(rule, verdict)| check(&format!("watch without {rule:?}"), Watch(rule), verdict))
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A trigger that fires while promote is under way changes nothing: no attempt begins beside
/// it, nothing withdraws, and when the cutover has ended the unit is watched as ever.
#[test]
fn a_trigger_during_promote_waits_for_the_end() {
    let during = fold(&[Noted::Back(Who::Person), Noted::Fixed, Noted::Promote]);
    for noted in ALL.map(Noted::Back).into_iter().chain([Noted::Confirmed, Noted::Withdrawing]) {
        assert!(!during.allows(Some(&unit()), &event(noted, &during)), "{noted:?}");
    }
    assert!(during.allows(Some(&unit()), &event(Noted::Promoted, &during)));
}
