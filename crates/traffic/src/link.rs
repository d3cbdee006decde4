//! One front as the controller sees it.

use crate::proxy::{self, Proxy};
use segue_front::control::{Hello, Mark, Reply, Request, Stats};
use segue_model::plan::FrontPlan;
use segue_model::{Epoch, Fault, FaultKind, Finding, RunId, UnitName};

/// A plan's front and the way to ask it.
pub(crate) struct Link {
    pub(crate) plan: FrontPlan,
    /// The unit that speaks to it; other units of the run have links of their own.
    unit: UnitName,
    proxy: Box<dyn Proxy>,
}

impl Link {
    pub(crate) fn new(plan: FrontPlan, unit: UnitName) -> Self {
        let proxy = proxy::of(&plan);
        Self { plan, unit, proxy }
    }

    /// Returns the unit that speaks to it.
    pub(crate) fn unit(&self) -> &UnitName {
        &self.unit
    }

    /// Sends a request on the way for changes.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply, Fault> {
        self.proxy.call(request).await
    }

    /// Sends a request on the way for readings and renewals.
    pub(crate) async fn call_aside(&self, request: &Request) -> Result<Reply, Fault> {
        self.proxy.call_aside(request).await
    }

    /// Returns whether it is a process that Segue starts and ends.
    pub(crate) fn is_ours(&self) -> bool {
        self.proxy.is_ours()
    }

    /// Looks whether it can be driven as the plan needs; changes nothing.
    pub(crate) async fn preflight(&self) -> Vec<Finding> {
        self.proxy.preflight().await
    }

    /// Asks what the front counted for the unit.
    pub(crate) async fn stats(&self) -> Result<Stats, Fault> {
        match self.call_aside(&Request::UnitStats { unit: self.unit.clone() }).await? {
            Reply::Stats(stats) => Ok(stats),
            other => Err(unexpected("count at", &self.plan.name, &other)),
        }
    }

    /// Asks for the front's state, with that of the unit.
    pub(crate) async fn hello(&self) -> Result<Hello, Fault> {
        match self.call_aside(&Request::Greet { unit: self.unit.clone() }).await? {
            Reply::Hello(hello) => Ok(hello),
            other => Err(unexpected("greet", &self.plan.name, &other)),
        }
    }

    /// Sends a change that is built with the next generation of the front.
    ///
    /// The generation is read first: after a lost answer the front's own count decides,
    /// not a count of ours. What other units change meanwhile does not matter: a front
    /// judges a generation against the last one of the same unit.
    pub(crate) async fn change(
        &self,
        run: &RunId,
        epoch: Epoch,
        build: impl FnOnce(Mark) -> Request,
    ) -> Result<Reply, Fault> {
        let generation = self.hello().await?.generation + 1;
        self.call(&build(Mark { run: run.clone(), epoch, generation })).await
    }
}

/// Returns the fault for an answer that does not fit the request.
pub(crate) fn unexpected(op: &str, front: &str, reply: &Reply) -> Fault {
    Fault::new(
        "SG0150",
        FaultKind::Bug,
        format!("{op} front `{front}`"),
        format!("unexpected answer {reply:?}"),
    )
    .hint("front and controller must be of the same version")
}
