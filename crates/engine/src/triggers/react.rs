//! What a trigger that fired starts: a pure function of the trigger and the unit's position.

use segue_model::What;
use segue_model::gate::{Scope, Trigger, TriggerAction};

/// A traffic split under way: shares of the target, and which one holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The target's shares in order, percent.
    pub steps: Vec<u8>,
    /// Which of them holds now; none before the first.
    pub at: Option<usize>,
}

/// Where a unit stands, as far as a reaction depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// The target was promoted and nobody confirmed yet.
    pub watching: bool,
    /// The split under way; none without one.
    pub split: Option<Split>,
    /// Whether the unit has mail that can go back by itself.
    pub mail: bool,
    /// Why going back now would lose acknowledged writes, if it would.
    pub loss: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing besides the alert.
    Tell,
    /// Give the target this share of the traffic.
    StepBack {
        /// Percent.
        to_percent: u8,
    },
    /// Fail back so far.
    FailBack(Scope),
    /// Nothing moves; a person is asked.
    Ask {
        /// Why nothing moves by itself.
        because: String,
    },
}

/// Returns what `trigger` starts, once it says that `action` is due.
///
/// Two rules stand above every plan: different data never starts a way back by itself,
/// because nobody knows which side is right; and nothing goes back that would lose what
/// users were told is kept.
pub fn react(trigger: &Trigger, action: TriggerAction, position: &Position) -> Reaction {
    let ask = |because: String| Reaction::Ask { because };
    let different =
        matches!(trigger.bound.what, What::DatabaseDifferences | What::FilesDifferences);
    match action {
        TriggerAction::Alert => Reaction::Tell,
        TriggerAction::HoldAndAsk => ask("the plan wants a person to choose".into()),
        _ if different => {
            ask("the sides differ, and no program can tell which of them is right".into())
        }
        // Before promotion nothing has to be failed back: the traffic is all that moved.
        TriggerAction::FailBack if !position.watching => match &position.split {
            Some(split) if split.at.is_some() => Reaction::StepBack { to_percent: 0 },
            _ => Reaction::Tell,
        },
        TriggerAction::StepBack => match &position.split {
            Some(Split { steps, at: Some(at) }) => {
                let former = at.checked_sub(1).and_then(|at| steps.get(at));
                Reaction::StepBack { to_percent: former.copied().unwrap_or(0) }
            }
            // All traffic is at the source.
            Some(Split { at: None, .. }) => Reaction::Tell,
            None => ask("the traffic is not split, so there is no step to go back".into()),
        },
        TriggerAction::FailBack => match (trigger.scope, &position.loss) {
            (Scope::Mail, _) if !position.mail => {
                ask("the unit has no mail that could go back by itself".into())
            }
            (_, Some(loss)) => ask(loss.clone()),
            (scope, None) => Reaction::FailBack(scope),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use segue_model::Side;
    use segue_model::gate::{Bound, NoData};

    fn trigger(action: TriggerAction, scope: Scope, what: What) -> Trigger {
        Trigger {
            name: "t".into(),
            bound: Bound { what, from: None, max: Some(1.0), min: None, fresh_for_ms: 1000 },
            against: None,
            for_ms: 1000,
            after_ms: 0,
            min_samples: 1,
            min_count: 1,
            no_data: NoData::Ignore,
            action,
            scope,
        }
    }

    fn reaction(action: TriggerAction, scope: Scope, position: &Position) -> Reaction {
        let what = What::ResponseP95Ms(Side::Target);
        react(&trigger(action, scope, what), action, position)
    }

    fn split(at: Option<usize>) -> Position {
        let split = Some(Split { steps: vec![5, 25, 50, 75, 100], at });
        Position { split, ..Position::default() }
    }

    fn watching() -> Position {
        Position { watching: true, ..Position::default() }
    }

    #[test]
    fn a_split_goes_back_step_by_step_and_at_last_to_nothing() {
        for (at, wanted) in [(4, 75), (2, 25), (1, 5), (0, 0)] {
            let back = reaction(TriggerAction::StepBack, Scope::Unit, &split(Some(at)));
            assert_eq!(back, Reaction::StepBack { to_percent: wanted }, "from step {at}");
        }
        assert_eq!(reaction(TriggerAction::StepBack, Scope::Unit, &split(None)), Reaction::Tell);
        let none = reaction(TriggerAction::StepBack, Scope::Unit, &watching());
        assert!(matches!(none, Reaction::Ask { .. }), "{none:?}");
    }

    #[test]
    fn before_promotion_a_failback_takes_all_traffic_back_and_nothing_else() {
        let back = reaction(TriggerAction::FailBack, Scope::Unit, &split(Some(3)));
        assert_eq!(back, Reaction::StepBack { to_percent: 0 });
        let back = reaction(TriggerAction::FailBack, Scope::Unit, &Position::default());
        assert_eq!(back, Reaction::Tell, "nothing moved yet");
    }

    #[test]
    fn a_failback_reaches_as_far_as_its_scope() {
        for scope in [Scope::Unit, Scope::Wave] {
            let back = reaction(TriggerAction::FailBack, scope, &watching());
            assert_eq!(back, Reaction::FailBack(scope));
        }
        let without = reaction(TriggerAction::FailBack, Scope::Mail, &watching());
        assert!(matches!(without, Reaction::Ask { .. }), "{without:?}");
        let with = Position { mail: true, ..watching() };
        let back = reaction(TriggerAction::FailBack, Scope::Mail, &with);
        assert_eq!(back, Reaction::FailBack(Scope::Mail));
    }

    #[test]
    fn nothing_goes_back_that_would_lose_writes() {
        let position = Position { loss: Some("7 rows".into()), ..watching() };
        for scope in [Scope::Unit, Scope::Wave] {
            let back = reaction(TriggerAction::FailBack, scope, &position);
            assert_eq!(back, Reaction::Ask { because: "7 rows".into() });
        }
    }

    #[test]
    fn different_data_asks_whatever_the_plan_says() {
        for what in [What::DatabaseDifferences, What::FilesDifferences] {
            for action in [TriggerAction::FailBack, TriggerAction::StepBack] {
                let back = react(&trigger(action, Scope::Unit, what), action, &watching());
                assert!(matches!(back, Reaction::Ask { .. }), "{what}: {back:?}");
            }
        }
    }

    #[test]
    fn an_alert_moves_nothing_and_a_person_is_asked_where_the_plan_says_so() {
        for position in [Position::default(), watching(), split(Some(1))] {
            let told = reaction(TriggerAction::Alert, Scope::Wave, &position);
            assert_eq!(told, Reaction::Tell);
            let asked = reaction(TriggerAction::HoldAndAsk, Scope::Unit, &position);
            assert!(matches!(asked, Reaction::Ask { .. }), "{asked:?}");
        }
    }
}
