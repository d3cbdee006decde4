//! One request of a visitor.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// What came back.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends a request on a connection of its own and reads the whole answer.
pub(crate) async fn send(
    front: SocketAddr,
    method: Method,
    host: &str,
    path: &str,
) -> Result<Answered, String> {
    let stream = TcpStream::connect(front).await.map_err(|e| format!("connect: {e}"))?;
    // As above: a loopback.
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| format!("begin: {e}"))?;
    let driving = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", host)
        .header("User-Agent", "segue-rehearsal")
        .body(Empty::<Bytes>::new())
        .map_err(|e| format!("build: {e}"))?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(|e| format!("send: {e}"))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|e| format!("read: {e}"))?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Answered { status, body })
    };
    let answered = answered.await;
    driving.abort();
    answered
}
