//! One front as the controller sees it.

use segue_front::control::{Client, Hello, Mark, Reply, Request, Stats};
use segue_model::plan::FrontPlan;
use segue_model::{Epoch, Fault, FaultKind, RunId, UnitName};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A plan's front and the open connections to it.
pub(crate) struct Link {
    pub(crate) plan: FrontPlan,
    /// The unit that speaks to it; other units of the run have links of their own.
    unit: UnitName,
    /// For changes and waits.
    main: Mutex<Option<Arc<Client>>>,
    /// For renewals and readings, which must not queue behind a wait.
    side: Mutex<Option<Arc<Client>>>,
}

/// Most time a front may take to answer a request that does not wait.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_500);

impl Link {
    pub(crate) fn new(plan: FrontPlan, unit: UnitName) -> Self {
        Self { plan, unit, main: Mutex::new(None), side: Mutex::new(None) }
    }

    async fn client(&self, place: &Mutex<Option<Arc<Client>>>) -> Result<Arc<Client>, Fault> {
        let mut place = place.lock().await;
        if let Some(client) = place.as_ref() {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Client::connect(&self.plan.control).await?.with_limit(ANSWER_LIMIT));
        *place = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Sends a request on the connection for changes.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply, Fault> {
        self.client(&self.main).await?.call(request).await
    }

    /// Sends a request on the connection for readings and renewals.
    pub(crate) async fn call_aside(&self, request: &Request) -> Result<Reply, Fault> {
        self.client(&self.side).await?.call(request).await
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
