//! What tests and the demo need around Segue: real daemons in private instances and a live shop.
//!
//! **Invariant.** Nothing here is linked into `segue`, and nothing here links a Segue
//! crate: what judges the product must not share its mistakes.

pub mod shop;
pub mod stage;
pub mod world;
