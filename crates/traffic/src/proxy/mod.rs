//! What stands at a front's place: a front of ours, or the operator's own proxy.
//!
//! All of them are asked in the words of the front's control protocol, so that effects and
//! samplers know no difference. What a kind cannot do stands in
//! [`Abilities`](segue_model::plan::Abilities), and a plan that needs it is refused.

mod driver;
mod foreign;
mod fragments;
mod haproxy;
mod nginx;
mod own;
mod record;

pub use fragments::{Fragment, fragments};

use async_trait::async_trait;
use segue_front::control::{Reply, Request};
use segue_model::plan::{FrontPlan, ProxyPlan};
use segue_model::{Fault, Finding};

/// Whoever takes requests of the control protocol.
#[async_trait]
pub(crate) trait Proxy: Send + Sync {
    /// Carries out a change, or waits.
    async fn call(&self, request: &Request) -> Result<Reply, Fault>;

    /// Renews or reads; never queues behind a wait.
    async fn call_aside(&self, request: &Request) -> Result<Reply, Fault>;

    /// Returns whether it is a process that Segue starts and ends.
    fn is_ours(&self) -> bool;

    /// Looks whether it can be driven as the plan needs; changes nothing.
    async fn preflight(&self) -> Vec<Finding> {
        Vec::new()
    }
}

/// Returns what stands at the place of a plan's front; touches nothing.
pub(crate) fn of(plan: &FrontPlan) -> Box<dyn Proxy> {
    match &plan.proxy {
        None => Box::new(own::Own::new(plan.control.clone())),
        Some(ProxyPlan::Haproxy(proxy)) => {
            let driver = haproxy::Haproxy::new(plan.control.clone(), proxy.clone());
            Box::new(foreign::Foreign::new(plan.clone(), driver))
        }
        Some(ProxyPlan::Nginx(proxy)) => {
            let driver = nginx::Nginx::new(plan, proxy.clone());
            Box::new(foreign::Foreign::new(plan.clone(), driver))
        }
    }
}
