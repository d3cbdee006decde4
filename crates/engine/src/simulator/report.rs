//! What is told of a run.

use super::Disturbance;

/// What happened in a run, or in many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Cutovers that were completed.
    pub moved: u64,
    /// Cutovers that were withdrawn.
    pub withdrawn: u64,
    /// Failbacks that were completed.
    pub went_back: u64,
    /// Failbacks that were withdrawn.
    pub stayed: u64,
    /// Controllers that died or were overtaken.
    pub crashes: u64,
    /// Attempts that waited for a person.
    pub stuck: u64,
    /// Journals that were refused because records were missing.
    pub refused: u64,
    /// People who confirmed in time.
    pub confirmed: u64,
    /// Failbacks that the commit timer started.
    pub timer: u64,
    /// Commit timers that nobody watched, so that a person was asked.
    pub overdue: u64,
    /// Runs whose operator went back at a random moment.
    pub homeward: u64,
    /// Records in the journals.
    pub records: u64,
}

impl Stats {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.moved += other.moved;
        self.withdrawn += other.withdrawn;
        self.went_back += other.went_back;
        self.stayed += other.stayed;
        self.crashes += other.crashes;
        self.stuck += other.stuck;
        self.refused += other.refused;
        self.confirmed += other.confirmed;
        self.timer += other.timer;
        self.overdue += other.overdue;
        self.homeward += other.homeward;
        self.records += other.records;
    }
}

/// What a run was.
#[derive(Debug)]
pub struct Report {
    /// What happened.
    pub stats: Stats,
    /// What was disturbed, by the number of the question.
    pub disturbed: Vec<(u32, Disturbance)>,
    /// The promise that was broken, if one was.
    pub violation: Option<String>,
    /// Journal and world up to there, if asked for.
    pub trace: Vec<String>,
}
