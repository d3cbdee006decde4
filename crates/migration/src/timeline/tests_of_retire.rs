//! Claims about the gate before the source's end, and about the word of the person behind it.

use super::*;
use crate::fleet::tests::{HOUR as HOUR_MS, Log, MONDAY, fleet as units};
use segue_model::event::{Event, Phase};

const DAY_MS: u64 = 24 * HOUR_MS;
/// The beginning: three weeks after the journal's first record.
const T: u64 = MONDAY + 21 * DAY_MS;
const NOW: u64 = T + 30 * DAY_MS;

/// Units `a` and `b`, whose plans ask for 7 and for 9 days.
fn fleet() -> Fleet {
    let mut fleet = units(&["a", "b"], 1);
    fleet.schedule.begins_at_ms = Some(T);
    let plan = Arc::make_mut(&mut fleet.units[1]);
    Arc::make_mut(&mut plan.policy).straggler_days = 9;
    fleet
}

fn by() -> Actor {
    Actor::Person("ada".into())
}

fn settle(log: &mut Log, units: &[&str]) {
    log.synced(units);
    for unit in units {
        log.attempt(unit, Phase::Cutover, true);
        log.add(Some(unit), Event::Confirmed { by: by() });
        log.attempt(unit, Phase::Settle, true);
    }
}

/// A front that has counted for 20 days.
fn late(latest: &[(&str, u64)]) -> LateAt {
    LateAt {
        front: "source".into(),
        for_ms: Ok(20 * DAY_MS),
        clients: 41,
        open: 0,
        dropped_ms: None,
        latest: latest.iter().map(|(ip, ago)| (ip.parse().unwrap(), *ago)).collect(),
    }
}

fn gone() -> LateAt {
    late(&[("192.0.2.7", 9 * DAY_MS)])
}

fn facts(a: LateAt, b: LateAt) -> Facts {
    let mut facts = Facts::default();
    facts.late.insert(UnitName::from("a"), vec![a]);
    facts.late.insert(UnitName::from("b"), vec![b]);
    facts
}

type Stands = (Standing, String);

/// Returns how gate and step stand.
fn look(fleet: &Fleet, log: &Log, now_ms: u64, facts: &Facts) -> (Stands, Stands) {
    let items = timeline(fleet, &log.0, now_ms, facts);
    let of = |id: &str| {
        let item = items.iter().find(|item| item.id == id).unwrap();
        (item.state, item.because.clone())
    };
    (of("no-stragglers"), of("retire"))
}

/// Acknowledges `retire` as the controller does; returns what the person is told.
fn say(fleet: &Fleet, log: &mut Log, facts: &Facts, who: &str) -> String {
    let by = Actor::Person(who.into());
    let (told, held) = match acknowledging((fleet, &log.0), (NOW, facts), "retire", &by).unwrap() {
        Ack::Take { told, held } => (told, held),
        Ack::Note(told) => return told,
    };
    let note = "the zones are clean".to_owned();
    log.add(None, Event::Acknowledged { item: "retire".into(), by, note, held });
    told
}

