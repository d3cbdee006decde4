//! Hold and seal: requests queue at every front.

use crate::fronts::{Fronts, hold_of, is_hold};
use crate::link::{Link, unexpected};
use crate::loud::Loud;
use crate::patience::{Patience, in_flight, looks};
use async_trait::async_trait;
use futures_util::future::join_all;
use segue_front::control::{HoldId, HoldStatus, Reply, Request};
use segue_model::event::Phase;
use segue_model::{EffectLeft, Fault, FaultKind, Side, Way};
use segue_port::{Authority, Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause between two tries to find a quiet moment.
const QUIET_EVERY: Duration = Duration::from_millis(15);

// A hold is renewed no longer than the pause may last: a controller that hangs, or cannot
// write its journal, must not keep visitors waiting. The seal makes it last by other means.

/// Share of the lease after which it is renewed.
const RENEWALS_PER_LEASE: u32 = 8;

impl Fronts {
    /// Returns the effect that holds the unit at every front and waits for in-flight requests.
    pub fn hold(self: &Arc<Self>) -> Arc<dyn Effect> {
        Arc::new(Hold { fronts: Arc::clone(self) })
    }

    /// Returns the effect that makes the hold last.
    pub fn seal(self: &Arc<Self>) -> Arc<dyn Effect> {
        Arc::new(Seal { fronts: Arc::clone(self) })
    }

    /// Ends the renewal of the present hold.
    pub(crate) fn stop_renewing(&self) {
        if let Ok(mut place) = self.renewal.lock()
            && let Some(task) = place.take()
        {
            task.abort();
        }
    }

    fn start_renewing(self: &Arc<Self>, authority: &Authority, hold_id: HoldId) {
        self.stop_renewing();
        let fronts = Arc::clone(self);
        let (run, epoch) = (authority.run.clone(), authority.epoch);
        let every = Duration::from_millis(self.settings.policy.lease_ms) / RENEWALS_PER_LEASE;
        let policy = &self.settings.policy;
        let longest = match authority.attempt.phase {
            Phase::Cutover => policy.maintenance_budget_ms.unwrap_or(policy.pause_budget_ms),
            _ => policy.budget_ms(authority.way()),
        };
        let longest = Duration::from_millis(longest);
        let begun = Instant::now();
        let task = tokio::task::spawn(async move {
            while begun.elapsed() < longest {
                tokio::time::sleep(every).await;
                let renew = Request::Renew {
                    run: run.clone(),
                    epoch,
                    unit: fronts.settings.unit.name.clone(),
                    hold_id: hold_id.clone(),
                };
                // A renewal that fails is seen where it matters: sealing refuses a lapsed hold.
                join_all(fronts.links.iter().map(|link| link.call_aside(&renew))).await;
            }
        });
        if let Ok(mut place) = self.renewal.lock() {
            *place = Some(task.abort_handle());
        }
    }

    /// Sends the unit to `to` at every front and releases what waits.
    pub(crate) async fn release(&self, authority: &Authority, to: Side) -> Outcome<Vec<Value>> {
        let hold_id = hold_of(authority);
        let unit = self.settings.unit.name.clone();
        let all = self.links.iter().map(|link| {
            let (hold_id, unit) = (hold_id.clone(), unit.clone());
            async move {
                let reply = link
                    .change(&authority.run, authority.epoch, |mark| Request::Release {
                        mark,
                        unit,
                        hold_id,
                        to,
                    })
                    .await?;
                match reply {
                    Reply::Done { generation } => {
                        Ok(json!({ "front": link.plan.name, "generation": generation }))
                    }
                    Reply::Lapsed { at_ms, .. } => Err(lapsed(&link.plan.name, at_ms)),
                    other => Err(unexpected("release", &link.plan.name, &other)),
                }
            }
        });
        join_all(all).await.into_iter().collect()
    }

    /// Begins the hold at every front, unless one is busy; what holds then is for the
    /// caller to release.
    ///
    /// A front whose requests pass another one goes first and empties before the other
    /// holds. Held there, they would run at the first front until the pause is over, and
    /// that front would never be idle.
    async fn hold_all(
        self: &Arc<Self>,
        call: &Call,
        left: Duration,
        patience: &Patience,
    ) -> Outcome<Result<(), Loud>> {
        if patience.insists {
            // A hold that is tried in vain makes visitors wait at the fronts that come first.
            let slow = self.known_slow(&self.settings.policy.slow_paths).await;
            if let Some(loud) = slow.ok().filter(|slow| !slow.is_quiet()) {
                return Ok(Err(loud));
            }
        }
        let from = call.authority.way().from();
        let (relaying, rest): (Vec<_>, Vec<_>) =
            self.links.iter().partition(|link| self.relays(&link.plan, from));
        if !relaying.is_empty() {
            if let Err(busy) = self.hold_at(&relaying, call, patience).await? {
                return Ok(Err(busy));
            }
            // Emptying may take longer than a lease lasts.
            self.start_renewing(&call.authority, hold_of(&call.authority));
            let empties = patience.empties;
            if let Err(busy) = self.idle_at(&relaying, left.min(empties)).await?
                && patience.insists
            {
                return Ok(Err(busy));
            }
        }
        self.hold_at(&rest, call, patience).await
    }

    /// Begins the hold at some fronts; says what runs where one is busy.
    async fn hold_at(
        &self,
        links: &[&Arc<Link>],
        call: &Call,
        patience: &Patience,
    ) -> Outcome<Result<(), Loud>> {
        let policy = &self.settings.policy;
        let hold_id = hold_of(&call.authority);
        let all = links.iter().map(|link| {
            let hold_id = hold_id.clone();
            async move {
                link.change(&call.authority.run, call.authority.epoch, |mark| Request::Hold {
                    mark,
                    unit: self.settings.unit.name.clone(),
                    hold_id,
                    lease_ms: policy.lease_ms,
                    quiet_age_ms: if patience.insists { patience.age_ms } else { u64::MAX },
                    slow_paths: if patience.insists { policy.slow_paths.clone() } else { vec![] },
                    age_max_ms: policy.hold_age_max_ms,
                    count_max: policy.hold_count_max,
                })
                .await
            }
        });
        let mut loud = Loud::default();
        for reply in join_all(all).await {
            match reply.map_err(|fault| fault.leaving(EffectLeft::Maybe))? {
                Reply::Done { .. } => {}
                Reply::Busy { running, count } => loud.add(running, count),
                other => return Err(unexpected("hold", "any", &other).leaving(EffectLeft::Maybe)),
            }
        }
        Ok(if loud.is_quiet() { Ok(()) } else { Err(loud) })
    }

    /// Waits until no request runs at a backend; returns the longest wait, milliseconds.
    async fn wait_idle(&self, left: Duration) -> Outcome<u64> {
        let all: Vec<_> = self.links.iter().collect();
        self.idle_at(&all, left).await?.map_err(|loud| {
            let cause = format!("still there after {} ms: {loud}", left.as_millis());
            Fault::new("SG0153", FaultKind::Busy, "wait for requests in flight", cause)
                .leaving(EffectLeft::Maybe)
                .hint("name their path in `slow_paths`, so that a hold waits for a moment without them")
        })
    }

    /// Waits until no request runs that came through some fronts; says which still run.
    async fn idle_at(&self, links: &[&Arc<Link>], left: Duration) -> Outcome<Result<u64, Loud>> {
        let timeout_ms = ms(left);
        let ask = Request::WaitIdle { unit: self.settings.unit.name.clone(), timeout_ms };
        let (mut longest, mut loud) = (0, Loud::default());
        for reply in join_all(links.iter().map(|link| link.call(&ask))).await {
            match reply.map_err(|fault| fault.leaving(EffectLeft::Maybe))? {
                Reply::Idle { waited_ms } => longest = longest.max(waited_ms),
                Reply::Busy { running, count } => loud.add(running, count),
                other => {
                    return Err(unexpected("wait for", "any", &other).leaving(EffectLeft::Maybe));
                }
            }
        }
        Ok(if loud.is_quiet() { Ok(longest) } else { Err(loud) })
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn lapsed(front: &str, at_ms: u64) -> Fault {
    Fault::new(
        "SG0154",
        FaultKind::LeaseLost,
        format!("hold at front `{front}`"),
        format!("it was not renewed in time and ended at boot time {at_ms} ms"),
    )
    .hint("its requests went to the writing side; start the cutover again")
}

struct Hold {
    fronts: Arc<Fronts>,
}

impl Hold {
    /// Begins the hold in a quiet moment; a failback in the end without one.
    async fn begin(&self, call: &Call, began: Instant) -> Outcome<()> {
        let (policy, way) = (&self.fronts.settings.policy, call.authority.way());
        let mut patience = Patience::at_first(policy, way);
        loop {
            let left = call.time_allowed.saturating_sub(began.elapsed());
            let Err(loud) = self.fronts.hold_all(call, left, &patience).await? else {
                return Ok(());
            };
            self.fronts.stop_renewing();
            self.fronts.release(&call.authority, way.from()).await?;
            let urgent = way == Way::Back && patience.insists;
            let lasts = loud.may_last(patience.age_ms);
            if urgent && began.elapsed() > looks(policy, lasts) {
                tracing::warn!(running = %loud, "no quiet moment for a failback");
                patience.insists = false;
            } else if way == Way::Forward && began.elapsed() > call.time_allowed / 2 {
                let cause = format!("no quiet moment: {loud}");
                return Err(Fault::new("SG0155", FaultKind::Busy, "hold at every front", cause)
                    .hint("try again, or at an hour with fewer slow requests"));
            }
            tokio::time::sleep(QUIET_EVERY).await;
        }
    }
}

#[async_trait]
impl Effect for Hold {
    fn what(&self) -> String {
        format!(
            "queues every request of unit `{}` at {} fronts",
            self.fronts.settings.unit.name,
            self.fronts.links.len()
        )
    }

    fn by_hand(&self) -> String {
        "nothing to do: an unrenewed hold releases to the writing side by itself".into()
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let began = Instant::now();
        let (policy, way) = (&self.fronts.settings.policy, call.authority.way());
        self.begin(call, began).await?;
        self.fronts.start_renewing(&call.authority, hold_of(&call.authority));
        let left = call.time_allowed.saturating_sub(began.elapsed());
        if way == Way::Forward {
            let waited_ms = self.fronts.wait_idle(left).await?;
            return Ok(json!({ "waited_for_in_flight_ms": waited_ms }));
        }
        // The side that is left may never answer again. What still runs there goes on, and
        // the fence refuses what it writes from then on.
        let all: Vec<_> = self.fronts.links.iter().collect();
        let left = left.min(in_flight(policy, began.elapsed()));
        Ok(match self.fronts.idle_at(&all, left).await? {
            Ok(waited_ms) => json!({ "waited_for_in_flight_ms": waited_ms }),
            Err(loud) => {
                json!({ "waited_for_in_flight_ms": ms(left), "left_running": loud.named() })
            }
        })
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        // A leased hold of a former controller is not worth keeping: it was not renewed.
        let wanted = hold_of(&call.authority);
        let renewing = self.fronts.renewal.lock().is_ok_and(|place| place.is_some());
        let unit = &self.fronts.settings.unit.name;
        let held = self.fronts.hellos().await.iter().all(|(_, hello)| {
            hello.as_ref().is_ok_and(|h| h.unit(unit).is_some_and(|u| is_hold(&u.hold, &wanted)))
        });
        Ok(if held && renewing { Observed::Applied(json!({})) } else { Observed::NotApplied })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        let released = self.fronts.release(&call.authority, call.authority.way().from()).await;
        self.fronts.stop_renewing();
        released.map(|_| ())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        self.fronts.take_epoch(self.fronts.epoch()).await
    }
}

struct Seal {
    fronts: Arc<Fronts>,
}

#[async_trait]
impl Effect for Seal {
    fn what(&self) -> String {
        "makes the hold at every front last until it is released".into()
    }

    fn by_hand(&self) -> String {
        "restart the unit's way with `segue resume`, or end the fronts: the port returns to the live server".into()
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let hold_id = hold_of(&call.authority);
        let unit = self.fronts.settings.unit.name.clone();
        let all = self.fronts.links.iter().map(|link| {
            let (hold_id, unit) = (hold_id.clone(), unit.clone());
            async move {
                let seal = |mark| Request::SealHold { mark, unit, hold_id };
                match link.change(&call.authority.run, call.authority.epoch, seal).await? {
                    Reply::Done { .. } => Ok(()),
                    Reply::Lapsed { at_ms, .. } => Err(lapsed(&link.plan.name, at_ms)),
                    other => Err(unexpected("seal hold at", &link.plan.name, &other)),
                }
            }
        });
        let results: Outcome<Vec<()>> = join_all(all).await.into_iter().collect();
        results.map_err(|fault| fault.leaving(EffectLeft::Maybe))?;
        Ok(json!({}))
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let wanted = hold_of(&call.authority);
        let unit = &self.fronts.settings.unit.name;
        let sealed = self.fronts.hellos().await.iter().all(|(_, hello)| {
            hello.as_ref().is_ok_and(|h| {
                h.unit(unit).is_some_and(
                    |u| matches!(&u.hold, HoldStatus::Sealed { hold_id } if *hold_id == wanted),
                )
            })
        });
        Ok(if sealed { Observed::Applied(json!({})) } else { Observed::NotApplied })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        let hold_id = hold_of(&call.authority);
        let unit = self.fronts.settings.unit.name.clone();
        let lease_ms = self.fronts.settings.policy.lease_ms;
        for (link, hello) in self.fronts.hellos().await {
            let sealed =
                hello?.unit(&unit).is_some_and(|u| matches!(u.hold, HoldStatus::Sealed { .. }));
            if sealed {
                let (hold_id, unit) = (hold_id.clone(), unit.clone());
                link.change(&call.authority.run, call.authority.epoch, |mark| Request::Unseal {
                    mark,
                    unit,
                    hold_id,
                    lease_ms,
                })
                .await?;
            }
        }
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        self.fronts.take_epoch(self.fronts.epoch()).await
    }
}
