//! How an item stands at a moment, and the plan's own items.

use super::before::{step, who};
use super::{Draft, Fact, Item, Kind, Said, Standing, View};
use segue_model::state::Waived;

/// Fills in times, persons and state.
pub(super) fn item(view: &View<'_>, draft: Draft) -> Item {
    let begins_ms = view.fleet.schedule.begins_at_ms;
    let from_beginning = |seconds: i64| {
        let begins = i64::try_from(begins_ms?).ok()?;
        u64::try_from(begins.checked_add(seconds.checked_mul(1_000)?)?).ok()
    };
    let due_ms = from_beginning(draft.due_s);
    let opens_ms = from_beginning(draft.due_s - draft.lead_s);
    let people = &view.fleet.people;
    let person = draft.person.or_else(|| people.holder(&draft.duty).map(str::to_owned));
    let acknowledged = view.state.acknowledged.get(&draft.id).map(|said| Said {
        by: who(&said.by),
        has_duty: people.has(&draft.duty, &said.by),
        at_ms: said.at.at_ms,
        note: said.note.clone(),
    });
    let rule = draft.rule.as_deref().unwrap_or(&draft.id);
    let waived = waiver(view, rule).map(|waived| Said {
        by: who(&waived.by),
        has_duty: people.has(&draft.duty, &waived.by),
        at_ms: waived.at.at_ms,
        note: waived.because.clone(),
    });
    // Where a person's step locks, only the word of whoever has the duty counts.
    let fact = match (&draft.fact, &acknowledged) {
        (Fact::Done(..), Some(said))
            if draft.kind == Kind::PersonsStep && draft.locks && !said.has_duty =>
        {
            Fact::Not(format!("{} acknowledged it and does not have the duty", said.by))
        }
        _ => draft.fact,
    };
    let over = due_ms.is_some_and(|due_ms| due_ms <= view.now_ms);
    let open = opens_ms.is_some_and(|opens_ms| opens_ms <= view.now_ms);
    let (state, since_ms, because) = match fact {
        Fact::Done(since_ms, because) => (Standing::Done, since_ms, because),
        Fact::Not(because) | Fact::Unknown(because) if waived.is_some() => {
            (Standing::Waived, waived.as_ref().map(|said| said.at_ms), because)
        }
        Fact::Not(because) if over => (Standing::Overdue, due_ms, because),
        Fact::Unknown(because) if over => (Standing::Unknown, due_ms, because),
        Fact::Not(because) | Fact::Unknown(because) if open => (Standing::Due, opens_ms, because),
        Fact::Not(because) | Fact::Unknown(because) => (Standing::Pending, None, because),
    };
    Item {
        when: when(draft.due_s),
        id: draft.id,
        due_s: draft.due_s,
        due_ms,
        opens_ms,
        about: draft.about,
        what: draft.what,
        kind: draft.kind,
        duty: draft.duty,
        person,
        state,
        since_ms,
        because,
        acknowledged,
        waived,
        locks: draft.locks,
        how: draft.how,
    }
}

/// Returns the last waiver of a rule for the whole run.
pub(super) fn waiver<'a>(view: &View<'a>, rule: &str) -> Option<&'a Waived> {
    view.state.waived.iter().rev().find(|waived| waived.rule == rule && waived.unit.is_none())
}

/// Returns the items that the plan adds.
pub(super) fn own(view: &View<'_>) -> Vec<Draft> {
    let own = view.fleet.schedule.timeline.own.iter();
    own.map(|item| {
        let draft = step(view, &item.id, item.at_s, &item.what).duty(&item.duty);
        if item.needed { draft.locks(item.id.clone()) } else { draft }
    })
    .collect()
}

/// Returns a distance from the beginning in words: `T-14 d`, `T+1 h 5 min`, `T`.
fn when(seconds: i64) -> String {
    let sign = match seconds {
        0 => return "T".to_owned(),
        ..0 => '-',
        _ => '+',
    };
    let left = seconds.unsigned_abs();
    // Days are counted from two on: people say 24 hours.
    let days = if left >= 2 * 86_400 { left / 86_400 } else { 0 };
    let left = left - days * 86_400;
    let parts = [(days, "d"), (left / 3_600, "h"), (left / 60 % 60, "min"), (left % 60, "s")];
    let parts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    format!("T{sign}{}", parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::when;

    #[test]
    fn a_distance_is_told_as_people_say_it() {
        assert_eq!(when(0), "T");
        assert_eq!(when(-14 * 86_400), "T-14 d");
        assert_eq!(when(-24 * 3_600), "T-24 h");
        assert_eq!(when(900), "T+15 min");
        assert_eq!(when(3 * 86_400 + 3_660), "T+3 d 1 h 1 min");
    }
}
