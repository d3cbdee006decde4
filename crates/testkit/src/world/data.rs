//! The shop's schema and its rows at the start.

use super::mariadb::run_all;
use super::setup::WorldOptions;
use anyhow::Result;
use mysql_async::Conn;

/// Lines per order, times two: five lines for every two orders.
const LINES_PER_TWO_ORDERS: u64 = 5;

/// Tables of the shop and of its neighbour. Filled before triggers exist.
const TABLES: &str = "
CREATE TABLE shop.customers (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  email VARCHAR(120) NOT NULL, name VARCHAR(120) NOT NULL, address VARCHAR(255) NOT NULL,
  created_at DATETIME NOT NULL, UNIQUE KEY email (email));
CREATE TABLE shop.products (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(120) NOT NULL, price_cents INT UNSIGNED NOT NULL, stock BIGINT NOT NULL,
  description TEXT NOT NULL, updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
  ON UPDATE CURRENT_TIMESTAMP);
CREATE TABLE shop.orders (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  client VARCHAR(64) NOT NULL, seq BIGINT UNSIGNED NOT NULL, placed_at DATETIME(3) NOT NULL,
  note VARCHAR(255) NOT NULL, KEY client_seq (client, seq), KEY placed_at (placed_at));
CREATE TABLE shop.order_lines (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  order_id BIGINT UNSIGNED NOT NULL, product INT UNSIGNED NOT NULL, quantity INT UNSIGNED NOT NULL,
  price_cents INT UNSIGNED NOT NULL, label VARCHAR(120) NOT NULL, KEY order_id (order_id),
  KEY product (product));
CREATE TABLE shop.order_stats (bucket SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
  orders BIGINT UNSIGNED NOT NULL, last_order BIGINT UNSIGNED NOT NULL);
CREATE TABLE shop.sessions (token VARCHAR(64) NOT NULL PRIMARY KEY, client VARCHAR(64) NOT NULL,
  visits BIGINT UNSIGNED NOT NULL, seen_at DATETIME(3) NOT NULL, KEY client (client));
CREATE TABLE shop.counters (client VARCHAR(64) NOT NULL PRIMARY KEY,
  visits BIGINT UNSIGNED NOT NULL);
CREATE TABLE shop.jobs (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  job_key VARCHAR(64) NOT NULL, side VARCHAR(8) NOT NULL, ran_at DATETIME(3) NOT NULL,
  KEY job_key (job_key));
CREATE TABLE shop.event_log (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at DATETIME(3) NOT NULL, what VARCHAR(40) NOT NULL);
CREATE TABLE tenant.archive (id INT UNSIGNED NOT NULL PRIMARY KEY, body VARCHAR(400) NOT NULL);
CREATE TABLE tenant.entries (id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  revision INT UNSIGNED NOT NULL, body VARCHAR(200) NOT NULL)";

/// View, trigger and event, with the shop's login as definer as hosters have it.
const PROGRAMS: [&str; 3] = [
    "CREATE DEFINER=`shop`@`%` SQL SECURITY DEFINER VIEW shop.order_overview AS
     SELECT o.id, o.client, o.seq, COUNT(l.id) AS line_count, SUM(l.quantity * l.price_cents) AS cents
     FROM shop.orders o JOIN shop.order_lines l ON l.order_id = o.id GROUP BY o.id, o.client, o.seq",
    // By bucket: one row for all would make every order wait for the one before it.
    "CREATE DEFINER=`shop`@`%` TRIGGER shop.orders_counted AFTER INSERT ON shop.orders FOR EACH ROW
     INSERT INTO shop.order_stats (bucket, orders, last_order) VALUES (CRC32(NEW.client) % 64, 1, NEW.id)
     ON DUPLICATE KEY UPDATE orders = orders + 1, last_order = NEW.id",
    "CREATE DEFINER=`shop`@`%` EVENT shop.pulse ON SCHEDULE EVERY 2 SECOND DO
     INSERT INTO shop.event_log (at, what) VALUES (NOW(3), 'pulse')",
];

/// Logins without a password that anyone could know; the world sets one when it starts.
const LOGINS: [&str; 5] = [
    "CREATE USER `shop`@`%` IDENTIFIED VIA mysql_native_password USING 'invalid'",
    "GRANT ALL PRIVILEGES ON shop.* TO `shop`@`%`",
    "CREATE USER `tenant`@`%` IDENTIFIED VIA mysql_native_password USING 'invalid'",
    "GRANT ALL PRIVILEGES ON tenant.* TO `tenant`@`%`",
    ADMIN,
];

/// The administrator, on both servers.
pub(crate) const ADMIN: &str = "GRANT ALL PRIVILEGES ON *.* TO `segue_admin`@`%` \
     IDENTIFIED VIA mysql_native_password USING 'invalid' WITH GRANT OPTION";

