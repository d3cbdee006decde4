//! What arrives at the target is what the source has, whatever the table.

use super::*;

const TABLES: &str = "
CREATE SCHEMA shop CHARACTER SET utf8mb4;
CREATE TABLE shop.keyless (a INT, b VARCHAR(20));
CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, total DECIMAL(12,4), note TEXT CHARACTER SET latin1,
  doubled DECIMAL(14,4) AS (total * 2) VIRTUAL, kept DECIMAL(14,4) AS (total * 3) STORED, hidden INT INVISIBLE DEFAULT 7,
  at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3));
CREATE TABLE shop.lines (id INT PRIMARY KEY AUTO_INCREMENT, of INT, CONSTRAINT c FOREIGN KEY (of) REFERENCES shop.orders (id) ON DELETE CASCADE);
CREATE TABLE shop.audit (what VARCHAR(20), n INT);
CREATE TABLE shop.odd (id BIGINT UNSIGNED PRIMARY KEY, f FLOAT, d DOUBLE, b BIT(9), e ENUM('','a'), s SET('x','y','z'), j JSON, i INET6, u UUID,
  g POINT, t TIME(6), dt DATETIME, c LONGTEXT COMPRESSED, y YEAR);
CREATE SEQUENCE shop.numbers;
CREATE TRIGGER shop.orders_in AFTER INSERT ON shop.orders FOR EACH ROW INSERT INTO shop.audit VALUES ('in', NEW.id)
";

const CHANGES: &str = "
USE shop;
INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (2, 'y');
UPDATE keyless SET b = 'z' WHERE a = 1 LIMIT 1;
DELETE FROM keyless WHERE a = 1 AND b = 'x' LIMIT 1;
INSERT INTO orders (total, note, hidden) VALUES (1.5, 'caf\u{e9}', 1), (NULL, NULL, 2), (3, '', 3);
INSERT INTO `lines` (of) VALUES (1), (1), (2), (3);
UPDATE orders SET total = total + 1;
DELETE FROM orders WHERE id = 1;
INSERT INTO odd VALUES (18446744073709551615, 0.1, -1e300, b'100000001', 'a', 'x,z', '{\"a\": 1}', '::1', UUID(), POINT(1, 2), '-11:12:13.5', '0000-00-00', REPEAT('abc', 5000), 2024);
SELECT NEXTVAL(numbers);
BEGIN;
INSERT INTO audit VALUES ('kept', 1);
SAVEPOINT here;
INSERT INTO audit VALUES ('not kept', 1);
ROLLBACK TO here;
COMMIT;
BEGIN;
INSERT INTO audit VALUES ('not kept', 2);
ROLLBACK;
CREATE TEMPORARY TABLE scratch (i INT);
INSERT INTO scratch VALUES (1);
DROP TEMPORARY TABLE scratch;
SET foreign_key_checks = 0;
INSERT INTO `lines` (of) VALUES (99);
SET foreign_key_checks = 1;
UPDATE orders o JOIN `lines` l ON l.of = o.id SET o.total = 9, l.of = 3 WHERE o.id = 2;
ANALYZE TABLE orders;
INSERT INTO keyless SELECT seq, REPEAT('w', 20) FROM seq_1_to_30000;
UPDATE keyless SET b = a WHERE a <= 300
";

#[tokio::test]
async fn every_kind_of_table_and_change_arrives() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let tail = Tail::start(&source(&turn), vec![follow(&turn, "shop").await]).await.unwrap();
    let mut root = turn.root(AtSource).await;
    run_all(&mut root, CHANGES).await;
    caught_up(&turn, &tail, "shop").await;
    assert_equal(&turn, "shop").await;
    let mut target = turn.root(Target).await;
    let fired: u64 = target.one("SELECT COUNT(*) FROM shop.audit WHERE what = 'in'").await.unwrap();
    assert_eq!(fired, 3, "the trigger's rows came from the source, once");
    let cascaded: u64 = target.one("SELECT COUNT(*) FROM shop.lines WHERE of = 1").await.unwrap();
    assert_eq!(cascaded, 0, "a cascade is not in the log, the key carries it out");
    let next: u64 = target.one("SELECT NEXTVAL(shop.numbers)").await.unwrap();
    assert!(next > 1, "{next}");
    let sample = tail.sample();
    assert!(sample.events > 0 && sample.transactions > 0, "{sample:?}");
    tail.end().await.schemas.remove("shop").unwrap().unwrap();
}

