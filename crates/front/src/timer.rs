//! Time limits that cost next to nothing while nobody is late.
//!
//! Setting a timer for every request and taking it back are two trips to the runtime's
//! timer wheel, twice a request: for its head and for its answer. A connection waits for
//! one thing at a time, so one timer serves all its limits. Left as it was set for an
//! earlier one it rings too early, not too late, and is set anew only when it rings.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// The timer of a connection, while nobody waits with it.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Option<Pin<Box<Sleep>>>>>);

impl Kept {
    /// Waits until `end`.
    pub(crate) fn until(&self, end: Instant) -> Limit {
        Limit { kept: self.clone(), end, timer: self.take() }
    }

    /// Waits for `inner`, but no longer than `limit`; none if the time is over.
    pub(crate) async fn within<F: Future + Unpin>(
        &self,
        limit: Duration,
        mut inner: F,
    ) -> Option<F::Output> {
        let mut limit = self.until(Instant::now() + limit);
        std::future::poll_fn(|cx| match Pin::new(&mut inner).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Pin::new(&mut limit).poll(cx).map(|()| None),
        })
        .await
    }

    fn take(&self) -> Option<Pin<Box<Sleep>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl hyper::rt::Timer for Kept {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.until(Instant::now() + duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.until(deadline))
    }
}

/// Ready at its end; gives the connection's timer back when dropped.
pub(crate) struct Limit {
    kept: Kept,
    end: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Future for Limit {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let end = tokio::time::Instant::from_std(self.end);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

impl hyper::rt::Sleep for Limit {}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            *self.kept.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(80);

    async fn pass(time: Duration) -> u8 {
        tokio::time::sleep(time).await;
        1
    }

    /// Uses the timer once, so that it stands at `limit` from now.
    async fn used(limit: Duration) -> Kept {
        let kept = Kept::default();
        kept.within(limit, Box::pin(tokio::task::yield_now())).await.unwrap();
        assert!(kept.0.lock().unwrap().is_some(), "given back");
        kept
    }

    #[tokio::test]
    async fn a_timer_set_for_an_earlier_wait_does_not_end_a_later_one() {
        let kept = used(LIMIT).await;
        tokio::time::sleep(LIMIT * 3 / 4).await;
        // The timer rings in the middle of this wait.
        assert_eq!(kept.within(LIMIT, Box::pin(pass(LIMIT / 2))).await, Some(1));
    }

    #[tokio::test]
    async fn ends_a_wait_at_its_own_limit() {
        for former in [LIMIT / 2, LIMIT, LIMIT * 100] {
            let kept = used(former).await;
            tokio::time::sleep(LIMIT / 2).await;
            let began = Instant::now();
            assert_eq!(kept.within(LIMIT, std::future::pending::<()>()).await, None);
            let waited = began.elapsed();
            assert!(waited >= LIMIT && waited < LIMIT * 10, "{former:?}: {waited:?}");
        }
    }

    #[tokio::test]
    async fn two_at_once_have_a_timer_each() {
        let kept = used(LIMIT).await;
        let (one, two) = tokio::join!(
            kept.within(LIMIT / 2, Box::pin(pass(LIMIT * 4))),
            kept.within(LIMIT * 8, Box::pin(pass(LIMIT))),
        );
        assert_eq!((one, two), (None, Some(1)));
    }
}
