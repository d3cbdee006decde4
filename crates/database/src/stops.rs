//! Places at which a test makes an effect wait, so that something happens in between for certain.
//! In what is shipped nobody can ask for one.

/// The stops that were asked for of one replica.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    #[cfg(any(feature = "testing", debug_assertions))]
    asked: std::sync::Mutex<std::collections::HashMap<String, Asked>>,
}

#[cfg(any(feature = "testing", debug_assertions))]
use tokio::sync::oneshot::{Receiver, Sender, channel};

/// Whom to tell that the place was reached, and who says when to go on.
#[cfg(any(feature = "testing", debug_assertions))]
type Asked = (Sender<()>, Receiver<()>);

impl Stops {
    /// Waits here, if that was asked for.
    pub(crate) async fn at(&self, place: impl FnOnce() -> String) {
        #[cfg(any(feature = "testing", debug_assertions))]
        if let Some((reached, go)) = self.take(&place()) {
            // Whoever asked may have given up.
            let _ = reached.send(());
            let _ = go.await;
        }
        #[cfg(not(any(feature = "testing", debug_assertions)))]
        drop(place);
    }

    #[cfg(any(feature = "testing", debug_assertions))]
    fn take(&self, place: &str) -> Option<Asked> {
        self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(place)
    }

    /// Asks that the next one who comes to the place waits there.
    #[cfg(any(feature = "testing", debug_assertions))]
    pub(crate) fn ask(&self, place: &str) -> (Receiver<()>, Sender<()>) {
        let ((reached, tells), (go, waits)) = (channel(), channel());
        let mut asked = self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        asked.insert(place.to_owned(), (reached, waits));
        (tells, go)
    }
}
