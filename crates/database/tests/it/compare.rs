//! The comparison sees what a plain checksum does not.

use crate::servers::Turn;
use crate::shop::{Run, fill};
use segue_database::verification::{self, Verified, Wish};
use segue_model::Side::{Source, Target};
use segue_model::UnitName;
use segue_port::NoProgress;

/// Verifies by itself, beside the run.
async fn verified(turn: &Turn) -> Verified {
    let servers = &turn.pair.servers;
    let plan = turn.pair.plan(servers.source.address, servers.target.address);
    let (dir, unit) = (tempfile::tempdir().unwrap(), UnitName::from("shop"));
    let notes = verification::file(dir.path(), &unit, &plan);
    let wish = Wish::default();
    verification::verify(&plan, &unit, &wish, (&notes, "plan"), &NoProgress).await.unwrap()
}

#[tokio::test]
async fn sees_every_kind_of_sabotage_at_the_target() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut source = turn.root(Source).await;
    source
        .run(
            "USE shop; CREATE TABLE texts (a VARCHAR(9), b VARCHAR(9), c VARCHAR(9) CHARACTER SET latin1, \
             d VARCHAR(9) CHARACTER SET ucs2, KEY (a)); \
             INSERT INTO texts VALUES ('p|1|q', 'r', 'caf\u{e9}', '\u{20ac}'), (NULL, 'x', NULL, '')",
        )
        .await
        .unwrap();
    let mut run = Run::begin(&turn).await;
    run.steps(&["claim", "seed", "follow"]).await;
    let mut root = turn.root(Target).await;
    root.run("SET sql_log_bin = 0, foreign_key_checks = 0; USE shop").await.unwrap();
    for (what, change, back) in [
        (
            "a border moved between texts that hold the separator",
            "UPDATE texts SET a = 'p', b = '1|q|r' WHERE b = 'r'",
            "UPDATE texts SET a = 'p|1|q', b = 'r' WHERE a = 'p'",
        ),
        (
            "a NULL and a text exchanged",
            "UPDATE texts SET a = 'x', b = NULL WHERE a IS NULL",
            "UPDATE texts SET a = NULL, b = 'x' WHERE b IS NULL",
        ),
        (
            "a character of another set",
            "UPDATE texts SET d = '\u{20ad}' WHERE b = 'r'",
            "UPDATE texts SET d = '\u{20ac}' WHERE b = 'r'",
        ),
        (
            "values of equal length exchanged between two rows",
            "UPDATE big SET v = CASE id WHEN 1001 THEN (SELECT MD5(1002)) ELSE (SELECT MD5(1001)) END WHERE id IN (1001, 1002)",
            "UPDATE big SET v = MD5(id) WHERE id IN (1001, 1002)",
        ),
        (
            "NULL moved to another column",
            "UPDATE orders SET total = NULL, note = '12.5000' WHERE id = 1; UPDATE orders SET client = 'bob' WHERE id = 1",
            "UPDATE orders SET client = 'ada', total = 12.5, note = 'a\\tb\\nc\\\\d' WHERE id = 1",
        ),
        (
            "one pair of equal rows for another",
            "UPDATE audit SET what = 'b' WHERE what = 'a'",
            "UPDATE audit SET what = 'a' WHERE what = 'b'",
        ),
        (
            "an empty text for NULL",
            "UPDATE orders SET note = '' WHERE id = 2",
            "UPDATE orders SET note = NULL WHERE id = 2",
        ),
        (
            "a float's last digit",
            "UPDATE odd SET f = 0.10000001 WHERE id = 1",
            "UPDATE odd SET f = 0.1 WHERE id = 1",
        ),
        ("a row too few", "DELETE FROM big WHERE id = 7", "INSERT INTO big VALUES (7, MD5(7))"),
        (
            "a byte in a long value",
            "UPDATE odd SET blo = x'000103' WHERE id = 1",
            "UPDATE odd SET blo = x'000102' WHERE id = 1",
        ),
        ("a table more", "CREATE TABLE extra (id INT PRIMARY KEY)", "DROP TABLE extra"),
        (
            "another index",
            "ALTER TABLE orders DROP KEY client",
            "ALTER TABLE orders ADD KEY client (client)",
        ),
        (
            "another trigger",
            "DROP TRIGGER orders_in; CREATE TRIGGER orders_in AFTER INSERT ON orders FOR EACH ROW INSERT INTO audit VALUES (NEW.client, 0)",
            "DROP TRIGGER orders_in; SET NAMES utf8mb4, sql_mode = @@GLOBAL.sql_mode; SELECT 1",
        ),
    ] {
        root.run(change).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        let found = run.replica.compare_live().await.unwrap();
        assert_eq!(found.differences.len(), 1, "{what}: {:?}", found.differences);
        let told = verified(&turn).await;
        assert_eq!(told.differences, found.differences, "{what}: by itself");
        assert!(told.one_moment, "{what}");
        let different = &found.differences[0];
        let named = different.what != "rows"
            || different.key.is_empty()
            || different
                .ranges
                .iter()
                .any(|range| !range.changed.is_empty() || !range.only_source.is_empty());
        assert!(named, "{what}: no key is named: {different:?}");
        root.run(back).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    let found = run.replica.compare_live().await.unwrap();
    let left: Vec<&str> = found.differences.iter().map(|d| d.what.as_str()).collect();
    assert_eq!(left, ["missing at target"], "only the trigger: {:?}", found.differences);
}

#[tokio::test]
async fn says_so_if_a_row_is_too_long_to_be_hashed() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut run = Run::begin(&turn).await;
    run.steps(&["claim", "seed", "follow"]).await;
    let columns: Vec<String> = (0..18).map(|number| format!("t{number} TEXT")).collect();
    let values = vec!["REPEAT('a', 60000)"; columns.len()].join(", ");
    for side in [Source, Target] {
        let mut root = turn.root(side).await;
        root.run(format!(
            "SET sql_log_bin = 0; CREATE TABLE shop.wide ({}); \
             INSERT INTO shop.wide VALUES ({values}); SET GLOBAL max_allowed_packet = 1048576",
            columns.join(", ")
        ))
        .await
        .unwrap();
    }
    let compared = run.replica.compare_live().await;
    for side in [Source, Target] {
        turn.root(side).await.run("SET GLOBAL max_allowed_packet = DEFAULT").await.unwrap();
    }
    let fault = compared.unwrap_err();
    assert_eq!(fault.code, "SG0223", "{fault}");
    assert!(fault.cause.starts_with("1 rows"), "{}", fault.cause);
}
