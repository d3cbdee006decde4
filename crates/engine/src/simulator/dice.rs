//! Randomness from one seed: ordinary choices, and disturbances that can be left out one by
//! one.

use std::collections::BTreeSet;

/// A small generator; the same seed gives the same numbers everywhere.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// Returns 0 to `sides` - 1.
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides.max(1)
    }

    /// Returns a number within both bounds.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.roll(most - least + 1)
    }

    /// True in `per_mille` of a thousand cases.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.roll(1000) < per_mille
    }
}

/// What can disturb a run: faults, and people and triggers who act when they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disturbance {
    /// The controller dies.
    Crash,
    /// A controller that is overtaken goes on sending.
    Zombie,
    /// The controller stands still for a while and then goes on.
    Stall,
    /// The newest records of the journal are gone after a crash.
    TailLost,
    /// A call is refused and changes nothing.
    Refused,
    /// A call is carried out, and its answer is lost.
    AnswerLost,
    /// A call is lost.
    CallLost,
    /// A part of a call lands long after its time-out.
    Late,
    /// A call takes far longer than usual.
    Slow,
    /// A message to a front arrives twice.
    Twice,
    /// A resource cannot be asked what it did.
    Unknown,
    /// A former attempt cannot be ended.
    NotQuenched,
    /// No resource can be reached for a while.
    Outage,
    /// A gate does not pass.
    Gate,
    /// Leases are not renewed for a while.
    LeaseLost,
    /// Somebody with all rights writes behind the fence.
    Intruder,
    /// A row of the copy is damaged.
    Damage,
    /// A stream stands still for a while.
    StreamStops,
    /// A stream falls behind in the middle of an attempt.
    StreamLags,
    /// The wall clock jumps.
    WallJump,
    /// A person turns the open attempt round.
    Abort,
    /// A person confirms.
    Confirm,
    /// A person asks for the way back.
    Rollback,
    /// A trigger fires.
    Trigger,
}

const KINDS: usize = Disturbance::Trigger as usize + 1;

/// Highest rates per mille, in the order of [`Disturbance`].
const MOST: [u64; KINDS] = [
    40, 600, 30, 250, 60, 60, 60, 60, 60, 150, 250, 250, 20, 60, 60, 100, 250, 60, 60, 60, 30, 250,
    200, 250,
];

/// Decides, one question after another, what is disturbed.
///
/// Questions are numbered. A run can be repeated with some answers only, which is how a
/// failing run is made small.
#[derive(Debug, Clone)]
pub(super) struct Disturbances {
    seed: u64,
    dice: Dice,
    rates: [u64; KINDS],
    only: Option<BTreeSet<u32>>,
    asked: u32,
    quiet: bool,
    /// What happened, by number.
    pub(super) happened: Vec<(u32, Disturbance)>,
}

impl Disturbances {
    /// Each seed switches some kinds off, or rare combinations would drown.
    pub(super) fn new(seed: u64, only: Option<BTreeSet<u32>>) -> Self {
        let mut dice = Dice::new(seed ^ 0x5e67_7565);
        let mut rates = [0; KINDS];
        for (rate, most) in rates.iter_mut().zip(MOST) {
            *rate = if dice.chance(500) { 0 } else { dice.roll(most) + 1 };
        }
        Self { seed, dice, rates, only, asked: 0, quiet: false, happened: Vec::new() }
    }

    pub(super) fn strikes(&mut self, kind: Disturbance) -> bool {
        self.asked += 1;
        let rate = self.rates[kind as usize];
        let rolled = self.dice.chance(rate);
        let strikes = match &self.only {
            _ if self.quiet || rate == 0 => false,
            Some(only) => only.contains(&self.asked),
            None => rolled,
        };
        if strikes {
            self.happened.push((self.asked, kind));
        }
        strikes
    }

    /// Returns how much, 0 to `sides` - 1, as the newest question decides alone: what is left
    /// out does not change what remains.
    pub(super) fn amount(&self, sides: u64) -> u64 {
        Dice::new(self.seed.wrapping_add(u64::from(self.asked) << 32)).roll(sides)
    }

    /// From now on nothing is disturbed.
    pub(super) fn end(&mut self) {
        self.quiet = true;
    }

    pub(super) fn ended(&self) -> bool {
        self.quiet
    }
}
