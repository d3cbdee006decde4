//! A difference is named: the table, the range of its key, the rows.

use crate::servers::Turn;
use crate::shop::{Run, fill};
use segue_database::{Difference, Keys, testing};
use segue_doors::sql::Session;
use segue_model::Side::{self, Source, Target};
use std::collections::BTreeMap;

/// Connects to a side to change it without telling the other one.
pub(crate) async fn vandal(turn: &Turn, side: Side) -> Session {
    let mut root = turn.root(side).await;
    root.run("SET sql_log_bin = 0, foreign_key_checks = 0; USE shop").await.unwrap();
    root
}

/// Fills the source, with more tables, and lets the target follow.
pub(crate) async fn following(turn: &Turn, more: &[&str]) -> Run {
    fill(turn).await;
    let mut source = turn.root(Source).await;
    source.run("USE shop").await.unwrap();
    for statement in more {
        source.run(statement).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
    }
    let mut run = Run::begin(turn).await;
    run.steps(&["claim", "seed", "follow"]).await;
    run
}

/// Returns what was found of each kind in all ranges: only at the source, only at the target,
/// changed.
pub(crate) fn named(difference: &Difference) -> [Vec<String>; 3] {
    let all = |kind: fn(&segue_database::DifferentRange) -> &Keys| {
        difference.ranges.iter().flat_map(|range| kind(range).first.clone()).collect()
    };
    [all(|r| &r.only_source), all(|r| &r.only_target), all(|r| &r.changed)]
}

/// Statements that read, so far.
async fn questions(root: &mut Session) -> u64 {
    let (_, asked): (String, u64) = root.one("SHOW GLOBAL STATUS LIKE 'Com_select'").await.unwrap();
    asked
}

#[tokio::test]
async fn names_one_wrong_row_of_many_after_a_few_questions() {
    let turn = Turn::take().await;
    let rows = "INSERT INTO big SELECT seq, MD5(seq) FROM seq_3001_to_200000";
    let run = following(&turn, &[rows]).await;
    let (mut source, mut target) = (turn.root(Source).await, vandal(&turn, Target).await);
    let begun = questions(&mut source).await;
    assert_eq!(testing::compare(&run.replica).await.unwrap().differences, vec![]);
    let equal = questions(&mut source).await - begun;

    target.run("UPDATE big SET v = 'wrong' WHERE id = 123457").await.unwrap();
    let begun = questions(&mut source).await;
    let found = testing::compare(&run.replica).await.unwrap().differences;
    let more = questions(&mut source).await - begun - equal;
    assert!(more <= 4, "{more} questions more at the source");
    assert_eq!(found.len(), 1, "{found:?}");
    let (of, range) = (&found[0], &found[0].ranges[0]);
    assert_eq!((of.object.as_str(), of.what.as_str()), ("table `big`", "rows"));
    assert_eq!((of.key.as_slice(), of.ranges.len(), of.more), (&["id".to_owned()][..], 1, false));
    assert_eq!((range.after.as_str(), range.to.as_str()), ("118750", "125000"));
    assert_eq!((range.source_rows, range.target_rows), (6_250, 6_250));
    assert_eq!(named(of), [vec![], vec![], vec!["123457".to_owned()]]);

    let gently = run.replica.compare_live().await.unwrap().differences;
    assert_eq!(named(&gently[0]), named(of), "piece by piece");
}