#[test]
fn the_source_may_go_once_nobody_came_for_the_plans_days() {
    let fleet = fleet();
    let mut log = Log::new(&fleet);
    let ((gate, because), _) = look(&fleet, &log, NOW, &facts(gone(), gone()));
    assert_eq!(gate, Standing::Overdue, "{because}");
    assert!(because.starts_with("0 of 2 units are settled"), "{because}");
    settle(&mut log, &["a", "b"]);
    let ((gate, because), _) = look(&fleet, &log, NOW, &facts(gone(), gone()));
    assert_eq!(gate, Standing::Done, "{because}");
    let wanted = "the last came 9 d ago, 192.0.2.7; wanted: none for 7 d";
    assert!(because.contains(wanted), "{because}");

    // Each plan's own days, to the hour, with who came.
    let came = late(&[("192.0.2.8", 9 * DAY_MS - HOUR_MS), ("2001:db8::9", 10 * DAY_MS)]);
    let ((gate, because), _) = look(&fleet, &log, NOW, &facts(gone(), came.clone()));
    let text = "unit `b`: at least 1 of the 41 clients that front `source` remembers came within \
                9 d, the last 192.0.2.8 8 d ago; wanted: none";
    assert_eq!((gate, because.as_str()), (Standing::Overdue, text));
    let ((gate, _), _) = look(&fleet, &log, NOW, &facts(came.clone(), gone()));
    assert_eq!(gate, Standing::Done, "7 d are enough for the other");

    // A person may let it be.
    say(&fleet, &mut log, &facts(gone(), came.clone()), "ada");
    let because = "the last one is our own monitor".to_owned();
    log.add(None, Event::Waived { rule: "no-stragglers".into(), by: by(), because });
    let ((gate, because), (retire, _)) = look(&fleet, &log, NOW, &facts(gone(), came));
    assert_eq!((gate, retire), (Standing::Waived, Standing::Done));
    assert_eq!(because, text, "the numbers stay");
}

#[test]
fn what_no_front_can_say_never_passes() {
    let fleet = fleet();
    let mut log = Log::new(&fleet);
    settle(&mut log, &["a", "b"]);
    let none = || late(&[]);
    let uncounted = || Err("it takes no connections".to_owned());
    for (b, wanted, says) in [
        (
            LateAt { for_ms: uncounted(), ..none() },
            Standing::Unknown,
            "unit `b`: front `source` does not say who came: it takes no connections",
        ),
        (
            LateAt { for_ms: Ok(47 * HOUR_MS), ..none() },
            Standing::Unknown,
            "unit `b`: front `source` has counted for 47 h only, wanted 9 d",
        ),
        (
            LateAt { open: 2, for_ms: uncounted(), ..gone() },
            Standing::Overdue,
            "unit `b`: 2 connections are open at front `source`",
        ),
        (
            LateAt { dropped_ms: Some(3 * DAY_MS), ..none() },
            Standing::Overdue,
            "unit `b`: more clients came to front `source` than it remembers, one 3 d ago; wanted: \
             none for 9 d",
        ),
    ] {
        let ((gate, because), _) = look(&fleet, &log, NOW, &facts(gone(), b));
        assert_eq!((gate, because.as_str()), (wanted, says));
    }
    let old = LateAt { dropped_ms: Some(9 * DAY_MS), ..none() };
    let ((gate, because), _) = look(&fleet, &log, NOW, &facts(gone(), old));
    assert_eq!(gate, Standing::Done, "whom it forgot came before: {because}");
    let mut unasked = facts(gone(), gone());
    unasked.late.remove(&UnitName::from("b"));
    let ((gate, because), _) = look(&fleet, &log, NOW, &unasked);
    let says = "unit `b`: no front there was asked";
    assert_eq!((gate, because.as_str()), (Standing::Unknown, says), "no controller runs");

    // Nobody was late before the units had left: the days are counted from then on.
    let eight = MONDAY + 8 * DAY_MS;
    let ((gate, because), _) = look(&fleet, &log, eight, &facts(none(), none()));
    assert_eq!(gate, Standing::Pending);
    assert!(because.ends_with("has counted for 7 d only, wanted 9 d"), "{because}");
    let nine = MONDAY + 9 * DAY_MS + HOUR_MS;
    let ((gate, because), _) = look(&fleet, &log, nine, &facts(none(), none()));
    assert_eq!(gate, Standing::Done, "{because}");
}

