//! Connections of the shop to its side's database.

use crate::world::{Description, Side};
use anyhow::Result;
use mysql_async::{Conn, Opts, OptsBuilder};
use std::net::SocketAddr;

/// Returns how the shop's login connects to the database of `side`.
pub(crate) fn of_shop(description: &Description, side: Side) -> Result<Opts> {
    let database = &description.database;
    let password = Description::secret(&database.password_file)?;
    Ok(options(database.server(side).address, &database.user, &password, &database.schema))
}

/// Returns how a login connects to a schema.
///
/// Limits are given, so that no query is spent on asking for them: there is a new
/// connection for every request.
pub(crate) fn options(address: SocketAddr, user: &str, password: &str, schema: &str) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .prefer_socket(false)
        .user(Some(user))
        .pass(Some(password))
        .db_name(Some(schema))
        .max_allowed_packet(Some(16 << 20))
        .wait_timeout(Some(28_800))
        .stmt_cache_size(0)
        .into()
}

/// Ends a connection politely. How it ends does not matter: the work is done.
pub(crate) async fn close(conn: Conn) {
    let _ = conn.disconnect().await;
}
