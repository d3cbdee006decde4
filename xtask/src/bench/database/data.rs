//! The schema that is copied, in the form of sysbench's: four tables with a key, a second index,
//! and two texts of digits.

use crate::bench::mariadb::{Pair, Server};
use anyhow::{Context, Result, ensure};
use std::thread;
use std::time::{Duration, Instant};

/// Name of the schema and of its login.
pub(super) const SCHEMA: &str = "bench";
pub(super) const TABLES: u64 = 4;

/// How long a server may take to write all of its pages.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pages that always change.
const FEW: u64 = 64;

/// Makes the schema with so many rows a table, the same ones each time.
pub(super) fn fill(source: &Server, rows: u64) -> Result<()> {
    source.sql(&format!(
        "SET sql_log_bin = 0; CREATE SCHEMA {SCHEMA}; CREATE USER {SCHEMA}@'%' IDENTIFIED BY 'site'; \
         GRANT ALL ON {SCHEMA}.* TO {SCHEMA}@'%'"
    ))?;
    for table in 1..=TABLES {
        source.sql(&statements(table, rows))?;
    }
    Ok(())
}

fn statements(table: u64, rows: u64) -> String {
    // Each of these numbers begins a sequence of its own.
    let mut seeds = (1..).map(|number| table * 1_000 + number);
    let mut digits = |groups: usize| {
        let groups: Vec<String> = seeds
            .by_ref()
            .take(groups)
            .map(|seed| format!("LPAD(FLOOR(RAND({seed}) * 1e11), 11, '0')"))
            .collect();
        format!("CONCAT_WS('-', {})", groups.join(", "))
    };
    let (c, pad) = (digits(10), digits(5));
    format!(
        "SET sql_log_bin = 0; USE {SCHEMA}; \
         CREATE TABLE t{table} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
           c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY (k)); \
         INSERT INTO t{table} SELECT seq, 1 + FLOOR(RAND({table}) * {rows}), {c}, {pad} FROM seq_1_to_{rows}; \
         ANALYZE TABLE t{table}"
    )
}

/// Lets a server write all changed pages, so that what comes next begins with none.
pub(super) fn settle(server: &Server) -> Result<()> {
    server.sql(
        "SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0; SET GLOBAL innodb_max_dirty_pages_pct = 0",
    )?;
    let began = Instant::now();
    loop {
        let dirty = server.sql(
            "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
             WHERE VARIABLE_NAME = 'Innodb_buffer_pool_pages_dirty'",
        )?;
        if dirty.trim().parse::<u64>().context("the number of changed pages")? <= FEW {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "{} pages are not written", dirty.trim());
        thread::sleep(Duration::from_millis(100));
    }
    server.sql("SET GLOBAL innodb_max_dirty_pages_pct = 90")?;
    Ok(())
}

/// Makes sure that both sides have equal checksums, and as many tables.
pub(super) fn equal(pair: &Pair, whose: &str) -> Result<()> {
    let tables: Vec<String> = (1..=TABLES).map(|number| format!("{SCHEMA}.t{number}")).collect();
    let query = format!("CHECKSUM TABLE {}", tables.join(", "));
    let (source, target) = thread::scope(|scope| {
        let source = scope.spawn(|| pair.source.sql(&query));
        let target = pair.target.sql(&query);
        (source.join(), target)
    });
    let source = source.ok().context("the checksums of the source broke off")??;
    let target = target?;
    ensure!(!source.contains("NULL"), "a table is missing: {source}");
    ensure!(source == target, "{whose} made a copy that differs:\n{source}{target}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_texts_share_their_sequence() {
        let all = statements(1, 10) + &statements(2, 10);
        let mut seeds: Vec<&str> =
            all.split("RAND(").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert_eq!(seeds.len(), 32);
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 32);
    }
}
