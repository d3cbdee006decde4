//! A request that has been handed to a backend, up to the head of its answer.

use crate::front::Front;
use crate::gate::Pass;
use crate::upstream::{Broken, Link, Outgoing, Pool};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// An answer whose body has not been read yet.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) link: Link,
}

/// What came of a request, and its right to be at the backend.
pub(super) type Outcome = (Result<Answer, Broken>, Option<Pass>);

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A request on its way. It goes on in a task of its own if nobody waits for it any
/// more: a backend that was given a request works on it whether or not the client
/// stays, and until it is done the unit is not idle.
pub(super) struct Exchange {
    running: Option<Running>,
    front: Arc<Front>,
    safe: bool,
}

impl Exchange {
    /// Sends `request` over `link`. With `spare`, it is sent once more over a new
    /// connection if the link turns out to be stale.
    pub(super) fn begin(
        link: Link,
        request: Request<Outgoing>,
        spare: Option<(Arc<Pool>, Request<()>)>,
        pass: Option<Pass>,
        front: Arc<Front>,
    ) -> Self {
        let safe = request.method().is_safe();
        let running = Box::pin(async move { (send(link, request, spare).await, pass) });
        Self { running: Some(running), front, safe }
    }
}

async fn send(
    mut link: Link,
    request: Request<Outgoing>,
    spare: Option<(Arc<Pool>, Request<()>)>,
) -> Result<Answer, Broken> {
    let broken = match link.send(request).await {
        Ok(response) => return Ok(Answer { response, link }),
        Err(broken) => broken,
    };
    match spare {
        Some((pool, head)) if link.was_stale() => {
            let mut link = pool.open().await?;
            let again = Box::pin(link.send(head.map(|()| Outgoing::Empty)));
            let response = again.await?;
            Ok(Answer { response, link })
        }
        _ => Err(broken),
    }
}

impl Future for Exchange {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(running) = &mut self.running else {
            // Polled again after it was ready; there is no answer to give twice.
            return Poll::Pending;
        };
        let outcome = running.as_mut().poll(cx);
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
            let safe = self.safe;
            let finish = async move {
                let whole = async {
                    let (result, _pass) = running.await;
                    if let Ok(answer) = result {
                        let body = answer.response.into_body();
                        drain(body, safe.then_some(limits.orphan_bytes)).await;
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
pub(super) async fn drain(mut body: Incoming, most: Option<u64>) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, |d| d.len() as u64);
        if most.is_some_and(|most| read > most) {
            return;
        }
    }
}
