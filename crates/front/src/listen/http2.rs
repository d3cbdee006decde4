//! A client's connection of HTTP/2 (RFC 9113), after the handshake of TLS.
//!
//! In clear there is none: a front stands before servers that may not know it, and a request
//! that changes to it half way would carry others past every hold.

use super::serve::Guest;
use crate::front::Front;
use crate::limits::{BODY_WINDOW, Limits, WINDOW};
use crate::proxy::{Conn, Scheme, Streams, Talk, handle_stream, watch};
use crate::tls::Shown;
use crate::wire::HEAD_MAX;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// What is kept of one answer beside the part in hand, bytes, while a client does not take it.
/// Below it a long answer goes out in pieces so small that each costs more than what it carries.
const SEND: usize = 64 << 10;

/// Streams that a client reset before anybody looked at them; and those that were reset because
/// what came on them is no request. One more of either ends the connection.
const RESET_UNSEEN: usize = 20;
const RESET_WRONG: usize = 100;

/// Runs what serves one request each.
#[derive(Clone)]
struct Tasks(Arc<Front>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, serving: F) {
        self.0.tasks().spawn(watch(serving, self.0.limits().taken_idle));
    }
}

fn builder(front: &Arc<Front>) -> http2::Builder<Tasks> {
    let Limits { streams, ping, .. } = **front.limits();
    let mut builder = http2::Builder::new(Tasks(front.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(HEAD_MAX as u32)
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_local_error_reset_streams(RESET_WRONG)
        .initial_stream_window_size(BODY_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND)
        .keep_alive_interval(ping)
        .keep_alive_timeout(ping);
    builder
}

impl Guest {
    /// Serves HTTP/2 over a stream that ends in the connection's socket. It is told to open no
    /// further request (GOAWAY) once the front closes, or when it was without one for as long as
    /// a connection of HTTP/1 may be idle; what runs then is finished.
    pub(super) async fn http2<S>(self, stream: S, shown: Shown)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { front, entrance, peer, place, socket, .. } = self;
        let (number, idle) = (place.number(), front.limits().head_read);
        let streams = Streams::new(place, &front);
        let talk = Talk::Many(shown);
        let conn = Conn::new(front.clone(), entrance, Scheme::Https, peer, number, socket, talk);
        let asked = streams.clone();
        let service =
            service_fn(move |request| handle_stream(conn.clone(), asked.clone(), request));
        let mut serving = pin!(builder(&front).serve_connection(TokioIo::new(stream), service));
        let (mut closes, mut leaving, mut begun) = (pin!(front.closes()), false, 0);
        let mut rest = pin!(tokio::time::sleep(idle));
        loop {
            tokio::select! {
                biased;
                served = &mut serving => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "client connection ended");
                    }
                    return;
                }
                () = &mut closes, if !leaving => leaving = true,
                () = &mut rest => {
                    rest.as_mut().reset(tokio::time::Instant::now() + idle);
                    let (running, so_far) = streams.counts();
                    let quiet = running == 0 && so_far == begun;
                    begun = so_far;
                    if quiet && leaving {
                        // It does not answer that it was told.
                        return;
                    }
                    if !quiet {
                        continue;
                    }
                    leaving = true;
                }
            }
            serving.as_mut().graceful_shutdown();
        }
    }
}
