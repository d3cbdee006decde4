//! The comparison is real and leaves the world as it was.

use crate::{admin, small_world};
use mysql_async::prelude::Queryable;
use segue_testkit::world::Side;

#[tokio::test]
async fn todays_practice_interrupts_and_leaves_nothing_behind() {
    let (world, _dir) = small_world();
    let before = world.dump_zone().unwrap();
    let interruption_ms = world.practice_move().unwrap();
    // Between stopping the source and the first visitor with the new address lies at least
    // the dump, and at most some rounds of TTL and the name servers' own pace.
    assert!((200..45_000).contains(&interruption_ms), "{interruption_ms} ms");
    let foreign = |zone: Vec<String>| -> Vec<String> {
        zone.into_iter().filter(|line| !line.contains(" SOA ")).collect()
    };
    assert_eq!(foreign(world.dump_zone().unwrap()), foreign(before));
    for side in Side::BOTH {
        let mut database = admin(world.description(), side).await;
        let left: Vec<String> = database.query("SHOW DATABASES LIKE 'practice'").await.unwrap();
        assert!(left.is_empty());
        database.disconnect().await.unwrap();
    }
    let mut target = admin(world.description(), Side::Target).await;
    let logged: Option<String> = target.query_first("SELECT @@gtid_binlog_pos").await.unwrap();
    assert_eq!(logged.as_deref(), Some(""), "nothing of it was logged at the target");
    target.disconnect().await.unwrap();
    world.check().unwrap();
}
