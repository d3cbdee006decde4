//! The control protocol for a proxy that does not speak it: what a front of ours would answer.
//!
//! Whether and how a unit is held, and where it goes, is always read from the proxy itself; the
//! record says who may change it, and what to bring back after it started anew.

mod holds;
mod units;
mod words;

use super::Proxy;
use super::driver::{About, Driver};
use super::record::{self, Kept, Locked};
use async_trait::async_trait;
use segue_front::control::{Hello, PortStatus, Reply, Request, Stats};
use segue_model::plan::FrontPlan;
use segue_model::{EffectLeft, Epoch, Fault, FaultKind, Finding, RunId, Side, UnitName};
use std::time::{Duration, Instant};
use words::{busy, canonical, done, known, status};

/// Pause between two looks whether anything runs.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A proxy of the operator's as a front.
pub(super) struct Foreign<D> {
    plan: FrontPlan,
    driver: D,
}

impl<D: Driver> Foreign<D> {
    pub(super) fn new(plan: FrontPlan, driver: D) -> Self {
        Self { plan, driver }
    }

    async fn answer(&self, request: &Request) -> Result<Reply, Fault> {
        let op = format!("{} at `{}`", request.what(), self.plan.name);
        match request {
            Request::Hello => self.hello(None).await,
            Request::Greet { unit } => self.hello(Some(unit)).await,
            Request::Stats => Ok(Reply::Stats(self.whole().await?)),
            Request::UnitStats { unit } => self.stats(unit).await,
            Request::WaitIdle { unit, timeout_ms } => {
                self.wait_idle(unit, Duration::from_millis(*timeout_ms), &op).await
            }
            Request::Renew { run, epoch, unit, hold_id } => {
                self.renew(run, *epoch, unit, hold_id, &op).await
            }
            Request::Claim { run, epoch } => self.claim(run, *epoch, &op).await,
            Request::SetSplit { .. }
            | Request::SetHoldPolicy { .. }
            | Request::SetMirror { .. }
            | Request::Bypass { .. } => Err(self.cannot(&op)),
            Request::SetRoute { .. }
            | Request::Unclaim { .. }
            | Request::Hold { .. }
            | Request::SealHold { .. }
            | Request::Unseal { .. }
            | Request::Release { .. }
            | Request::Leave { .. } => self.change(request, &op).await,
        }
    }

    fn cannot(&self, op: &str) -> Fault {
        let kind = self.plan.proxy.as_ref().map_or("front", |proxy| proxy.as_str());
        Fault::new("SG0165", FaultKind::Unsupported, op, format!("{kind} cannot do this"))
            .hint("docs/proxies.md says what each kind of front can do")
    }

    /// Carries out a change whose mark is in order, and writes the record.
    async fn change(&self, request: &Request, op: &str) -> Result<Reply, Fault> {
        let mut locked = Locked::open(&self.plan.state).await?;
        self.mend(&mut locked).await?;
        if let Some(mark) = request.mark() {
            locked.record.mark(mark, request.changed_unit(), op)?;
        }
        let reply = match request {
            Request::SetRoute { mark, unit, sites, write_side, concurrency } => {
                let kept = Kept {
                    generation: mark.generation,
                    sites: canonical(sites),
                    side: *write_side,
                    concurrency: concurrency.clone(),
                    held: None,
                    lease_ms: 0,
                };
                self.set_route(&mut locked, unit, kept, op).await?
            }
            Request::Hold { .. } => self.hold(&mut locked, request, op).await?,
            Request::SealHold { unit, hold_id, .. } => {
                self.seal(&mut locked, unit, hold_id, op).await?
            }
            Request::Unseal { unit, hold_id, lease_ms, .. } => {
                self.unseal(&mut locked, unit, hold_id, *lease_ms, op).await?
            }
            Request::Release { unit, hold_id, to, .. } => {
                self.release(&mut locked, unit, hold_id, *to, op).await?
            }
            Request::Leave { unit, .. } => self.leave(&mut locked, unit, op).await?,
            Request::Unclaim { mark } => self.unclaim(&mut locked, mark, op).await?,
            _ => return Err(self.cannot(op)),
        };
        locked.write().map_err(|fault| fault.leaving(EffectLeft::Done))?;
        Ok(reply)
    }

    async fn claim(&self, run: &RunId, epoch: Epoch, op: &str) -> Result<Reply, Fault> {
        let mut locked = Locked::open(&self.plan.state).await?;
        if locked.record.claim.is_some() {
            locked.record.may_act(run, epoch, op)?;
        }
        self.mend(&mut locked).await?;
        self.catch_up(&mut locked.record).await?;
        locked.record.claim = Some(run.clone());
        locked.record.epoch = epoch;
        locked.write()?;
        Ok(done(&locked.record))
    }

