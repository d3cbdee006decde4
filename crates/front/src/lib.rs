//! The front: a reverse proxy that can hold a unit's requests and send them to the
//! other side, without losing one.
//!
//! Fronts are processes of their own. They keep serving when the controller is gone,
//! with the routes they had last; what a controller wants of them it says over the
//! [`control`] socket. A front stands at every address that DNS names for the unit: in
//! place of the site's server ([`segue_doors::takeover`]) or at an address of its own.
//!
//! A request's way: [`listen`] takes its connection at one of the front's ports, [`wire`] sees
//! where it begins and ends, [`proxy`] finds its unit in [`routes`], the unit's [`gate`] lets it
//! pass or holds it, [`upstream`] carries it to the backend, [`stats`] counts it. A controller's
//! request: [`desk`] checks who asks, changes the gate or the routes and has [`store`] write
//! them down. Its sockets are another process's too, the [`keeper`]'s, which outlives one that
//! crashes or is replaced.
//!
//! **Invariant.** A request is either answered by a backend, exactly once, or by the
//! front with a 4xx or 5xx; none is sent twice unless it is safe to.

mod client;
mod clock;
pub mod control;
mod crowd;
mod desk;
mod entrance;
mod front;
mod gate;
mod keeper;
mod limits;
mod listen;
mod log;
mod metrics;
mod mirror;
mod named;
mod options;
mod policy;
mod proxy;
mod routes;
mod run;
mod socket;
mod split;
mod stats;
mod store;
mod stragglers;
mod tcp;
#[cfg(any(feature = "testing", debug_assertions))]
#[doc(hidden)]
pub mod testing;
mod timer;
mod tls;
mod trailers;
mod upstream;
mod wire;

pub use keeper::{Program, is_kept, keep};
pub use limits::Limits;
pub use options::{FrontOptions, PortOptions, Server};
pub use policy::unusable_page;
pub use run::{run_until, serve, work};
pub use store::{guards, has_route};
