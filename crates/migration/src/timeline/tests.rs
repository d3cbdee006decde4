//! Claims about the timeline: what is in it, when it is due, and from what its states come.

use super::*;
use crate::fleet::tests::{HOUR as HOUR_MS, Log, MONDAY, fleet as units};
use segue_model::event::{Event, Phase};
use segue_model::fleet::{Approval, Duty, OwnItem, Wave, Window};
use segue_model::gate::Standing as Says;

const DAY_MS: u64 = 24 * HOUR_MS;
/// The beginning: three weeks after the journal's first record.
const T: u64 = MONDAY + 21 * DAY_MS;

fn fleet() -> Fleet {
    let mut fleet = units(&["a", "b", "c"], 1);
    fleet.schedule.begins_at_ms = Some(T);
    fleet.people.approvals = vec![Approval { role: "owner".into(), persons: vec!["eve".into()] }];
    fleet.people.roll_call = vec!["dns".into()];
    fleet.people.duties = vec![
        Duty { role: "lead".into(), person: "ada".into() },
        Duty { role: "dns".into(), person: "dora".into() },
    ];
    fleet
}

fn at(fleet: &Fleet, log: &Log, now_ms: u64) -> Vec<Item> {
    timeline(fleet, &log.0, now_ms, &Facts::default())
}

fn find<'a>(items: &'a [Item], id: &str) -> &'a Item {
    items.iter().find(|item| item.id == id).unwrap_or_else(|| panic!("no item `{id}`"))
}

fn state(fleet: &Fleet, log: &Log, now_ms: u64, id: &str) -> Standing {
    find(&at(fleet, log, now_ms), id).state
}

fn ack(item: &str, by: &str) -> Event {
    let (by, note) = (Actor::Person(by.into()), "said on the phone".to_owned());
    Event::Acknowledged { item: item.into(), by, note, held: None }
}

#[test]
fn it_goes_from_two_weeks_before_to_two_weeks_after_with_a_duty_for_each_item() {
    let fleet = fleet();
    let items = at(&fleet, &Log::new(&fleet), MONDAY);
    let when: Vec<(&str, &str)> =
        items.iter().map(|item| (item.id.as_str(), item.when.as_str())).collect();
    for wanted in [
        ("inventory", "T-14 d"),
        ("duties", "T-14 d"),
        ("sync", "T-10 d"),
        ("rehearsal", "T-7 d"),
        ("notice", "T-7 d"),
        ("compared", "T-3 d"),
        ("freeze", "T-3 d"),
        ("ttls", "T-3 d"),
        ("ttls:in-time", "T-2 d"),
        ("ttls:over", "T-24 h"),
        ("approval:owner", "T-24 h"),
        ("drill", "T-2 h"),
        ("ready:dns", "T-1 h"),
        ("roll-call", "T-1 h"),
        ("wave:1", "T"),
        ("moved:1", "T+30 min"),
        ("arrivals:1", "T+35 min"),
        ("arrivals-late:1", "T+45 min"),
        ("confirm:1", "T+1 h 30 min"),
        ("stragglers:1", "T+24 h 30 min"),
        ("no-stragglers", "T+14 d 30 min"),
        ("retire", "T+14 d 30 min"),
    ] {
        assert!(when.contains(&wanted), "{wanted:?} in {when:?}");
    }
    assert!(items.iter().all(|item| !item.duty.is_empty() && !item.how.is_empty()));
    let due: Vec<u64> = items.iter().filter_map(|item| item.due_ms).collect();
    assert_eq!(due.len(), items.len());
    assert!(due.is_sorted(), "in order of time");
    let ready = find(&items, "ready:dns");
    assert_eq!(ready.opens_ms, Some(T - 12 * HOUR_MS), "the roll-call opens");
    assert_eq!(ready.person.as_deref(), Some("dora"));
    assert_eq!(find(&items, "approval:owner").person.as_deref(), Some("eve"));
    assert_eq!(duties_without_person(&fleet), ["customer care"]);
}

#[test]
fn without_a_beginning_nothing_has_a_date_and_nothing_is_overdue() {
    let mut fleet = fleet();
    fleet.schedule.begins_at_ms = None;
    let items = at(&fleet, &Log::new(&fleet), T + 100 * DAY_MS);
    assert!(items.iter().all(|item| item.due_ms.is_none()));
    assert_eq!(overdue(&items), 0);
}