/// Tables with keys of every kind: what makes one, what is done at the target, and what is found:
/// only at the source, only at the target, changed.
const KEYS: [(&str, &str, &str, [&[&str]; 3]); 9] = [
    (
        "texts (name VARCHAR(9) COLLATE utf8mb4_general_ci, n INT, v INT, PRIMARY KEY (name, n))",
        "SELECT ELT(1 + seq % 4, 'e', 'E', '\u{e9}', '\u{c9}'), seq, 1 FROM seq_1_to_20000",
        "UPDATE texts SET v = 2 WHERE n IN (1, 9999, 20000); DELETE FROM texts WHERE n = 10002; \
         INSERT INTO texts VALUES ('', 7, 1), ('f', 1, 1)",
        [&["'\u{e9}', 10002"], &["'', 7", "'f', 1"], &["'E', 1", "'\u{c9}', 9999", "'e', 20000"]],
    ),
    (
        "signed (id BIGINT PRIMARY KEY, v INT)",
        "SELECT CAST(seq AS SIGNED) * 1000003 - 12500000000, 1 FROM seq_1_to_20000",
        "UPDATE signed SET v = 2 ORDER BY id LIMIT 1; UPDATE signed SET v = 2 ORDER BY id DESC LIMIT 1; \
         DELETE FROM signed WHERE id = 1000003 * 12500 - 12500000000; \
         INSERT INTO signed VALUES (-9223372036854775808, 1), (9223372036854775807, 1)",
        [
            &["37500"],
            &["-9223372036854775808", "9223372036854775807"],
            &["-12498999997", "7500060000"],
        ],
    ),
    (
        "unsigned (id BIGINT UNSIGNED PRIMARY KEY, v INT)",
        "SELECT 18446744073709551615 - seq * 7, 1 FROM seq_0_to_20000",
        "UPDATE `unsigned` SET v = 2 WHERE id = 18446744073709551615; DELETE FROM `unsigned` WHERE id = 18446744073709481615; \
         INSERT INTO `unsigned` VALUES (0, 1)",
        [&["18446744073709481615"], &["0"], &["18446744073709551615"]],
    ),
    (
        "bytes (id VARBINARY(16) PRIMARY KEY, v INT)",
        "SELECT UNHEX(MD5(seq)), 1 FROM seq_1_to_20000",
        "UPDATE bytes SET v = 2 WHERE id = UNHEX(MD5(5)); INSERT INTO bytes VALUES (x'', 1)",
        [&[], &["x''"], &["x'E4DA3B7FBBCE2345D7772B0674A318D5'"]],
    ),
    (
        "uniq (a INT, b CHAR(8) CHARACTER SET latin1 NOT NULL, c DATETIME NOT NULL, v INT, \
           UNIQUE KEY a (a), UNIQUE KEY z (b, c))",
        "SELECT NULL, CONCAT('\u{e9}', seq % 100), '2024-01-01' + INTERVAL seq SECOND, 1 FROM seq_1_to_20000",
        "UPDATE uniq SET v = 2 WHERE c = '2024-01-01 00:00:01'; DELETE FROM uniq WHERE c = '2024-01-01 05:33:20'",
        [&["'\u{e9}0', '2024-01-01 05:33:20'"], &[], &["'\u{e9}1', '2024-01-01 00:00:01'"]],
    ),
    (
        "doubles (d DOUBLE PRIMARY KEY, f FLOAT)",
        "SELECT seq / 7e0, seq / 7e0 FROM seq_1_to_20000",
        "UPDATE doubles SET f = 0 ORDER BY d LIMIT 1; DELETE FROM doubles WHERE d = 20000 / 7e0",
        [&["2857.1428571428573"], &[], &["0.14285714285714285"]],
    ),
    (
        "kinds (e ENUM('z', 'a', 'm') NOT NULL, t TIMESTAMP(3) NOT NULL, v INT, PRIMARY KEY (e, t))",
        "SELECT 1 + seq % 3, '2024-01-01' + INTERVAL seq SECOND, 1 FROM seq_1_to_20000",
        "UPDATE kinds SET v = 2 WHERE t = '2024-01-01 00:00:05'",
        [&[], &[], &["3, '2024-01-01 00:00:05.000'"]],
    ),
    ("vacant (id INT PRIMARY KEY, v INT)", "SELECT 1, 1 FROM seq_1_to_1 WHERE 0", "DO 1", [&[]; 3]),
    (
        "few (id INT PRIMARY KEY, v INT)",
        "SELECT 1, 1 FROM seq_1_to_1 WHERE 0",
        "INSERT INTO few VALUES (5, 1)",
        [&[], &["5"], &[]],
    ),
];

#[tokio::test]
async fn names_rows_by_every_kind_of_key() {
    let turn = Turn::take().await;
    let mut statements = Vec::new();
    for (table, rows, _, _) in KEYS {
        statements
            .push(format!("CREATE TABLE {}", table.replacen("unsigned (", "`unsigned` (", 1)));
        let name = table.split(' ').next().unwrap();
        statements.push(format!("INSERT INTO `{name}` {rows}"));
    }
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    let run = following(&turn, &statements).await;
    assert_eq!(run.replica.compare_live().await.unwrap().differences, vec![]);
    let mut target = vandal(&turn, Target).await;
    for (_, _, change, _) in KEYS {
        target.run(change).await.unwrap_or_else(|e| panic!("{e}: {change}"));
    }
    let gently = run.replica.compare_live().await.unwrap();
    let at_once = testing::compare(&run.replica).await.unwrap();
    for (way, compared) in [("gently", gently), ("at once", at_once)] {
        let mut found: BTreeMap<String, [Vec<String>; 3]> = compared
            .differences
            .iter()
            .map(|difference| (difference.object.clone(), named(difference)))
            .collect();
        for (table, _, _, wanted) in KEYS {
            let name = table.split(' ').next().unwrap();
            let mut is = found.remove(&format!("table `{name}`")).unwrap_or_default();
            let mut wanted =
                wanted.map(|keys| keys.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>());
            is.iter_mut().chain(&mut wanted).for_each(|keys| keys.sort());
            assert_eq!(is, wanted, "{way}: {name}");
        }
        assert!(found.is_empty(), "{way}: {found:?}");
    }
}

#[tokio::test]
async fn tells_of_many_missing_rows_their_range_and_number() {
    let turn = Turn::take().await;
    let rows = "INSERT INTO big SELECT seq, MD5(seq) FROM seq_3001_to_90000";
    let run = following(&turn, &[rows]).await;
    let mut target = vandal(&turn, Target).await;
    target.run("DELETE FROM big; INSERT INTO audit VALUES ('c', 1)").await.unwrap();
    let found = testing::compare(&run.replica).await.unwrap().differences;
    let [audit, big] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((audit.key.len(), audit.ranges.len()), (0, 0), "a table without a key");
    assert_eq!(
        (audit.source.split(',').next(), audit.target.split(',').next()),
        (Some("3 rows"), Some("4 rows"))
    );
    assert_eq!(big.ranges.len(), 1, "{big:?}");
    assert_eq!(big.ranges[0].only_source, Keys { count: 90_000, first: vec![] });
    assert_eq!((big.ranges[0].after.as_str(), big.ranges[0].to.as_str()), ("", ""));

    target.run("INSERT INTO big SELECT seq, MD5(seq) FROM seq_1_to_90000").await.unwrap();
    target.run("UPDATE big SET v = 'x' WHERE id % 2000 = 0").await.unwrap();
    let found = testing::compare(&run.replica).await.unwrap().differences;
    let big = &found[1];
    assert!(big.more, "45 rows in all ranges: {big:?}");
    assert_eq!(big.ranges.len(), 8);
    assert!(big.ranges.iter().all(|range| range.changed.count > 0), "{big:?}");
    assert_eq!(big.ranges[0].changed.first[0], "2000");
}
