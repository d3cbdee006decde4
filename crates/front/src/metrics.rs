//! The front's figures in the text form that Prometheus reads (exposition format 0.0.4).

use crate::desk::Desk;
use crate::stats::{BOUNDS_US, CLASSES, Lane};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use segue_model::{Fault, FaultKind, Side};
use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Units that have lines of their own; of more only the sums are shown.
pub(crate) const UNITS_MAX: usize = 1_000;

/// Readers at once.
const READERS: usize = 8;

/// Pause between two tries to open a port that a predecessor has.
const AGAIN: Duration = Duration::from_millis(500);

/// How long a reader may take to ask.
const ASKING: Duration = Duration::from_secs(10);

/// How long a reader may stay.
const STAYING: Duration = Duration::from_secs(300);

/// Opens the port where figures are read.
///
/// # Errors
/// `SG0121` if it cannot be listened at.
pub(crate) async fn open(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(|e| {
        let op = format!("listen at {address} for readers of figures");
        Fault::new("SG0121", FaultKind::Conflict, op, e)
            .hint("free the address, or name another one as `metrics`")
    })
}

/// Answers readers until dropped. Without a listener it opens the port as soon as it is free.
pub(crate) async fn serve(first: Option<TcpListener>, address: SocketAddr, desk: Arc<Desk>) {
    let mut listener = first;
    let listener = loop {
        match listener.take() {
            Some(listener) => break listener,
            None => {
                tokio::time::sleep(AGAIN).await;
                listener = open(address).await.ok();
            }
        }
    };
    let room = Arc::new(Semaphore::new(READERS));
    loop {
        // Whoever comes when all places are taken waits in the kernel's queue.
        let Ok(seat) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let desk = desk.clone();
        tokio::spawn(async move {
            let _seat = seat;
            let service = service_fn(|request| answer(desk.clone(), request));
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(ASKING)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(STAYING, serving).await;
        });
    }
}

async fn answer(
    desk: Arc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let known = request.method() == Method::GET && request.uri().path() == "/metrics";
    let (status, text) = match known {
        true => (StatusCode::OK, desk.metrics().await),
        false => (StatusCode::NOT_FOUND, "GET /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Text that grows; each name is described once, before its first value.
#[derive(Default)]
pub(crate) struct Text(String);

/// Of which kind a figure is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Text {
    /// Describes a figure.
    pub(crate) fn figure(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes one value.
    pub(crate) fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push_str(if index == 0 { "{" } else { "," });
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{label}=\"{escaped}\"");
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// Returns the whole.
    pub(crate) fn done(self) -> String {
        self.0
    }
}

const CLASS_NAMES: [&str; CLASSES] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters of the sides of a unit, or of all.
pub(crate) struct Lanes<'a> {
    pub(crate) unit: &'a str,
    pub(crate) side: Side,
    pub(crate) lane: &'a Lane,
}

#[allow(clippy::cast_precision_loss)] // Prometheus knows no other numbers.
fn number(value: u64) -> f64 {
    value as f64
}

/// Writes what was counted.
pub(crate) fn lanes(text: &mut Text, all: &[Lanes<'_>]) {
    let name = "segue_front_requests_total";
    text.figure(name, Kind::Counter, "Requests answered, by class of status; none: no answer.");
    for Lanes { unit, side, lane } in all {
        for (class, count) in CLASS_NAMES.iter().zip(lane.classes()) {
            let labels = [("unit", *unit), ("side", side.as_str()), ("class", *class)];
            text.value(name, &labels, number(count));
        }
    }
    let name = "segue_front_failed_total";
    text.figure(name, Kind::Counter, "Requests that failed in the visitor's view.");
    for Lanes { unit, side, lane } in all {
        let labels = [("unit", *unit), ("side", side.as_str())];
        text.value(name, &labels, number(lane.totals().failed));
    }
    let name = "segue_front_clients";
    text.figure(name, Kind::Gauge, "Client addresses since the front started, nearly.");
    for Lanes { unit, side, lane } in all {
        let labels = [("unit", *unit), ("side", side.as_str())];
        text.value(name, &labels, number(lane.clients()));
    }
    let name = "segue_front_answer_seconds";
    text.figure(name, Kind::Histogram, "From forwarding a request to the head of its answer.");
    for Lanes { unit, side, lane } in all {
        let (answers, mut below) = (lane.answers(), 0);
        for (index, count) in answers.buckets.iter().enumerate() {
            below += count;
            let le = BOUNDS_US.get(index).map(|us| number(*us) / 1e6);
            let le = le.map_or_else(|| "+Inf".to_owned(), |le| le.to_string());
            let labels = [("unit", *unit), ("side", side.as_str()), ("le", &le)];
            text.value(&format!("{name}_bucket"), &labels, number(below));
        }
        let labels = [("unit", *unit), ("side", side.as_str())];
        text.value(&format!("{name}_sum"), &labels, number(answers.sum_us) / 1e6);
        text.value(&format!("{name}_count"), &labels, number(below));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_values_have_their_names() {
        let mut text = Text::default();
        text.figure("a_total", Kind::Counter, "A.");
        text.value("a_total", &[("unit", "x\"y\\z")], 2.0);
        text.value("b", &[], 0.5);
        let expected = "# HELP a_total A.\n# TYPE a_total counter\n\
                        a_total{unit=\"x\\\"y\\\\z\"} 2\nb 0.5\n";
        assert_eq!(text.done(), expected);
    }
}
