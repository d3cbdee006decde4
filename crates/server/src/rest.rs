//! Units at rest: they follow, and nobody moves them.
//!
//! A unit that follows needs no process: the stream between the servers carries it. What it
//! needs of this one is to be looked at. A few units ([`AWAKE`]) are looked at all the time; of more,
//! as many at once take turns, each long enough for every trigger, and the others sleep:
//! nothing polls for them. Who needs it wakes out of turn: a unit whose table is executed, one
//! whose copy the stream does not carry any more, all that are watched after a cutover. What
//! the units between two servers share, lag and clocks, is seen by whoever is awake.
//!
//! A unit that sleeps since this controller began has not taken its epoch at its servers. A
//! former controller can do nothing there either: what it wanted to do it would first have to
//! write into a journal that refuses it.

mod turns;

use crate::conductor::Conductor;
use crate::unit::Unit;
use segue_model::UnitName;
use segue_model::plan::Plan;
use segue_model::state::{Stage, UnitState};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
pub(crate) use turns::AWAKE;
use turns::{Change, Turns};

/// Says whether a unit may sleep: nothing of it stands before live traffic.
pub(crate) fn rests(plan: &Plan, state: &UnitState) -> bool {
    let probed = plan.unit.sites.iter().any(|site| site.probe.is_some());
    let no_front = plan.unit.fronts.is_empty() && !probed;
    let still = state.stage == Stage::Synced || state.stage == Stage::Prepared && no_front;
    still && state.open.is_none() && state.refused.is_none()
}

/// Says whether a unit need not be put to work when a controller takes its run up. Files are
/// followed by this process, so a unit that has some does.
pub(crate) fn sleeps_at_start(plan: &Plan, state: &UnitState) -> bool {
    rests(plan, state) && plan.unit.trees.is_empty()
}

/// The units of a run in turn.
#[derive(Default)]
pub(crate) struct Rest {
    turns: Turns,
    left: Left,
    /// Units that were at work at the last look.
    working: BTreeSet<UnitName>,
}

/// What a round found.
pub(crate) struct Round {
    /// Units to look at.
    pub(crate) awake: Vec<Arc<Unit>>,
    /// Units that fell asleep.
    pub(crate) asleep: Vec<UnitName>,
}

impl Rest {
    /// Gives turns and returns which units are to be looked at now.
    pub(crate) fn round(&mut self, conductor: &Conductor) -> Round {
        let now_ms = conductor.clock.boot_ms();
        let (mut resting, mut awake, mut working) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (unit, state) in conductor.units() {
            let followed = (Stage::Synced..Stage::Settled).contains(&state.stage);
            if followed && rests(&unit.plan, &state) {
                resting.push(unit);
            } else if followed || state.open.is_some() {
                working.insert(unit.name().clone());
                awake.extend(followed.then_some(unit));
            }
        }
        if let Some(left) = self.left.out(&resting) {
            self.turns.urge(left);
        }
        let names: Vec<&UnitName> = resting.iter().map(|unit| unit.name()).collect();
        for unit in std::mem::replace(&mut self.working, working) {
            if names.binary_search(&&unit).is_ok() {
                self.turns.keep(unit, now_ms);
            }
        }
        let Change { waking, asleep } = self.turns.give(&names, now_ms);
        let of = |name: &UnitName| {
            names.binary_search(&name).ok().map(|place| Arc::clone(&resting[place]))
        };
        let many = names.len() > AWAKE;
        // To connect takes its time, and the others are watched meanwhile.
        for unit in waking.iter().filter_map(of) {
            tokio::spawn(async move { unit.wake(many).await });
        }
        for unit in asleep.iter().filter_map(of) {
            tokio::spawn(async move { unit.sleep().await });
        }
        awake.extend(self.turns.awake().filter_map(of));
        Round { awake, asleep }
    }
}

/// Notices units that a stream does not carry any more.
#[derive(Default)]
struct Left {
    /// By source and target, how often the streams had changed at the last call.
    seen: HashMap<(SocketAddr, SocketAddr), u64>,
}

impl Left {
    /// Returns the units that the streams between their servers do not carry, if that may be
    /// others than at the last call: who is left out changes what a stream carries.
    fn out(&mut self, resting: &[Arc<Unit>]) -> Option<Vec<UnitName>> {
        let mut pairs = HashMap::new();
        for database in resting.iter().flat_map(|unit| &unit.plan.unit.databases) {
            let servers = &database.servers;
            let key = (servers.source.address, servers.target.address);
            pairs.entry(key).or_insert_with(|| segue_database::carried(database));
        }
        let seen = pairs.iter().map(|(key, carried)| (*key, carried.changes)).collect();
        if self.seen == seen {
            return None;
        }
        self.seen = seen;
        let lacks = |unit: &&Arc<Unit>| {
            unit.plan.unit.databases.iter().any(|database| {
                let servers = &database.servers;
                let carried = pairs.get(&(servers.source.address, servers.target.address));
                carried.is_some_and(|carried| carried.lacks(&database.schema))
            })
        };
        Some(resting.iter().filter(lacks).map(|unit| unit.name().clone()).collect())
    }
}
