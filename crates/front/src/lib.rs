//! The front: a reverse proxy that can hold a unit's requests and send them to the
//! other side, without losing one.

pub mod control;