#[test]
fn a_unit_that_was_taken_out_keeps_its_source() {
    let fleet = fleet();
    let mut log = Log::new(&fleet);
    let because = "it moves next year".to_owned();
    log.add(Some("b"), Event::UnitExcluded { by: by(), because });
    settle(&mut log, &["a"]);
    let ((gate, because), _) = look(&fleet, &log, NOW, &facts(gone(), gone()));
    let says = "unit `b`: taken out, and still at the source";
    assert_eq!((gate, because.as_str()), (Standing::Overdue, says));
    let told = say(&fleet, &mut log, &facts(gone(), gone()), "ada");
    assert!(told.contains(says), "{told}");
    let (_, (retire, _)) = look(&fleet, &log, NOW, &facts(gone(), gone()));
    assert_eq!(retire, Standing::Overdue);
}

#[test]
fn where_nothing_has_visitors_nobody_says_that_none_came() {
    let mut fleet = fleet();
    for plan in &mut fleet.units {
        let unit = &mut Arc::make_mut(plan).unit;
        (unit.sites, unit.fronts) = (Vec::new(), Vec::new());
    }
    let mut log = Log::new(&fleet);
    settle(&mut log, &["a", "b"]);
    let ((gate, because), _) = look(&fleet, &log, NOW, &Facts::default());
    assert_eq!(gate, Standing::Unknown);
    assert_eq!(because, "no unit has a site or a front: nobody counts who comes");
}

#[test]
fn a_word_that_was_given_while_the_gate_held_stays_when_the_fronts_are_gone() {
    let mut fleet = fleet();
    let duty = |role: &str| segue_model::fleet::Duty { role: role.into(), person: "ada".into() };
    fleet.people.duties = vec![duty("lead")];
    let mut log = Log::new(&fleet);
    settle(&mut log, &["a", "b"]);
    let (quiet, nothing) = (facts(gone(), gone()), Facts::default());
    let came = facts(gone(), late(&[("192.0.2.8", HOUR_MS)]));

    // Too early, it does not count, and the person is told so.
    let told = say(&fleet, &mut log, &came, "ada");
    let wanted = "`retire` is acknowledged; it does not count until `no-stragglers` holds: unit `b`: \
                  at least 1 of";
    assert!(told.starts_with(wanted), "{told}");
    let (_, (retire, because)) = look(&fleet, &log, NOW, &came);
    assert_eq!(retire, Standing::Overdue);
    assert!(because.contains("gate `no-stragglers` does not hold: unit `b`"), "{because}");
    let (_, (retire, because)) = look(&fleet, &log, NOW, &quiet);
    assert_eq!(retire, Standing::Done);
    assert!(because.contains("did not hold then; segue ack retire once more"), "{because}");
    let (_, (retire, _)) = look(&fleet, &log, NOW, &nothing);
    assert_eq!(retire, Standing::Overdue, "nobody wrote that it held");

    // In time, it stands by the journal, whoever said it.
    let told = say(&fleet, &mut log, &quiet, "zoe");
    assert_eq!(told, "`retire` is acknowledged in place of ada");
    let ((gate, numbers), (retire, because)) = look(&fleet, &log, NOW, &nothing);
    assert_eq!((gate, retire), (Standing::Done, Standing::Done), "{numbers}; {because}");
    let held = "unit `a`: front `source`: the last came 9 d ago, 192.0.2.7; wanted: none for 7 d";
    assert!(
        numbers.starts_with(&format!("held when `retire` was acknowledged: {held}")),
        "{numbers}"
    );
    let wanted = format!("the zones are clean; gate `no-stragglers` held then: {held}");
    assert!(because.starts_with(&wanted), "{because}");
    // A later word takes nothing of that back, and tells it as it was.
    assert_eq!(say(&fleet, &mut log, &nothing, "ada"), "`retire` is acknowledged");
    assert_eq!(look(&fleet, &log, NOW, &nothing), ((gate, numbers), (retire, because)));
    // The gate itself tells who comes, as long as anybody can say it.
    let ((gate, _), (retire, _)) = look(&fleet, &log, NOW, &came);
    assert_eq!((gate, retire), (Standing::Overdue, Standing::Done));
}
