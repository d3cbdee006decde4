//! The event streams that are held open all the time.

use crate::fail::Fail;
use crate::mix::Kind;
use crate::requests::{Ask, connect};
use crate::site::{About, LIMIT, Site, Trace};
use crate::wire::Body;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Time between a failure and the next attempt.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between a clean end and the reconnect.
const RETRY: Duration = Duration::from_millis(100);
/// Longest silence on a stream that has one event a second.
const SILENCE: Duration = Duration::from_secs(6);

/// How a stream ended without failing.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The site ended it cleanly.
    Site,
    /// The load is over.
    Stopped,
}

/// Holds a stream open until stopped. A clean end is followed by a reconnect with
/// `Last-Event-ID`; each stream is one line in the ledger, written when it ends.
pub(crate) async fn hold(site: Arc<Site>, client: usize, stop: CancellationToken) {
    let mut last_event = String::new();
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let (id, kind) = (site.take_id(), Kind::Events);
        let mut about = About { id, kind, client, intended: begun, answered: begun, done: begun };
        let mut trace = Trace::default();
        site.stats.begin();
        let outcome = stream(&site, &mut about, &mut trace, &mut last_event, &stop).await;
        about.done = Instant::now();
        if trace.status.is_none() {
            about.answered = about.done;
        }
        let pause = match &outcome {
            Ok(End::Site) => RETRY,
            Ok(End::Stopped) => Duration::ZERO,
            Err(_) => PAUSE,
        };
        if outcome == Ok(End::Site) {
            site.stats.reconnect();
        }
        site.finish(&about, trace, outcome.map(|_| ()));
        // The pause ends early when the load stops.
        let _ = timeout(pause, stop.cancelled()).await;
    }
}

async fn stream(
    site: &Site,
    about: &mut About,
    trace: &mut Trace,
    last_event: &mut String,
    stop: &CancellationToken,
) -> Result<End, Fail> {
    let mut ask = Ask::get("/events");
    if !last_event.is_empty() {
        ask.more = format!("Last-Event-ID: {last_event}\r\n");
    }
    let opened = timeout_at(about.intended + LIMIT, async {
        trace.sent = Some(Instant::now());
        let mut conn = connect(site, &site.clients[about.client], trace).await?;
        conn.send(&ask.bytes(site, true)).await?;
        let head = conn.head().await?;
        Ok::<_, Fail>((conn, head))
    });
    let (mut conn, head) = opened.await.map_err(|_| Fail::Timeout)??;
    about.answered = Instant::now();
    trace.status = Some(head.status);
    trace.side = head.side;
    if head.status != 200 {
        return Err(Fail::Status(head.status));
    }
    let mut body = Body::new(head.framing);
    let mut lines = Vec::new();
    loop {
        let more = tokio::select! {
            more = timeout(SILENCE, conn.more(&mut body, &mut lines)) => more,
            () = stop.cancelled() => return Ok(End::Stopped),
        };
        if !more.map_err(|_| Fail::Timeout)?? {
            return Ok(End::Site);
        }
        take_ids(&mut lines, last_event);
    }
}

/// Takes whole lines out of `lines` and remembers the last event's id.
fn take_ids(lines: &mut Vec<u8>, last_event: &mut String) {
    let Some(end) = lines.iter().rposition(|byte| *byte == b'\n') else { return };
    for line in lines[..end].split(|byte| *byte == b'\n') {
        if let Some(id) = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix("id:")) {
            *last_event = id.trim().to_owned();
        }
    }
    lines.drain(..=end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_whole_event_id() {
        let mut lines = b"id: 7\r\ndata: x\r\n\r\nid: 8\n\nid: 9".to_vec();
        let mut last = String::new();
        take_ids(&mut lines, &mut last);
        assert_eq!((last.as_str(), lines.as_slice()), ("8", b"id: 9".as_slice()));
    }
}