/// Changes whenever rows or tables do: part of a template's fingerprint.
pub(crate) fn fingerprint() -> String {
    let statements = [orders_sql(7), order_lines_sql(7, 7), products_sql(7)].concat();
    [TABLES, &PROGRAMS.concat(), &LOGINS.concat(), &statements, &rest_sql(7).concat()].concat()
}

/// Returns how many rows `order_lines` has for so many orders.
pub(crate) fn order_lines(orders: u64) -> u64 {
    orders * LINES_PER_TWO_ORDERS / 2
}

/// Creates schemas and tables.
pub(crate) async fn create(conn: &mut Conn) -> Result<()> {
    let mut statements =
        vec!["CREATE DATABASE shop".to_owned(), "CREATE DATABASE tenant".to_owned()];
    statements.extend(TABLES.split(';').map(str::to_owned));
    run_all(conn, &statements).await
}

/// Fills all tables, over two connections, since the two large ones take most of the time.
pub(crate) async fn fill(one: &mut Conn, two: &mut Conn, options: &WorldOptions) -> Result<()> {
    // Sequences are tables of whatever schema is in use.
    let begin = ["USE shop".to_owned(), "SET unique_checks=0, foreign_key_checks=0".to_owned()];
    let mut orders = begin.to_vec();
    orders.extend([orders_sql(options.orders_rows), products_sql(options.products_rows)]);
    let mut lines = begin.to_vec();
    lines.push(order_lines_sql(options.orders_rows, options.products_rows));
    lines.extend(rest_sql(options.orders_rows));
    tokio::try_join!(run_all(one, &orders), run_all(two, &lines))?;
    let last = vec![
        "INSERT INTO shop.order_stats SELECT CRC32(client) % 64 AS bucket, COUNT(*), MAX(id) \
         FROM shop.orders GROUP BY bucket"
            .to_owned(),
    ];
    run_all(one, &last).await
}

/// Creates view, trigger, event and logins.
pub(crate) async fn finish(conn: &mut Conn) -> Result<()> {
    let statements: Vec<String> =
        LOGINS.iter().chain(&PROGRAMS).map(|text| (*text).to_owned()).collect();
    run_all(conn, &statements).await
}

fn orders_sql(orders: u64) -> String {
    // Clients of the past are called h1, h2 ...: never a client of the load.
    format!(
        "INSERT INTO shop.orders SELECT seq, CONCAT('h', seq % 5000), seq DIV 5000, \
         '2025-01-01' + INTERVAL seq MINUTE, CONCAT(SHA2(seq, 512), LEFT(SHA2(seq + 0.5, 512), 72)) \
         FROM seq_1_to_{orders}"
    )
}

fn order_lines_sql(orders: u64, products: u64) -> String {
    let lines = order_lines(orders);
    format!(
        "INSERT INTO shop.order_lines SELECT seq, 1 + (seq - 1) * 2 DIV {LINES_PER_TWO_ORDERS}, \
         1 + (seq * 7919) % {products}, 1 + seq % 4, 100 + (seq * 7919) % 99000, \
         CONCAT('Product ', 1 + (seq * 7919) % {products}, ', lot ', LEFT(SHA2(seq, 256), 40)) \
         FROM seq_1_to_{lines}"
    )
}

fn products_sql(products: u64) -> String {
    let words: Vec<String> = (0..12).map(|part| format!("SHA2(seq * 16 + {part}, 512)")).collect();
    format!(
        "INSERT INTO shop.products SELECT seq, CONCAT('Product ', seq), 100 + (seq * 7919) % 99000, \
         1000000000, CONCAT('Product ', seq, '. ', {}), '2025-01-01' FROM seq_1_to_{products}",
        words.join(", ' ', ")
    )
}

/// The smaller tables, sized after the number of orders.
fn rest_sql(orders: u64) -> Vec<String> {
    let customers = orders / 4 + 1;
    let sessions = orders / 16 + 1;
    vec![
        format!(
            "INSERT INTO shop.customers SELECT seq, CONCAT('customer', seq, '@example.test'), \
             CONCAT('Customer ', LEFT(SHA2(seq, 256), 12)), CONCAT(SHA2(seq, 256), ' Street ', seq), \
             '2025-01-01' + INTERVAL seq SECOND FROM seq_1_to_{customers}"
        ),
        format!(
            "INSERT INTO shop.sessions SELECT LEFT(SHA2(seq, 256), 32), CONCAT('h', seq), seq % 50, \
             '2025-01-01' + INTERVAL seq SECOND FROM seq_1_to_{sessions}"
        ),
        format!(
            "INSERT INTO shop.counters SELECT CONCAT('h', seq), seq % 50 FROM seq_1_to_{sessions}"
        ),
        "INSERT INTO shop.jobs SELECT seq, CONCAT('past-', seq), 'source', '2025-01-01' \
         FROM seq_1_to_1000"
            .to_owned(),
        "INSERT INTO tenant.archive SELECT seq, CONCAT(SHA2(seq, 512), ' ', SHA2(seq + 0.5, 512)) \
         FROM seq_1_to_5000"
            .to_owned(),
    ]
}
