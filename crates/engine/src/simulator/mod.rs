//! A simulator of the protocol: one seed decides everything.
//!
//! ```text
//! seed -> disturbances, delays, people, triggers
//!            |
//! decide, after_fault, after_observed (the real ones) -> calls -> simulated fronts, stores
//!            ^                                                        |
//!            +---- state, folded by the real rules <---- journal      +-> judged by clients
//! ```
//!
//! The executor is simulated with its order of journal and effects; decisions, the rules of
//! the journal and the shape of the tables are the real ones. Whether a run is right is
//! judged from the simulated world: never two writers, no acknowledged write missing where
//! the next one is taken, no change that the journal does not know, no request that fails
//! where a front should hold it, no pause over budget, and an end once nothing is disturbed.
//! Built with the feature `testing` only.

mod books;
mod calls;
mod controller;
mod course;
mod dice;
mod mutant;
mod operator;
mod report;
mod shrink;
mod tables;
mod wire;
mod world;

pub use dice::Disturbance;
pub use mutant::Mutant;
pub use report::{Report, Stats};
pub use shrink::{Script, fixtures, shrink};
pub use tables::shape;

use crate::decide::{Here, Wish};
use course::Course;
use dice::{Dice, Disturbance as D, Disturbances};
use segue_model::Epoch;
use segue_model::event::Event;
use wire::{Flight, Reply};
use world::World;

/// Moments after the last disturbance within which a run must end.
const PATIENCE: u64 = 1500;

/// Why a turn did not come to its end.
enum Stop {
    /// The controller died.
    Crash,
    /// The journal is refused; nothing acts any more.
    Refused,
    /// A promise was broken.
    Broken(String),
}

/// A run under way.
struct Sim {
    mutant: Option<Mutant>,
    dice: Dice,
    disturbances: Disturbances,
    world: World,
    courses: Vec<Course>,
    flights: Vec<Flight>,
    replies: Vec<Reply>,
    epoch: Epoch,
    generation: u64,
    calls: u64,
    alive: bool,
    /// For fronts and for stores.
    unrenewed_until: [u64; 2],
    outage_until: u64,
    wall_ahead: u64,
    turns: u64,
    ticks: u64,
    quiet_at: u64,
    /// At the end of all disturbance the operator goes back.
    homeward: bool,
    stats: Stats,
    traced: bool,
    trace: Vec<String>,
}

/// Runs a script to its end.
pub fn run(script: &Script, traced: bool) -> Report {
    let mut sim = match Sim::new(script, traced) {
        Ok(sim) => sim,
        Err(why) => {
            let (stats, disturbed, trace) = (Stats::default(), Vec::new(), Vec::new());
            return Report { stats, disturbed, violation: Some(why), trace };
        }
    };
    let violation = sim.go().err();
    sim.stats.records = sim.courses.iter().map(|c| c.books.records.len() as u64).sum();
    let disturbed = sim.disturbances.happened;
    Report { stats: sim.stats, disturbed, violation, trace: sim.trace }
}

impl Sim {
    fn new(script: &Script, traced: bool) -> Result<Self, String> {
        let (seed, mutant) = (script.seed, script.mutant);
        let mut dice = Dice::new(seed);
        let alone = mutant == Some(Mutant::TailLostIgnored);
        let joints = if alone || dice.chance(700) { 1 } else { 2 };
        let (mut courses, mut joint_of) = (Vec::new(), Vec::new());
        for number in 0..joints {
            let units: Vec<usize> =
                (0..dice.between(1, 2) as usize).map(|n| joint_of.len() + n).collect();
            joint_of.extend(units.iter().map(|_| number));
            courses.push(Course::new(number, units, &mut dice)?);
        }
        let quiet_at = dice.between(5, 500);
        let homeward = dice.chance(250);
        Ok(Self {
            mutant,
            dice,
            disturbances: Disturbances::new(seed, script.only.clone()),
            world: World::new(seed, &joint_of, mutant),
            courses,
            flights: Vec::new(),
            replies: Vec::new(),
            epoch: Epoch(1),
            generation: 0,
            calls: 0,
            alive: true,
            unrenewed_until: [0; 2],
            outage_until: 0,
            wall_ahead: 1_000_000,
            turns: 0,
            ticks: 0,
            quiet_at,
            homeward,
            stats: Stats::default(),
            traced,
            trace: Vec::new(),
        })
    }

