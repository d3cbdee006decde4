//! A request that has been handed to a backend, up to the head of its answer.

use super::stream::Seat;
use crate::front::Front;
use crate::gate::Pass;
use crate::upstream::{Arriving, Broken, Fetch, Link, Outgoing};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What came of a request, and its right to be at the backend.
pub(super) type Outcome = (Result<Response<Arriving>, Broken>, Option<Pass>);

/// A request on its way. It goes on in a task of its own if nobody waits for it any
/// more: a backend that was given a request works on it whether or not the client
/// stays, and until it is done the unit is not idle.
pub(super) struct Exchange {
    running: Option<Running>,
    seat: Option<Seat>,
    front: Arc<Front>,
    safe: bool,
}

struct Running {
    way: Way,
    pass: Option<Pass>,
}

enum Way {
    Kept(Fetch),
    General(Pin<Box<dyn Future<Output = Result<Response<Incoming>, Broken>> + Send>>),
}

impl Exchange {
    /// Waits for the answer to a request without a body.
    pub(super) fn fetch(
        fetch: Fetch,
        pass: Option<Pass>,
        seat: Option<Seat>,
        front: Arc<Front>,
    ) -> Self {
        Self { running: Some(Running { way: Way::Kept(fetch), pass }), seat, front, safe: true }
    }

    /// Sends `request` over a connection of its own.
    pub(super) fn begin(
        link: Link,
        request: Request<Outgoing>,
        pass: Option<Pass>,
        seat: Option<Seat>,
        front: Arc<Front>,
    ) -> Self {
        let safe = request.method().is_safe();
        let way = Way::General(Box::pin(link.send(request)));
        Self { running: Some(Running { way, pass }), seat, front, safe }
    }

    /// Ends a request that its backend did not get whole, and with it the connection: what is left
    /// of it shall not arrive after its client was told that it failed. The backend may be at work on
    /// what it has, and nobody learns when it is done: the unit counts as busy for as long as an
    /// answer may take.
    pub(super) fn cut(&mut self) {
        let Some(Running { pass, .. }) = self.running.take() else { return };
        let (seat, limit) = (self.seat.take(), self.front.limits().answer);
        self.front.tasks().spawn(async move {
            tokio::time::sleep(limit).await;
            drop((pass, seat));
        });
    }
}

impl Future for Running {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let result = match &mut self.way {
            Way::Kept(fetch) => ready!(fetch.poll(cx)),
            Way::General(sending) => {
                ready!(sending.as_mut().poll(cx)).map(|r| r.map(Arriving::General))
            }
        };
        Poll::Ready((result, self.pass.take()))
    }
}

impl Future for Exchange {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(running) = &mut self.running else {
            // Polled again after it was ready; there is no answer to give twice.
            return Poll::Pending;
        };
        let outcome = Pin::new(running).poll(cx);
        if outcome.is_ready() {
            self.running = None;
        }
        outcome
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let (Some(running), Ok(runtime)) =
            (self.running.take(), tokio::runtime::Handle::try_current())
        {
            let limits = self.front.limits().clone();
            let (seat, safe) = (self.seat.take(), self.safe);
            let finish = async move {
                // Whoever leaves and asks again has what still runs counted.
                let _seat = seat;
                let whole = async {
                    let (result, _pass) = running.await;
                    if let Ok(response) = result {
                        drain(response.into_body(), safe.then_some(limits.orphan_bytes)).await;
                    }
                };
                if tokio::time::timeout(limits.orphan, whole).await.is_err() {
                    tracing::warn!("a backend did not answer a request whose client is gone");
                }
            };
            self.front.tasks().spawn_on(finish, &runtime);
        }
    }
}

/// Reads a body to its end, or up to `most` bytes.
pub(super) async fn drain(mut body: Arriving, most: Option<u64>) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, |d| d.len() as u64);
        if most.is_some_and(|most| read > most) {
            return;
        }
    }
}
