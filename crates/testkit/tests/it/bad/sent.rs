//! A statement of somebody else while the controller sleeps.

use super::scene::Scene;
use crate::admin;
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use segue_testkit::world::{Description, Side};
use std::sync::mpsc;
use std::time::Duration;

/// A statement that a session sends while the controller sleeps; it may wait at the fence.
pub(super) struct Sent {
    answer: mpsc::Receiver<Result<(), String>>,
}

impl Sent {
    /// As the shop's login, with the schema as default.
    pub(super) fn as_customer(scene: &Scene, statement: &str) -> Self {
        let world = scene.description();
        let address = world.database.source.address;
        let password = Description::secret(&world.database.password_file).unwrap();
        let opts = mysql_async::OptsBuilder::default()
            .ip_or_hostname(address.ip().to_string())
            .tcp_port(address.port())
            .prefer_socket(false)
            .user(Some(&world.database.user))
            .pass(Some(password))
            .db_name(Some(&world.database.schema));
        let statement = statement.to_owned();
        Self::new(scene, async move {
            let mut conn = mysql_async::Conn::new(opts).await.map_err(|e| e.to_string())?;
            conn.query_drop(statement).await.map_err(|e| e.to_string())
        })
    }

    /// As an administrator without a default schema.
    pub(super) fn as_administrator(scene: &Scene, statement: &str) -> Self {
        let world = scene.description().clone();
        let statement = statement.to_owned();
        Self::new(scene, async move {
            let mut conn = admin(&world, Side::Source).await;
            conn.query_drop(statement).await.map_err(|e| e.to_string())
        })
    }

    fn new(scene: &Scene, work: impl Future<Output = Result<(), String>> + Send + 'static) -> Self {
        let (told, answer) = mpsc::channel();
        scene.runtime.spawn(async move {
            let _ = told.send(work.await);
        });
        Self { answer }
    }

    /// Waits until it waits at the fence, as the server shows it.
    pub(super) fn waits(&self, scene: &Scene) -> Result<()> {
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist \
                       WHERE state LIKE 'Waiting for table%lock%' AND info LIKE 'DROP TABLE%'";
        scene.until("the statement waits at the fence", || {
            Ok(scene.number(Side::Source, waiting)? > 0)
        })
    }

    pub(super) fn answer(self) -> Result<Result<(), String>> {
        self.answer.recv_timeout(Duration::from_secs(20)).context("no answer to the statement")
    }
}
