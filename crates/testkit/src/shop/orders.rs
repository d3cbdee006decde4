//! Orders: one transaction each.

use super::answer::{Body, Refusal, text};
use super::database::close;
use super::is_name;
use super::serve::Shop;
use super::uploads::whole_body;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    client: String,
    seq: u64,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    product: u32,
    quantity: u32,
}

/// Takes an order. `(client, seq)` is not unique: an order that was taken twice must show.
pub(crate) async fn order(
    shop: &Shop,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let body = whole_body(request).await?;
    let order: Order = serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad(format!("not an order: {error}")))?;
    if !is_name(&order.client) || order.lines.is_empty() || order.lines.len() > 50 {
        return Err(Refusal::bad("not an order: client or lines"));
    }
    let mut conn = shop.connect().await?;
    let id = store(&mut conn, &order).await?;
    close(conn).await;
    let answer = serde_json::json!({"id": id, "client": order.client, "seq": order.seq});
    Ok(text(StatusCode::CREATED, "application/json", answer.to_string()))
}

/// Stores order, lines and stock in one transaction; returns the order's id.
async fn store(conn: &mut Conn, order: &Order) -> Result<u64, Refusal> {
    let mut transaction = conn.start_transaction(TxOpts::default()).await?;
    // The client's name was checked: letters, digits, dashes.
    transaction
        .query_drop(format!(
            "INSERT INTO orders (client, seq, placed_at, note) \
             VALUES ('{client}', {seq}, NOW(3), RPAD('order {seq} of {client}', 200, '.'))",
            client = order.client,
            seq = order.seq
        ))
        .await?;
    let id = transaction.last_insert_id().ok_or_else(|| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the order got no number")
    })?;
    let lines: Vec<String> = order
        .lines
        .iter()
        .map(|line| {
            format!(
                "SELECT {id}, id, {}, price_cents, name FROM products WHERE id = {}",
                line.quantity, line.product
            )
        })
        .collect();
    let cases: Vec<String> = order
        .lines
        .iter()
        .map(|line| format!("IF(id = {}, {}, 0)", line.product, line.quantity))
        .collect();
    let products: Vec<String> = order.lines.iter().map(|line| line.product.to_string()).collect();
    // The stock first: one statement takes its exclusive row locks in the order of ids, so
    // that two orders with the same products never wait for each other. Reading the products
    // before would take shared locks that both must then raise.
    transaction
        .query_drop(format!(
            "UPDATE products SET stock = stock - ({}) WHERE id IN ({})",
            cases.join(" + "),
            products.join(", ")
        ))
        .await?;
    transaction
        .query_drop(format!(
            "INSERT INTO order_lines (order_id, product, quantity, price_cents, label) {}",
            lines.join(" UNION ALL ")
        ))
        .await?;
    if transaction.affected_rows() != order.lines.len() as u64 {
        transaction.rollback().await?;
        return Err(Refusal::bad("not an order: no such product"));
    }
    transaction.commit().await?;
    Ok(id)
}
