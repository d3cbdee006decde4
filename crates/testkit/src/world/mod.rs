//! The world: two hosting sides on loopback, with real daemons, a live shop and a neighbour.
//!
//! Each world lives in one folder and is described by the `world.json` in it. Its
//! daemons are private instances; all of them end with the [`World`], also when the
//! process that holds it panics or is killed.

mod bind;
mod daemon;
mod data;
mod description;
mod disk;
mod faults;
mod keeper;
mod lifetime;
mod mariadb;
mod plan;
mod ports;
mod practice;
mod programs;
mod secrets;
mod setup;
mod site;
mod template;
mod tree;
mod update;
mod visitors;
mod web;

pub use description::{
    Description, PerSide, Rows, Server, ServerPair, Side, Static, Tenant, Zone, now_ms,
};
pub use disk::SmallDisk;
pub use faults::TargetBlock;
pub use lifetime::{World, stop};
pub use setup::WorldOptions;
pub use tree::{folder_count, static_path};
