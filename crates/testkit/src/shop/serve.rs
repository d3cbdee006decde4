//! The shop's own server, behind the web server of its side.

use super::answer::{Body, Refusal, text};
use super::faults::Faults;
use super::{database, orders, pages, sessions, uploads};
use crate::world::{Description, Side};
use anyhow::{Context, Result};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mysql_async::{Conn, Opts};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Dynamic requests at work at once, as PHP's process manager limits its children. The
/// database takes 151 connections, and others need some of them.
const WORKERS: usize = 64;

/// One instance of the shop.
pub(crate) struct Shop {
    pub(crate) side: Side,
    pub(crate) tree: PathBuf,
    opts: Opts,
    workers: Semaphore,
    faults: Faults,
}

impl Shop {
    /// Opens a new database connection.
    pub(crate) async fn connect(&self) -> Result<Conn, Refusal> {
        Ok(Conn::new(self.opts.clone()).await?)
    }
}

/// Serves the shop at `side` of the world described by `world` until SIGTERM.
pub async fn serve(world: &Path, side: Side) -> Result<()> {
    let description = Description::load(world)?;
    let shop = Arc::new(Shop {
        side,
        tree: description.trees.get(side).clone(),
        opts: database::of_shop(&description, side)?,
        workers: Semaphore::new(WORKERS),
        faults: Faults::new(description.shop_dir.get(side).clone()),
    });
    let address = *description.shop.get(side);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address} for the shop at the {side}"))?;
    let mut end = super::termination()?;
    let running = TaskTracker::new();
    loop {
        tokio::select! {
            _ = end.recv() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    running.spawn(connection(shop.clone(), stream));
                }
                // Out of file descriptors: waiting helps, ending does not.
                Err(error) => {
                    tracing::warn!(%error, "accept at {address}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    running.close();
    // Requests at work finish; an event stream never does.
    if tokio::time::timeout(Duration::from_secs(2), running.wait()).await.is_err() {
        tracing::info!(left = running.len(), "ended with connections open");
    }
    Ok(())
}

async fn connection(shop: Arc<Shop>, stream: TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "set TCP_NODELAY");
    }
    let service = service_fn(move |request| {
        let shop = shop.clone();
        async move { Ok::<_, Infallible>(answer(&shop, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(shop: &Arc<Shop>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let mut answer = match route(shop, request).await {
        Ok(answer) => answer,
        Err(refusal) => {
            tracing::debug!(%path, status = %refusal.status, "{}", refusal.text);
            refusal.into()
        }
    };
    answer.headers_mut().insert("x-shop-side", HeaderValue::from_static(shop.side.as_str()));
    answer
}

async fn route(shop: &Arc<Shop>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/healthz") => return Ok(text(StatusCode::OK, "text/plain", "ok")),
        (&Method::GET, "/events") => return Ok(pages::events()),
        _ => {}
    }
    let (slow, fails) = shop.faults.now();
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    if fails {
        return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "this shop was told to fail"));
    }
    let _worker =
        shop.workers.acquire().await.map_err(|_| {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the shop is about to end")
        })?;
    match (request.method(), path.as_str()) {
        (&Method::GET, "/catalogue") => pages::catalogue(shop, &request).await,
        (&Method::GET, "/report") => pages::report(shop).await,
        (&Method::GET, "/account") => sessions::account(shop, &request).await,
        (&Method::POST, "/login") => sessions::login(shop, request).await,
        (&Method::POST, "/order") => orders::order(shop, request).await,
        (&Method::POST, "/upload") => uploads::upload(shop, request).await,
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, format!("nothing at {path}"))),
    }
}

/// Returns the value of `name` in a query or form body. Values of the shop need no decoding.
pub(crate) fn field<'a>(form: &'a str, name: &str) -> Option<&'a str> {
    form.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == name).map(|p| p.1)
}
