//! What the two databases hold, read with the administrator's login.

use crate::judge::{Order, TenantWrite};
use crate::world::{Server, Side, World};
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use std::collections::{HashMap, HashSet};

/// The first and the last name of the ledger's clients: all other orders are older.
#[derive(Debug, Clone)]
pub(crate) struct Names(pub(crate) String, pub(crate) String);

/// A connection to one side's server.
#[derive(Debug)]
pub(crate) struct Database {
    conn: Conn,
    schema: String,
}

impl Database {
    /// Connects to the server of a side.
    ///
    /// # Errors
    /// If the password cannot be read or the server does not let the login in.
    pub(crate) async fn connect(world: &World, side: Side) -> Result<Self> {
        let Server { address, admin, admin_password_file } = world.database.servers.of(side);
        let password = std::fs::read_to_string(admin_password_file)
            .with_context(|| format!("read {}", admin_password_file.display()))?;
        let options = OptsBuilder::default()
            .ip_or_hostname(address.ip().to_string())
            .tcp_port(address.port())
            .prefer_socket(false)
            .user(Some(admin))
            .pass(Some(password.trim_end()));
        let conn = Conn::new(options)
            .await
            .with_context(|| format!("connect to the database of the {side} at {address}"))?;
        let schema = format!("`{}`", world.database.schema);
        Ok(Self { conn, schema })
    }

    /// Reads the orders of the ledger's clients.
    ///
    /// # Errors
    /// If the query fails.
    pub(crate) async fn orders(&mut self, names: &Names) -> Result<Vec<Order>> {
        let statement = format!(
            "SELECT o.id, o.client, o.seq, COUNT(l.id) FROM {0}.orders o \
             LEFT JOIN {0}.order_lines l ON l.order_id = o.id \
             WHERE o.client BETWEEN ? AND ? GROUP BY o.id",
            self.schema
        );
        let row = |(id, client, seq, lines)| Order { id, client, seq, lines };
        let rows = self.conn.exec_map(statement, (&names.0, &names.1), row).await;
        rows.context("read the orders")
    }

    /// Reads which orders of the ledger's clients are there.
    ///
    /// # Errors
    /// If the query fails.
    pub(crate) async fn numbers(&mut self, names: &Names) -> Result<HashSet<(String, u64)>> {
        let statement =
            format!("SELECT client, seq FROM {}.orders WHERE client BETWEEN ? AND ?", self.schema);
        let rows: Vec<_> = self.conn.exec(statement, (&names.0, &names.1)).await?;
        Ok(rows.into_iter().collect())
    }

    /// Counts the orders of everybody else.
    ///
    /// # Errors
    /// If the query fails.
    pub(crate) async fn past_orders(&mut self, names: &Names) -> Result<u64> {
        let statement =
            format!("SELECT COUNT(*) FROM {}.orders WHERE client NOT BETWEEN ? AND ?", self.schema);
        let count: Option<u64> = self.conn.exec_first(statement, (&names.0, &names.1)).await?;
        Ok(count.unwrap_or(0))
    }

    /// Reads the visits by client.
    ///
    /// # Errors
    /// If the query fails.
    pub(crate) async fn visits(&mut self, names: &Names) -> Result<HashMap<String, u64>> {
        let statement = format!(
            "SELECT client, visits FROM {}.counters WHERE client BETWEEN ? AND ?",
            self.schema
        );
        let rows: Vec<_> = self.conn.exec(statement, (&names.0, &names.1)).await?;
        Ok(rows.into_iter().collect())
    }

    /// Counts the rows by key of a job.
    ///
    /// # Errors
    /// If the query fails.
    pub(crate) async fn jobs(&mut self) -> Result<HashMap<String, u64>> {
        let statement =
            format!("SELECT job_key, COUNT(*) FROM {}.jobs GROUP BY job_key", self.schema);
        let rows: Vec<_> = self.conn.query(statement).await.context("read the jobs")?;
        Ok(rows.into_iter().collect())
    }

    /// Reads the rows of a tenant as they are at one moment.
    ///
    /// # Errors
    /// If the query fails.
    pub(crate) async fn tenant(&mut self, schema: &str) -> Result<Vec<TenantWrite>> {
        let statement = format!("SELECT id, revision, body FROM `{schema}`.entries");
        let row = |(id, revision, body)| TenantWrite { id, revision, body };
        self.conn.query_map(statement, row).await.context("read the tenant's rows")
    }

    /// Returns the checksum of the tenant's archive; nothing if the table is gone.
    ///
    /// # Errors
    /// If the query fails.
    pub(crate) async fn archive_checksum(&mut self, schema: &str) -> Result<Option<u64>> {
        let statement = format!("CHECKSUM TABLE `{schema}`.archive");
        let row: Option<(String, Option<u64>)> = self.conn.query_first(statement).await?;
        Ok(row.and_then(|(_, checksum)| checksum))
    }

    /// Returns whether the server has a schema of this name.
    ///
    /// # Errors
    /// If the query fails.
    pub(crate) async fn has_schema(&mut self, schema: &str) -> Result<bool> {
        let statement = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?";
        let count: Option<u64> = self.conn.exec_first(statement, (schema,)).await?;
        Ok(count.unwrap_or(0) > 0)
    }

    /// Ends the connection.
    ///
    /// # Errors
    /// If the server does not take the farewell.
    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.conn.disconnect().await?)
    }
}
