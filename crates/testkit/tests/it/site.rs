//! The shop as its clients see it.

use crate::http::{get, post, read_until};
use crate::{admin, small_world};
use mysql_async::prelude::Queryable;
use segue_testkit::world::{Side, static_path};
use std::time::{Duration, Instant};

#[test]
fn serves_every_endpoint_and_names_its_side() {
    let (world, _dir) = small_world();
    let site = world.description().site.source;
    for (path, text) in [
        ("/healthz", "ok"),
        ("/catalogue?page=3", "segue-shop catalogue"),
        (&static_path(1234), "file 01234\n"),
    ] {
        let answer = get(site, path, None);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.starts_with(text) || answer.body.contains(text), "{path}");
        assert_eq!(answer.header("x-shop-side"), Some("source"), "{path}");
    }
    assert_eq!(get(site, "/catalogue?page=3", None).body.matches("<li id=p").count(), 20);

    let body = "a picture";
    let uploaded = post(site, "/upload?key=k1-picture", body);
    assert_eq!(
        (uploaded.status, uploaded.body.as_str()),
        (201, blake3::hash(body.as_bytes()).to_hex().as_str())
    );
    assert_eq!(get(site, "/uploads/k1/k1-picture", None).body, body);

    let begun = Instant::now();
    let report = get(site, "/report", None);
    assert_eq!(report.status, 200);
    assert!(
        begun.elapsed() >= Duration::from_secs(5) && report.body.starts_with("report: 50000 lines")
    );

    let events = read_until(site, "/events", "data: tick 1");
    assert!(events.contains("data: tick 0"));
    assert!(events.to_lowercase().contains("x-shop-side: source"));

    // The target's web server and shop are up, and there is nothing behind them.
    let target = world.description().backend.target;
    assert_eq!(get(target, "/healthz", None).header("x-shop-side"), Some("target"));
    assert_eq!(get(target, "/catalogue?page=1", None).status, 500);
    assert_eq!(get(target, &static_path(1234), None).status, 404);

    // What nginx served stands in its log, in combined format.
    let log = std::fs::read_to_string(&world.description().access_log.source).unwrap();
    assert!(log.contains("\"GET /catalogue?page=3 HTTP/1.0\" 200"));
}

#[tokio::test]
async fn an_order_is_taken_whole_or_not_at_all() {
    let (world, _dir) = small_world();
    let site = world.description().site.source;
    let mut database = admin(world.description(), Side::Source).await;
    let stock = "SELECT CAST(SUM(stock) AS SIGNED) FROM shop.products WHERE id IN (7, 9)";
    let before: Option<i64> = database.query_first(stock).await.unwrap();

    let good = r#"{"client":"c1","seq":42,"lines":[{"product":9,"quantity":2},{"product":7,"quantity":1}]}"#;
    let answer = post(site, "/order", good);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&answer["client"], &answer["seq"]), (&"c1".into(), &42.into()));
    let rows: Vec<(u32, u32)> = database
        .query(format!(
            "SELECT product, quantity FROM shop.order_lines WHERE order_id = {} ORDER BY product",
            answer["id"]
        ))
        .await
        .unwrap();
    assert_eq!(rows, [(7, 1), (9, 2)]);
    let after: Option<i64> = database.query_first(stock).await.unwrap();
    assert_eq!(before.unwrap() - after.unwrap(), 3);

    // The second product does not exist: nothing of the order may stay.
    let bad = r#"{"client":"c1","seq":43,"lines":[{"product":7,"quantity":1},{"product":999999,"quantity":1}]}"#;
    assert_eq!(post(site, "/order", bad).status, 400);
    let (orders, counted): (u64, u64) = database
        .query_first(
            "SELECT (SELECT COUNT(*) FROM shop.orders WHERE client = 'c1'), \
             (SELECT CAST(SUM(orders) AS UNSIGNED) FROM shop.order_stats)",
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!(orders, 1);
    assert_eq!(counted, world.description().rows.orders + 1, "the trigger counts what was taken");
    assert_eq!(database.query_first::<i64, _>(stock).await.unwrap(), after);

    // The same order twice shows as two.
    assert_eq!(post(site, "/order", good).status, 201);
    let twice: Option<u64> = database
        .query_first("SELECT COUNT(*) FROM shop.orders WHERE client = 'c1' AND seq = 42")
        .await
        .unwrap();
    assert_eq!(twice, Some(2));
    database.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_login_lives_in_its_session_file_and_an_account_page_writes() {
    let (world, _dir) = small_world();
    let site = world.description().site.source;
    let login = post(site, "/login", "client=c9");
    assert_eq!(login.status, 204);
    let token = login.header("set-cookie").unwrap().strip_prefix("sid=").unwrap();
    let token = token.split(';').next().unwrap();
    for _ in 0..3 {
        let account = get(site, "/account", Some(token));
        assert_eq!((account.status, account.body.as_str()), (200, "account of c9\n"));
    }
    let file = world.description().trees.source.join("sessions").join(format!("sess_{token}"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "client|s:c9;visits|i:0000000003;");
    let mut database = admin(world.description(), Side::Source).await;
    let visits: (u64, u64) = database
        .query_first(format!(
            "SELECT s.visits, c.visits FROM shop.sessions s JOIN shop.counters c USING (client) \
             WHERE s.token = '{token}'"
        ))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(visits, (3, 3));
    database.disconnect().await.unwrap();
    std::fs::remove_file(file).unwrap();
    assert_eq!(get(site, "/account", Some(token)).status, 401);
}
