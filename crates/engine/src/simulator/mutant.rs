//! Mistakes that the protocol could be built with. Each must be found.

/// The protocol with one rule left out or turned round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// Promote follows the drain, under a hold and a fence that may still run out.
    SealSkipped,
    /// What a former attempt sent is not ended before the world is asked.
    QuenchSkipped,
    /// The position is read before the fence stands, and not again.
    PositionBeforeFence,
    /// The seal does not compare the position again.
    PositionNotReadAgain,
    /// A step's outcome is journalled before it is run.
    OutcomeBeforeEffect,
    /// A step is run before its intent is journalled.
    IntentAfterEffect,
    /// One front that holds counts for all.
    HoldNotAcknowledgedByAll,
    /// Resources take messages of any epoch.
    EpochNotChecked,
    /// Fronts take messages in any order.
    GenerationNotChecked,
    /// The point of no return is the route: an attempt turns round after promote's intent.
    WithdrawalAfterPromote,
    /// A sealed hold still ends with its lease.
    HoldOpensAfterSeal,
    /// A sealed fence still ends with its lease.
    FenceOpensAfterSeal,
    /// The source of a failback is opened before everything came back.
    FailbackWithoutDrain,
    /// What cannot be told counts as happened.
    UnknownAsApplied,
    /// What cannot be told counts as not happened.
    UnknownAsNotApplied,
    /// The commit timer starts a failback although a person confirmed.
    TimerAfterConfirm,
    /// The commit timer starts a failback that ran out while no controller watched.
    FailbackUnwatched,
    /// The units of a joint are promoted one after another, the second not yet sealed.
    JointOneByOne,
    /// The fronts send clients to a side that is not promoted yet.
    RouteBeforePromote,
    /// The seal does not ask whether the fence stood all the time.
    LeaseNotCheckedAtSeal,
    /// Time used in the pause is not compared with the budget.
    BudgetIgnored,
    /// Differences between the sides are not looked for.
    VerifySkipped,
    /// Steps are undone in the order in which they were done.
    UndoForward,
    /// The answer to a former call is taken for the answer to the present one.
    AnswerMistaken,
    /// A journal whose newest records are gone is gone on with.
    TailLostIgnored,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: [Self; 25] = [
        Self::SealSkipped,
        Self::QuenchSkipped,
        Self::PositionBeforeFence,
        Self::PositionNotReadAgain,
        Self::OutcomeBeforeEffect,
        Self::IntentAfterEffect,
        Self::HoldNotAcknowledgedByAll,
        Self::EpochNotChecked,
        Self::GenerationNotChecked,
        Self::WithdrawalAfterPromote,
        Self::HoldOpensAfterSeal,
        Self::FenceOpensAfterSeal,
        Self::FailbackWithoutDrain,
        Self::UnknownAsApplied,
        Self::UnknownAsNotApplied,
        Self::TimerAfterConfirm,
        Self::FailbackUnwatched,
        Self::JointOneByOne,
        Self::RouteBeforePromote,
        Self::LeaseNotCheckedAtSeal,
        Self::BudgetIgnored,
        Self::VerifySkipped,
        Self::UndoForward,
        Self::AnswerMistaken,
        Self::TailLostIgnored,
    ];

    /// Returns what is wrong with it, in a few words.
    pub fn what(self) -> &'static str {
        match self {
            Self::SealSkipped => "seal skipped",
            Self::QuenchSkipped => "quench skipped",
            Self::PositionBeforeFence => "position read before the fence",
            Self::PositionNotReadAgain => "position not read again at the seal",
            Self::OutcomeBeforeEffect => "outcome journalled before the effect",
            Self::IntentAfterEffect => "intent journalled after the effect",
            Self::HoldNotAcknowledgedByAll => "hold not acknowledged by all fronts",
            Self::EpochNotChecked => "epoch not checked at the resource",
            Self::GenerationNotChecked => "order of messages not checked at the fronts",
            Self::WithdrawalAfterPromote => "withdrawal after promote's intent",
            Self::HoldOpensAfterSeal => "hold still leased after the seal",
            Self::FenceOpensAfterSeal => "fence still leased after the seal",
            Self::FailbackWithoutDrain => "failback opens the source before everything came back",
            Self::UnknownAsApplied => "unknown taken as applied",
            Self::UnknownAsNotApplied => "unknown taken as not applied",
            Self::TimerAfterConfirm => "commit timer fires although confirmed",
            Self::FailbackUnwatched => "automatic failback although nobody watched",
            Self::JointOneByOne => "joint promoted one by one, the other unit not sealed",
            Self::RouteBeforePromote => "route sent before promote",
            Self::LeaseNotCheckedAtSeal => "lease not checked at the seal",
            Self::BudgetIgnored => "budget ignored",
            Self::VerifySkipped => "differences not looked for",
            Self::UndoForward => "undone in forward order",
            Self::AnswerMistaken => "a former call's answer taken for the present one",
            Self::TailLostIgnored => "a journal without its newest records gone on with",
        }
    }
}