#[tokio::test]
async fn long_rows_travel_in_two_halves_or_are_refused() {
    let turn = Turn::take().await;
    let small = turn
        .pair
        .another("small", &["--server-id=3", "--log-bin=bin", "--max-allowed-packet=1M"])
        .await;
    let tables = "CREATE SCHEMA shop; CREATE TABLE shop.files (id INT PRIMARY KEY, body LONGBLOB)";
    turn.root(AtSource).await.run(tables).await.unwrap();
    small.login("root", "").await.unwrap().run(tables).await.unwrap();
    let mut follow = follow(&turn, "shop").await;
    follow.target = root_at(small.address);
    let tail = Tail::start(&source(&turn), vec![follow]).await.unwrap();
    let mut root = turn.root(AtSource).await;
    // In one packet, in two halves, and one that no two packets hold.
    for (id, kib) in [(1, 700), (2, 1400), (3, 100), (4, 1600)] {
        root.run(format!(
            "INSERT INTO shop.files SELECT {id}, REPEAT(UNHEX(MD5({id})), {kib} * 64)"
        ))
        .await
        .unwrap();
    }
    let ended = ended(tail).await;
    assert_eq!(code(&ended.schemas["shop"]), "SG0277", "{ended:?}");
    let query = "SELECT COUNT(*), CAST(SUM(CRC32(body)) AS CHAR) FROM shop.files WHERE id < 4";
    let there: (u64, String) = small.login("root", "").await.unwrap().one(query).await.unwrap();
    let here: (u64, String) = root.one(query).await.unwrap();
    assert_eq!(there, here, "what is before it is applied");
    assert_eq!(there.0, 3);
}

#[tokio::test]
async fn rows_of_some_megabytes_arrive_under_the_default_packet() {
    let turn = Turn::take().await;
    both(&turn, "CREATE SCHEMA shop; CREATE TABLE shop.files (id INT PRIMARY KEY, body LONGBLOB)")
        .await;
    let tail = Tail::start(&source(&turn), vec![follow(&turn, "shop").await]).await.unwrap();
    let mut root = turn.root(AtSource).await;
    for (id, mib) in [(1, 5), (2, 1), (3, 8)] {
        root.run(format!(
            "INSERT INTO shop.files SELECT {id}, REPEAT(UNHEX(MD5({id})), {mib} * 65536)"
        ))
        .await
        .unwrap();
    }
    root.run("UPDATE shop.files SET body = CONCAT('x', body) WHERE id = 1").await.unwrap();
    caught_up(&turn, &tail, "shop").await;
    assert_equal(&turn, "shop").await;
}

#[tokio::test]
async fn a_place_in_a_file_is_a_begin_too() {
    let turn = Turn::take().await;
    both(&turn, "CREATE SCHEMA shop; CREATE TABLE shop.said (n INT)").await;
    let mut root = turn.root(AtSource).await;
    let row: Row = root.one("SHOW MASTER STATUS").await.unwrap();
    root.run("INSERT INTO shop.said VALUES (1)").await.unwrap();
    let mut follow = follow(&turn, "shop").await;
    let (file, offset): (String, u64) = (row.get(0).unwrap(), row.get(1).unwrap());
    follow.begin = Begin::Place { file: file.clone(), offset };
    let tail = Tail::start(&source(&turn), vec![follow.clone()]).await.unwrap();
    caught_up(&turn, &tail, "shop").await;
    assert_equal(&turn, "shop").await;
    tail.end().await;
    turn.root(Target).await.run("DROP TABLE segue.tail").await.unwrap();
    follow.begin = Begin::Place { file: "bin.999999".into(), offset };
    assert_eq!(code(&Tail::start(&source(&turn), vec![follow]).await), "SG0271");
}
