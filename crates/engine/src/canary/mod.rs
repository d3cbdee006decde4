//! Canary analysis: what the visitors whom a split sends to the target say of it.
//!
//! Two questions, and they are not each other's opposite. **Harm**: does the target fail more
//! visitors than the source does at the same time? Asked at any moment, valid at every one of
//! them ([`harm`]). **No worse**: is it shown that the target is no worse than by a margin?
//! Absence of an alarm is no proof; too few visitors are a third answer ([`no_worse`]).
//!
//! What is counted is one visitor in one minute, a *cell*, and not a request: the requests of a
//! visitor fail together, and a test that takes them for independent raises a false alarm in a
//! quarter of all healthy splits.

mod harm;
mod no_worse;
mod seen;

pub use harm::{Harm, harm};
pub use no_worse::{Margins, NoWorse, no_worse};
pub use seen::{Seen, Times};