    async fn hello(&self, asked: Option<&UnitName>) -> Result<Reply, Fault> {
        let about = self.driver.about().await?;
        let mut record = record::read(&self.plan.state)?;
        if record.start != about.start && !record.units.is_empty() {
            let mut locked = Locked::open(&self.plan.state).await?;
            self.mend(&mut locked).await?;
            record = locked.record.clone();
        }
        let mut units = Vec::new();
        if let Some((name, kept)) = asked.and_then(|unit| record.units.get_key_value(unit)) {
            let sight = self.driver.look(kept.unit(name)).await?;
            units.push(status(name, kept, &sight));
        }
        let About { pid, version, .. } = about;
        Ok(Reply::Hello(Hello {
            name: self.plan.name.clone(),
            side: self.plan.side,
            pid,
            keeper: None,
            version,
            ports: self.ports(),
            listening: true,
            claim: record.claim,
            epoch: record.epoch,
            generation: record.generation,
            boot_ms: boot_ms(),
            started_ms: 0,
            unit_count: record.units.len(),
            units,
        }))
    }

    /// Its ports are the operator's: the plan only says where they are.
    fn ports(&self) -> Vec<PortStatus> {
        let port = |port: &segue_model::plan::PortPlan| PortStatus {
            kind: port.kind,
            listen: port.listen,
            taken_over: port.take_over,
            redirect: None,
            joined: false,
            tls: port.tls.clone(),
            proxy_in: port.proxy_in,
            tcp: port.tcp.clone(),
            certificates: None,
        };
        self.plan.ports.iter().map(port).collect()
    }

    async fn stats(&self, unit: &UnitName) -> Result<Reply, Fault> {
        let record = record::read(&self.plan.state)?;
        let mut stats = Stats { boot_ms: boot_ms(), ..Stats::default() };
        if let Some((name, kept)) = record.units.get_key_value(unit) {
            let counted = self.driver.counted(kept.unit(name)).await?;
            (stats.sides, stats.windows) = (counted.sides, counted.windows);
        }
        stats.holds = record.holds.into_iter().filter(|hold| &hold.unit == unit).collect();
        Ok(Reply::Stats(stats))
    }

    /// Sums up all units.
    async fn whole(&self) -> Result<Stats, Fault> {
        let record = record::read(&self.plan.state)?;
        let mut stats = Stats { boot_ms: boot_ms(), ..Stats::default() };
        for (name, kept) in &record.units {
            let counted = self.driver.counted(kept.unit(name)).await?;
            for side in [Side::Source, Side::Target] {
                let (sum, one) = (stats.sides.get_mut(side), counted.sides.get(side));
                sum.requests += one.requests;
                sum.failed += one.failed;
                sum.longest_ms = sum.longest_ms.max(one.longest_ms);
            }
        }
        stats.holds = record.holds;
        Ok(stats)
    }

    async fn wait_idle(
        &self,
        unit: &UnitName,
        allowed: Duration,
        op: &str,
    ) -> Result<Reply, Fault> {
        let record = record::read(&self.plan.state)?;
        let kept = known(&record, unit, op)?;
        let (began, mut quiet, mut closed) = (Instant::now(), false, 0);
        let reply = loop {
            let sight = self.driver.look(kept.unit(unit)).await?;
            if sight.streams > 0 && sight.is_held() {
                closed += self.driver.end_streams(kept.unit(unit)).await?;
            }
            // Two looks: a request that was let through right before the hold began may be on
            // its way to the backend at the first one.
            match (sight.running == 0, quiet) {
                (true, true) => {
                    let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                    break Reply::Idle { waited_ms };
                }
                (idle, _) => quiet = idle,
            }
            if began.elapsed() >= allowed && !quiet {
                break busy(self.driver.running(kept.unit(unit)).await?);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        if let Some(held) = kept.held.as_ref().filter(|_| closed > 0) {
            let mut locked = Locked::open(&self.plan.state).await?;
            if let Some(hold) = locked.record.hold_mut(held) {
                hold.closed_streams += closed;
            }
            locked.write()?;
        }
        Ok(reply)
    }
}

/// Returns milliseconds of the boot clock.
pub(super) fn boot_ms() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let positive = |n: i64| u64::try_from(n).unwrap_or(0);
    positive(t.tv_sec) * 1_000 + positive(t.tv_nsec) / 1_000_000
}

#[async_trait]
impl<D: Driver> Proxy for Foreign<D> {
    async fn call(&self, request: &Request) -> Result<Reply, Fault> {
        self.answer(request).await
    }

    async fn call_aside(&self, request: &Request) -> Result<Reply, Fault> {
        self.answer(request).await
    }

    fn is_ours(&self) -> bool {
        false
    }

    async fn preflight(&self) -> Vec<Finding> {
        self.driver.preflight().await
    }
}
