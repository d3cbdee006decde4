//! Copies of users' requests for the target: does it answer the same, and how fast?
//!
//! A user waits for nothing and meets nothing of it. While the user's answer passes, numbers that
//! stand for its lines are kept ([`sample`]); once it is over, the same request is asked at the
//! target and, if that differs, at the source again, whose own changes are noise ([`copy`]). Where
//! the user's answer says nothing about what the copy will get (compressed, a part, made for a
//! cookie that copies do not carry), the source is asked in its place.
//!
//! Room for a copy ([`Room`]) is taken when the request is chosen, for what is kept of its answer
//! takes memory until that has passed, and given back when the copy has been compared or anything
//! else became of the request. A request that finds none is not copied and is counted; none waits.
//!
//! Only GET and HEAD without a body are copied, on paths that the plan says change nothing, while
//! the source has the unit and nothing is held. Copies are no visitors: they pass no gate and stand
//! in no figure but their own.

mod copy;
mod sample;

pub(crate) use sample::{PARTIAL, Sample};

use crate::control::{MirrorRoute, Mirrored};
use crate::gate::Gate;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use segue_model::Side;
use segue_model::compare::Tally;
use segue_model::harmless::below;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Room for one request and its copy; given back by whoever has it last.
pub(crate) type Room = OwnedSemaphorePermit;

/// The copies of one unit.
pub(crate) struct Mirror {
    route: MirrorRoute,
    /// Requests that could be copied, so far.
    turn: AtomicU64,
    room: Arc<Semaphore>,
    /// Cancelled once a hold begins; then there is another one.
    holds: Mutex<CancellationToken>,
    /// Whether the unit has left the source.
    over: AtomicBool,
    dropped: AtomicU64,
    ended: AtomicU64,
    tally: Mutex<Tally>,
}

impl Mirror {
    pub(crate) fn new(route: MirrorRoute) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(route.plan.at_once));
        Arc::new(Self {
            route,
            turn: AtomicU64::new(0),
            room,
            holds: Mutex::default(),
            over: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            tally: Mutex::default(),
        })
    }

    /// Chooses whether a request without a body is copied, and takes room for it.
    pub(crate) fn chooses(
        &self,
        gate: &Gate,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Room> {
        let plan = &self.route.plan;
        let fits = !self.over.load(Ordering::Relaxed)
            && matches!(*method, Method::GET | Method::HEAD)
            && below(&plan.paths, path)
            && (plan.authorization || !headers.contains_key(AUTHORIZATION));
        if !fits {
            return None;
        }
        let percent = u64::from(plan.percent);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 100;
        // Evenly spread: of any hundred in a row so many.
        if (turn * percent) % 100 >= percent || !Self::may(gate) {
            return None;
        }
        let room = self.room.clone().try_acquire_owned().ok();
        if room.is_none() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    /// Returns whether the source has the unit and nothing is held.
    fn may(gate: &Gate) -> bool {
        gate.side() == Side::Source && !gate.is_held()
    }

    /// A hold began: what is under way is of no use any more.
    pub(crate) fn hold(&self) {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *holds).cancel();
    }

    /// The unit leaves the source: from now on the two differ as they should.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.hold();
    }

    fn until_hold(&self) -> CancellationToken {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what it was built from.
    pub(crate) fn route(&self) -> &MirrorRoute {
        &self.route
    }

    /// Returns what was found so far.
    pub(crate) fn report(&self) -> Mirrored {
        Mirrored {
            dropped: self.dropped.load(Ordering::Relaxed),
            ended: self.ended.load(Ordering::Relaxed),
            compared: self.tally.lock().unwrap_or_else(PoisonError::into_inner).compared(),
        }
    }
}
