//! A small HTTP server for the stand-ins.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// A request as the stand-ins look at it.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns a value of the query, its `%XX` decoded.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.into_iter().find(|(key, _)| *key == name)?.1;
        let (mut octets, mut rest) = (Vec::new(), value.as_bytes());
        while let Some((first, behind)) = rest.split_first() {
            if *first == b'%' {
                let hex = std::str::from_utf8(&behind[..2]).unwrap();
                octets.push(u8::from_str_radix(hex, 16).unwrap());
                rest = &behind[2..];
            } else {
                octets.push(*first);
                rest = behind;
            }
        }
        Some(String::from_utf8(octets).unwrap())
    }
}

/// An answer: status, `Retry-After` in seconds, body.
pub(crate) type Answer = (u16, Option<u64>, String);

/// Serves until the test ends.
pub(crate) async fn serve(handle: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handle = handle.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let handle = handle.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                    let asked = Asked {
                        method: head.method.to_string(),
                        path: head.uri.path().to_owned(),
                        query: head.uri.query().unwrap_or_default().to_owned(),
                        headers: head.headers,
                        body,
                    };
                    let (status, retry_after, body) = handle(&asked);
                    let mut answer = Response::builder().status(status);
                    if let Some(seconds) = retry_after {
                        answer = answer.header("Retry-After", seconds);
                    }
                    Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body))).unwrap())
                }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    address
}
