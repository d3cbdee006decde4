//! Pages that only read: catalogue, report, event stream.

use super::answer::{Body, Refusal, text};
use super::database::close;
use super::serve::{Shop, field};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use mysql_async::prelude::Queryable;
use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

/// Products on one page of the catalogue.
const PAGE: u64 = 20;

/// Shows twenty products.
pub(crate) async fn catalogue(
    shop: &Shop,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let page: u64 = field(request.uri().query().unwrap_or_default(), "page")
        .unwrap_or("1")
        .parse()
        .map_err(|_| Refusal::bad("page is not a number"))?;
    let first = page.saturating_sub(1).saturating_mul(PAGE).saturating_add(1);
    let last = first.saturating_add(PAGE - 1);
    let mut conn = shop.connect().await?;
    let products: Vec<(u64, String, u64, i64, String)> = conn
        .query(format!(
            "SELECT id, name, price_cents, stock, LEFT(description, 80) FROM products \
             WHERE id BETWEEN {first} AND {last} ORDER BY id"
        ))
        .await?;
    close(conn).await;
    let mut html = format!("<!doctype html><title>segue-shop catalogue, page {page}</title><ul>\n");
    for (id, name, price, stock, description) in products {
        // Writing to a String cannot fail.
        let _ = writeln!(
            html,
            "<li id=p{id}><b>{name}</b> {}.{:02} ({stock} left) {description}</li>",
            price / 100,
            price % 100
        );
    }
    html.push_str("</ul>\n");
    Ok(text(StatusCode::OK, "text/html", html))
}

/// Runs a query of five seconds, as a shop's monthly report does.
pub(crate) async fn report(shop: &Shop) -> Result<Response<Body>, Refusal> {
    let mut conn = shop.connect().await?;
    let row: Option<(u8, u64, Option<u64>)> = conn
        .query_first(
            "SELECT SLEEP(5), COUNT(*), CAST(SUM(quantity * price_cents) AS UNSIGNED) FROM \
             (SELECT quantity, price_cents FROM order_lines ORDER BY id DESC LIMIT 50000) AS recent",
        )
        .await?;
    close(conn).await;
    let (_, lines, cents) =
        row.ok_or_else(|| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no report"))?;
    let cents = cents.unwrap_or(0);
    Ok(text(StatusCode::OK, "text/plain", format!("report: {lines} lines, {cents} cents\n")))
}

/// Opens a stream of one event a second that never ends by itself.
pub(crate) fn events() -> Response<Body> {
    let ticks = stream::unfold(0_u64, |number| async move {
        if number > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let event = Bytes::from(format!("id: {number}\ndata: tick {number}\n\n"));
        Some((Ok::<_, Infallible>(Frame::data(event)), number + 1))
    });
    let mut answer = Response::new(StreamBody::new(ticks).boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}
