//! The crash matrix over the toy world: every point of the step tables, and what the world
//! says afterwards. The exhaustive parts are marked as ignored; `make crash` runs them.

mod control;
mod disk;
mod kills;
mod orders;
mod replies;
mod scene;
