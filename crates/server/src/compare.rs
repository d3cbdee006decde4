//! What a terminal may compare by itself: it only reads, and needs no controller.

pub use segue_probe::{Compared, Comparison, Otherwise, Replayed, compare, logged};
