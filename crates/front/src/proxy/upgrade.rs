//! Requests that leave HTTP, such as WebSocket: from the backend's 101 on, bytes are
//! passed both ways until one end closes or a hold begins.
//!
//! A request of any method may ask for it (RFC 9110 7.8): `docker exec` sends POST with a small body,
//! `kubectl exec` POST without one. A body has to be there whole before anything goes on, so that no
//! byte of it can be taken for one of what comes after.

use super::exchange::Exchange;
use super::headers::Seen;
use super::{Conn, Goal, Rest, Unanswered, Visit, headers};
use crate::gate::Pass;
use crate::limits::Limits;
use crate::upstream::{Arriving, Fate, Outgoing, Pool, Unsent};
use bytes::BytesMut;
use http::header::{CONNECTION, TE, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

/// Forwards a request that wants to change to `protocol`. The backend may decline;
/// then its answer is an ordinary one.
pub(super) async fn forward(
    conn: &Arc<Conn>,
    goal: Goal,
    mut request: Request<Incoming>,
    seen: Seen,
    protocol: HeaderValue,
    visit: &mut Visit,
) -> Result<(Response<Arriving>, Rest), Unanswered> {
    let client = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    let body = whole(body, conn.front().limits()).await?;
    let backend = goal.group.address();
    let caller = goal.group.introduces().then(|| conn.caller_of(&parts.headers, seen));
    headers::for_backend(&mut parts, seen, conn, backend).map_err(Unanswered::Refused)?;
    parts.extensions.clear();
    parts.headers.remove(TE);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, protocol);
    let Goal { group, pass, .. } = goal;
    let opened = group.open(Pool::open_for_upgrade, caller).await;
    let (choice, link) = opened.map_err(Unanswered::Broken)?;
    visit.carry(choice.under_way);
    visit.forwarded();
    let safe = parts.method.is_safe();
    let request = Request::from_parts(parts, body);
    let exchange = Exchange::begin(link, request, pass, visit.seat(), conn.front().clone());
    let (result, mut pass) =
        tokio::time::timeout(visit.patience(), exchange).await.map_err(|_| Unanswered::Late)?;
    let mut response = result.map_err(Unanswered::Broken)?;
    visit.answered(response.status());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let backend = hyper::upgrade::on(&mut response);
        let end = pass.as_mut().map_or_else(CancellationToken::new, Pass::become_stream);
        conn.front().tasks().spawn(pass_on(client, backend, end, pass.take()));
    }
    Ok((response, Rest::new(None, pass, safe)))
}

/// Reads all of a body.
async fn whole(body: Incoming, limits: &Arc<Limits>) -> Result<Outgoing, Unanswered> {
    if body.is_end_stream() {
        return Ok(Outgoing::Empty);
    }
    let length = body.size_hint().exact().unwrap_or(0) as usize;
    let fate = Fate::begin();
    let mut body = Outgoing::client(body, limits, &fate);
    // Put together: each part by itself would keep all of what it was read into.
    let mut whole = BytesMut::with_capacity(length);
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => whole.extend_from_slice(&data),
            Ok(Err(_trailers)) => {}
            Err(_) => return Err(Unanswered::Unsent(fate.unsent().unwrap_or(Unsent::Left))),
        }
    }
    Ok(Outgoing::Whole(whole.freeze()))
}

/// Passes bytes both ways. The pass ends with it.
async fn pass_on(
    client: OnUpgrade,
    backend: OnUpgrade,
    end: CancellationToken,
    pass: Option<Pass>,
) {
    let (client, backend) = match tokio::try_join!(client, backend) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "upgrade not completed");
            return;
        }
    };
    let (mut client, mut backend): (TokioIo<Upgraded>, TokioIo<Upgraded>) =
        (TokioIo::new(client), TokioIo::new(backend));
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut backend) => {}
        () = end.cancelled() => {
            // Both ends may be gone already; then there is nothing to end.
            let _ = client.shutdown().await;
            let _ = backend.shutdown().await;
        }
    }
    drop(pass);
}
