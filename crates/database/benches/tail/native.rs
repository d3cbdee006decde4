//! Native replication of the same schema.

use crate::load::connect;
use segue_database::Position;
use std::net::SocketAddr;

/// Lets a server follow a source from a position, the schema alone.
pub(crate) async fn follow(at: SocketAddr, source: SocketAddr, begin: &Position) {
    let mut session = connect(at).await;
    session
        .run(format!(
            "SET GLOBAL gtid_slave_pos = '{begin}'; SET GLOBAL replicate_do_db = 'bench'; \
             CHANGE MASTER TO master_host = '{}', master_port = {}, master_user = 'root', \
             master_use_gtid = slave_pos; START SLAVE",
            source.ip(),
            source.port()
        ))
        .await
        .unwrap();
}

/// Stops applying, or goes on with it. Reading goes on, as with a replica that is behind.
pub(crate) async fn pause(at: SocketAddr, paused: bool) {
    let verb = if paused { "STOP" } else { "START" };
    connect(at).await.run(format!("{verb} SLAVE SQL_THREAD")).await.unwrap();
}

/// Waits until a server has applied everything up to a position.
pub(crate) async fn wait(at: SocketAddr, position: &Position) {
    let query = format!("SELECT MASTER_GTID_WAIT('{position}', 300)");
    let waited: i64 = connect(at).await.one(query).await.unwrap();
    assert_eq!(waited, 0, "native replication did not get there");
}

/// Ends it.
pub(crate) async fn end(at: SocketAddr) {
    connect(at).await.run("STOP SLAVE; RESET SLAVE ALL").await.unwrap();
}