    fn lacks(&self, rule: Mutant) -> bool {
        self.mutant == Some(rule)
    }

    fn strikes(&mut self, kind: Disturbance) -> bool {
        let reaches_out = matches!(kind, D::Refused | D::NotQuenched | D::Unknown);
        if reaches_out && self.world.now < self.outage_until {
            return true;
        }
        let strikes = self.disturbances.strikes(kind);
        if strikes && self.traced {
            self.note(format!("  ! {kind:?}"));
        }
        strikes
    }

    fn note(&mut self, line: String) {
        self.trace.push(format!("{:>6} {line}", self.world.now));
    }

    /// Lets time pass for everything.
    fn pass(&mut self, ms: u64) -> Result<(), Stop> {
        self.ticks += 1;
        if self.ticks == self.quiet_at {
            self.quieten();
        }
        if self.ticks > self.quiet_at + PATIENCE {
            self.world.breaks("no end, although nothing was disturbed any more");
        }
        self.disturb();
        let until = self.world.now + ms;
        while self.world.now < until {
            let dt = (until - self.world.now).min((ms / 6).max(20));
            let now = self.world.now;
            let renews = self.unrenewed_until.map(|until| self.alive && now >= until);
            self.world.moment(dt, self.epoch, renews);
            self.deliver();
        }
        self.world.broken.take().map_or(Ok(()), |what| Err(Stop::Broken(what)))
    }

    /// Whatever happens by itself while time passes.
    fn disturb(&mut self) {
        let now = self.world.now;
        if self.strikes(D::LeaseLost) {
            let until = now + 200 + self.disturbances.amount(4000);
            // At the fronts, at the stores, or at both.
            match until % 3 {
                0 => self.unrenewed_until = [until, until],
                which => self.unrenewed_until[which as usize - 1] = until,
            }
        }
        if self.strikes(D::Outage) {
            self.outage_until = now + 100 + self.disturbances.amount(40_000);
            self.unrenewed_until = [self.outage_until; 2];
        }
        if self.strikes(D::StreamLags) {
            let unit = self.disturbances.amount(self.world.units.len() as u64) as usize;
            self.world.units[unit].stopped_until = now + self.disturbances.amount(3000);
        }
        if self.strikes(D::Intruder) {
            self.world.intrude();
        }
    }

    /// From here on nothing is disturbed; some operators use the moment to go back.
    fn quieten(&mut self) {
        self.disturbances.end();
        (self.unrenewed_until, self.outage_until) = ([0; 2], 0);
        for unit in &mut self.world.units {
            unit.stopped_until = 0;
        }
        if self.homeward {
            self.stats.homeward += 1;
            (0..self.courses.len()).for_each(|c| self.wish_back(c));
        }
    }

    /// The controller may die here, or stand still.
    fn may_die(&mut self) -> Result<(), Stop> {
        if self.strikes(D::Stall) {
            let ms = 100 + self.disturbances.amount(5000);
            self.unrenewed_until = [self.world.now + ms; 2];
            self.pass(ms)?;
        }
        if self.strikes(D::Crash) { Err(Stop::Crash) } else { Ok(()) }
    }

    fn append(&mut self, c: usize, event: Event) -> Result<(), Stop> {
        self.may_die()?;
        if self.traced {
            let shown = serde_json::to_string(&event).unwrap_or_default();
            let end = shown.char_indices().nth(150).map_or(shown.len(), |(at, _)| at);
            self.note(format!("[{c}] {}", &shown[..end]));
        }
        if self.strikes(D::WallJump) {
            self.wall_ahead = self.disturbances.amount(2_000_000);
        }
        let (now, wall) = (self.world.now, self.world.now + self.wall_ahead);
        let books = &mut self.courses[c].books;
        books.write(now, wall, event).map_err(Stop::Broken)?;
        self.may_die()
    }