#[test]
fn what_is_late_stands_first() {
    let fleet = fleet();
    let log = Log::new(&fleet);
    let items = at(&fleet, &log, T - 6 * DAY_MS);
    let late: Vec<&str> = items.iter().take(4).map(|item| item.id.as_str()).collect();
    assert_eq!(late, ["duties", "sync", "rehearsal", "notice"]);
    assert_eq!(overdue(&items), 4);
    assert_eq!(find(&items, "inventory").state, Standing::Done, "a run has begun");
    assert_eq!(find(&items, "compared").state, Standing::Pending);
    let text = text(&fleet, &items);
    assert!(text.contains("4 overdue"), "{text}");
    assert!(text.lines().nth(1).unwrap().starts_with("OVERDUE  T-14 d"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours");
}

#[test]
fn an_item_is_pending_then_due_then_overdue() {
    let fleet = fleet();
    let log = Log::new(&fleet);
    let notice = |now_ms| state(&fleet, &log, now_ms, "notice");
    assert_eq!(notice(T - 9 * DAY_MS), Standing::Pending);
    assert_eq!(notice(T - 8 * DAY_MS), Standing::Due, "a quarter of the way ahead");
    assert_eq!(notice(T - 7 * DAY_MS), Standing::Overdue);
}

#[test]
fn a_gate_goes_by_what_was_done_and_not_by_what_is_said() {
    let fleet = fleet();
    let mut log = Log::new(&fleet);
    let soon = T - 11 * DAY_MS;
    log.add(None, ack("sync", "ada"));
    let items = at(&fleet, &log, soon);
    let sync = find(&items, "sync");
    assert_eq!(sync.state, Standing::Due);
    assert_eq!(sync.acknowledged.as_ref().unwrap().by, "ada");
    assert!(sync.because.starts_with("0 of 3 units"), "{}", sync.because);
    log.synced(&["a", "b"]);
    let items = at(&fleet, &log, soon);
    assert!(find(&items, "sync").because.contains("missing: c"));
    assert!(find(&items, "ttls").because.contains("missing: c"));
    log.synced(&["c"]);
    assert_eq!(state(&fleet, &log, soon, "sync"), Standing::Done);
    assert_eq!(state(&fleet, &log, soon, "ttls"), Standing::Done);
    log.add(None, Event::WaveStarted { wave: 1, by: Actor::Controller });
    for unit in ["a", "b", "c"] {
        log.attempt(unit, Phase::Cutover, true);
    }
    let items = at(&fleet, &log, T);
    for id in ["wave:1", "moved:1", "drill", "rehearsal"] {
        assert_eq!(find(&items, id).state, Standing::Done, "{id}");
    }
    assert_eq!(state(&fleet, &log, T + DAY_MS, "confirm:1"), Standing::Overdue);
    for unit in ["a", "b", "c"] {
        log.add(Some(unit), Event::Confirmed { by: Actor::Person("ada".into()) });
    }
    assert_eq!(state(&fleet, &log, T + DAY_MS, "confirm:1"), Standing::Done);
}

#[test]
fn units_taken_out_or_put_off_are_not_waited_for() {
    let fleet = fleet();
    let mut log = Log::new(&fleet);
    log.synced(&["a", "b"]);
    let by = || Actor::Person("ada".into());
    log.add(Some("c"), Event::UnitExcluded { by: by(), because: "sold".into() });
    assert_eq!(state(&fleet, &log, MONDAY, "sync"), Standing::Done);
    log.attempt("a", Phase::Cutover, true);
    let not_before_ms = T + 9 * DAY_MS;
    log.add(Some("b"), Event::UnitDeferred { not_before_ms, by: by(), because: "sale".into() });
    assert_eq!(state(&fleet, &log, T, "moved:1"), Standing::Done);
    assert_eq!(state(&fleet, &log, not_before_ms, "moved:1"), Standing::Overdue);
}

#[test]
fn agreement_and_roll_call_lock_and_only_the_named_person_counts() {
    let fleet = fleet();
    let mut log = Log::new(&fleet);
    let night = T - 2 * HOUR_MS;
    let locks = |log: &Log| -> Vec<String> {
        let items = at(&fleet, log, night);
        let open = |item: &&Item| item.locks && item.state < Standing::Waived;
        items.iter().filter(open).map(|item| item.id.clone()).collect()
    };
    assert_eq!(locks(&log), ["approval:owner", "ready:dns"]);
    log.add(None, Event::Approved { by: Actor::Person("eve".into()), role: "owner".into() });
    log.add(None, ack("ready:dns", "ada"));
    let items = at(&fleet, &log, night);
    let said = find(&items, "ready:dns").acknowledged.clone().unwrap();
    assert_eq!((said.by.as_str(), said.has_duty), ("ada", false), "shown as what it is");
    assert_eq!(locks(&log), ["ready:dns"], "the duty is dora's");
    let (by, because) = (Actor::Person("ada".into()), "dora is in the air".to_owned());
    log.add(None, Event::Waived { rule: "ready:dns".into(), by, because });
    assert_eq!(state(&fleet, &log, night, "ready:dns"), Standing::Waived);
    assert_eq!(
        find(&at(&fleet, &log, night), "ready:dns").waived.as_ref().unwrap().note,
        "dora is in the air"
    );
}

#[test]
fn anybody_may_do_what_locks_nothing_and_it_is_said_whose_it_was() {
    let fleet = fleet();
    let mut log = Log::new(&fleet);
    log.add(None, ack("freeze", "zoe"));
    let items = at(&fleet, &log, T);
    let freeze = find(&items, "freeze");
    assert_eq!(freeze.state, Standing::Done);
    assert!(!freeze.acknowledged.as_ref().unwrap().has_duty, "the duty is ada's");
    assert!(text(&fleet, &items).contains("acknowledged by zoe, whose duty it is not"));
}

#[test]
fn an_acknowledgement_says_what_it_means() {
    let mut fleet = fleet();
    fleet.schedule.timeline.own.push(OwnItem {
        id: "backup".into(),
        at_s: -HOUR,
        what: "restored on trial".into(),
        duty: "lead".into(),
        needed: true,
    });
    let mut log = Log::new(&fleet);
    let by = |name: &str| Actor::Person(name.into());
    let of = |log: &Log, id: &str, who: &str| {
        acknowledging((&fleet, &log.0), (T, &Facts::default()), id, &by(who))
    };
    assert!(of(&log, "nothing", "ada").unwrap_err().contains("no item"));
    let Ack::Take { told, .. } = of(&log, "sync", "ada").unwrap() else { panic!() };
    let wanted = "it is a gate, and it does not count until `sync` holds: 0 of 3 units";
    assert!(told.contains(wanted), "{told}");
    log.synced(&["a", "b", "c"]);
    let Ack::Take { told, .. } = of(&log, "sync", "ada").unwrap() else { panic!() };
    assert!(told.contains("it is a gate, and its state is what was done: 3 of 3"), "{told}");
    let Ack::Take { told, held } = of(&log, "backup", "zoe").unwrap() else { panic!() };
    assert_eq!(held, None, "no gate stands before it");
    assert!(told.contains("the cutover stays locked"), "{told}");
    log.add(None, ack("backup", "ada"));
    assert!(matches!(of(&log, "backup", "zoe").unwrap(), Ack::Note(_)), "ada's word stands");
}

#[test]
fn items_are_added_and_left_out_by_the_plan() {
    let mut fleet = fleet();
    let own = |id: &str| OwnItem {
        id: id.into(),
        at_s: -2 * DAY,
        what: "the bank is told".into(),
        duty: "finance".into(),
        needed: false,
    };
    fleet.schedule.timeline.own.push(own("bank"));
    fleet.schedule.timeline.off = vec!["notice".into()];
    let items = at(&fleet, &Log::new(&fleet), MONDAY);
    assert_eq!(find(&items, "bank").due_ms, Some(T - 2 * DAY_MS));
    assert!(!items.iter().any(|item| item.id == "notice"));
    assert!(duties_without_person(&fleet).contains(&"finance".to_owned()));
    assert_eq!(check(&fleet), Vec::new());
    fleet.schedule.timeline.off = vec!["nothing".into(), "approval:owner".into()];
    fleet.schedule.timeline.own.push(own("sync"));
    let found: Vec<String> = check(&fleet).into_iter().map(|finding| finding.text).collect();
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn arrivals_are_what_the_triggers_say_and_unknown_without_them() {
    let fleet = fleet();
    let mut log = Log::new(&fleet);
    log.synced(&["a", "b", "c"]);
    for unit in ["a", "b", "c"] {
        log.attempt(unit, Phase::Cutover, true);
    }
    let now_ms = T + 2 * HOUR_MS;
    assert_eq!(state(&fleet, &log, now_ms, "arrivals:1"), Standing::Unknown);
    let says = |standing| Judged {
        trigger: "arrivals_slow".into(),
        standing,
        because: "81 % arrive".into(),
    };
    let mut facts = Facts::default();
    for unit in ["a", "b", "c"] {
        facts.judged.insert(UnitName::from(unit), vec![says(Says::Quiet)]);
    }
    let of = |facts: &Facts| {
        let items = timeline(&fleet, &log.0, now_ms, facts);
        find(&items, "arrivals:1").state
    };
    assert_eq!(of(&facts), Standing::Done);
    facts.judged.insert(UnitName::from("b"), vec![says(Says::Fired)]);
    assert_eq!(of(&facts), Standing::Overdue);
}

#[test]
fn waves_are_spread_over_the_windows_by_their_forecasts() {
    let mut fleet = fleet();
    let wave = |name: &str, unit: &str| Wave {
        name: name.into(),
        units: vec![UnitName::from(unit)],
        canaries: 0,
    };
    fleet.waves = vec![wave("1", "a"), wave("2", "b"), wave("3", "c")];
    let log = Log::new(&fleet);
    let begins = |fleet: &Fleet| -> Vec<String> {
        let items = at(fleet, &log, MONDAY);
        (1..=3).map(|n| find(&items, &format!("wave:{n}")).when.clone()).collect()
    };
    // Ten minutes each, since nobody rehearsed, and an hour to watch.
    assert_eq!(begins(&fleet), ["T", "T+1 h 10 min", "T+2 h 20 min"]);
    // T is a Monday at midnight; the window has room for two of them.
    let night = Window { days: vec![], from_minute: 0, to_minute: 90, zone: "UTC".into() };
    fleet.schedule.windows = vec![night];
    assert_eq!(begins(&fleet), ["T", "T+1 h 10 min", "T+24 h"]);
}
