//! Who may start or look at a front's place: one of this process's units at a time.
//!
//! Units of a run share a front, and each of them inserts and tends it. Two that start its
//! process at once would take each other's socket away.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::OwnedMutexGuard;

/// By control socket.
type Known = HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>;

static TURNS: Mutex<Option<Known>> = Mutex::new(None);

/// Waits for the turn at the front with this control socket.
pub(crate) async fn turn(control: &Path) -> OwnedMutexGuard<()> {
    let turns = {
        let mut known = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        known.retain(|_, turns| turns.strong_count() > 0);
        match known.get(control).and_then(Weak::upgrade) {
            Some(turns) => turns,
            None => {
                let turns = Arc::<tokio::sync::Mutex<()>>::default();
                known.insert(control.to_owned(), Arc::downgrade(&turns));
                turns
            }
        }
    };
    turns.lock_owned().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_front_has_one_turn_at_a_time_and_another_front_its_own() {
        let first = turn(Path::new("/a.sock")).await;
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, turn(Path::new("/a.sock"))).await.is_err());
        assert!(tokio::time::timeout(soon, turn(Path::new("/b.sock"))).await.is_ok());
        drop(first);
        assert!(tokio::time::timeout(soon, turn(Path::new("/a.sock"))).await.is_ok());
    }
}