    fn go(&mut self) -> Result<(), String> {
        loop {
            self.turns += 1;
            if self.turns > 10_000 {
                return Err("no end, and no time passes".into());
            }
            let busy: Vec<usize> =
                (0..self.courses.len()).filter(|c| !self.courses[*c].over).collect();
            if busy.is_empty() {
                return self.finish();
            }
            // Courses share one line of time: one that is in its pause is not made to wait for
            // what the other one does, which a controller does beside it.
            let c = match busy.iter().find(|c| self.courses[**c].in_pause()) {
                Some(paused) => *paused,
                None => busy[self.dice.roll(busy.len() as u64) as usize],
            };
            let was_open = self.courses[c].books.unit().open.is_some();
            let mut result = if was_open { self.turn(c) } else { self.rest(c) };
            if was_open && self.courses[c].books.unit().open.is_none() {
                self.ended(c);
            }
            if let Some(what) = self.world.broken.take() {
                result = Err(Stop::Broken(what));
            }
            if matches!(result, Err(Stop::Crash)) {
                result = self.restart();
            }
            match result {
                Ok(()) => {}
                Err(Stop::Broken(what)) => return Err(what),
                Err(Stop::Refused) => return self.left_alone(),
                Err(Stop::Crash) => return Err("a controller died while it was started".into()),
            }
        }
    }

    /// The controller died or was overtaken; after a while there is another one.
    fn restart(&mut self) -> Result<(), Stop> {
        self.stats.crashes += 1;
        self.alive = false;
        self.replies.clear();
        let zombie = self.strikes(D::Zombie);
        for flight in &mut self.flights {
            if self.dice.chance(400) {
                flight.lands_at += self.dice.roll(6000);
            }
            flight.zombie |= zombie && !flight.copy;
        }
        let down = self.dice.roll(4000);
        self.pass(down)?;
        if self.strikes(D::TailLost) {
            if !self.lacks(Mutant::TailLostIgnored) {
                self.stats.refused += 1;
                return Err(Stop::Refused);
            }
            for course in &mut self.courses {
                let most = course.books.records.len() as u64
                    - course.books.unit().history.len().min(1) as u64;
                let lost = (1 + self.disturbances.amount(4)).min(most.saturating_sub(20));
                course.books.cut(lost as usize).map_err(Stop::Broken)?;
            }
        }
        self.alive = true;
        self.epoch = Epoch(self.courses[0].books.state.epoch.0 + 1);
        for c in 0..self.courses.len() {
            let epoch = self.epoch;
            let (now, wall) = (self.world.now, self.world.now + self.wall_ahead);
            let course = &mut self.courses[c];
            course
                .books
                .write(now, wall, Event::EpochTaken { epoch, pid: 1 })
                .map_err(Stop::Broken)?;
            course.here = Here::Resumed;
            course.watched = false;
            if !(self.homeward && self.disturbances.ended()) {
                self.courses[c].wish = Wish::Forward;
            }
        }
        if self.traced {
            self.note(format!("  a controller comes, epoch {}", self.epoch));
        }
        Ok(())
    }

    /// The journal is refused: no controller comes, and what was sent still lands.
    fn left_alone(&mut self) -> Result<(), String> {
        self.disturbances.end();
        for _ in 0..40 {
            if let Err(Stop::Broken(what)) = self.pass(300) {
                return Err(what);
            }
        }
        Ok(())
    }

    /// Everything that is still on its way lands, and the books are folded again.
    fn finish(&mut self) -> Result<(), String> {
        self.disturbances.end();
        while !self.flights.is_empty() {
            if let Err(Stop::Broken(what)) = self.pass(300) {
                return Err(what);
            }
        }
        for c in 0..self.courses.len() {
            let course = &self.courses[c];
            self.at_rest(course)?;
            let prefix = self.dice.roll(self.courses[c].books.records.len() as u64 + 1);
            if self.dice.chance(100) {
                self.courses[c].books.fold_again(prefix as usize)?;
            }
        }
        Ok(())
    }
}
