//! Traffic of a unit: the fronts, asked through their control sockets.
//!
//! **Invariant.** Requests never pass here; a controller that is gone stops no request.

mod cdn;
mod fronts;
mod hold;
mod insert;
mod joined;
mod link;
mod loud;
mod patience;
mod preflight;
mod proxy;
mod redirect;
mod route;
mod sampler;
mod split;
mod totals;
mod turns;

pub use cdn::Cdn;
pub use fronts::{FrontSettings, Fronts};
pub use proxy::{Fragment, fragments};
pub use split::{Met, Trials};
pub use totals::{FrontMirrored, FrontStragglers, TrafficTotals, late_at};

/// What tests of this crate ask around the effects.
#[cfg(debug_assertions)]
#[doc(hidden)]
pub mod testing {
    use segue_front::control::{Reply, Request};
    use segue_model::Fault;
    use segue_model::plan::FrontPlan;

    /// Sends one request to what stands at a front's place.
    ///
    /// # Errors
    /// Those of the front.
    pub async fn ask(plan: &FrontPlan, request: &Request) -> Result<Reply, Fault> {
        crate::proxy::of(plan).call(request).await
    }
}
