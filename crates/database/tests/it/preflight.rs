//! What is refused before anything is touched.

use crate::servers::Turn;
use crate::shop::{fill, settings};
use segue_database::MariaReplica;
use segue_model::Side::{Source, Target};
use segue_model::{Finding, Severity};

async fn findings(turn: &Turn) -> Vec<Finding> {
    MariaReplica::new(settings(turn, "run-1")).preflight().await
}

fn refused(findings: &[Finding], code: &str, word: &str) -> bool {
    findings
        .iter()
        .any(|f| f.severity == Severity::Refuse && f.code == code && f.text.contains(word))
}

#[tokio::test]
async fn accepts_a_sound_pair_and_refuses_each_unsound_setting() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let sound = findings(&turn).await;
    assert!(sound.iter().all(|f| f.severity == Severity::Warn), "{sound:?}");
    let mut source = turn.root(Source).await;
    let mut target = turn.root(Target).await;
    for (change, back, code, word) in [
        (
            "SET GLOBAL binlog_format = 'MIXED'",
            "SET GLOBAL binlog_format = 'ROW'",
            "SG0232",
            "binlog_format",
        ),
        ("SET GLOBAL server_id = 2", "SET GLOBAL server_id = 1", "SG0239", "server_id"),
        (
            "SET GLOBAL gtid_domain_id = 2",
            "SET GLOBAL gtid_domain_id = 1",
            "SG0239",
            "gtid_domain_id",
        ),
        (
            "CREATE TABLE shop.mine (id INT) ENGINE = MyISAM",
            "DROP TABLE shop.mine",
            "SG0247",
            "mine",
        ),
        ("CREATE SEQUENCE shop.numbers", "DROP SEQUENCE shop.numbers", "SG0246", "numbers"),
        (
            "CREATE USER other@'%'; GRANT UPDATE ON shop.* TO other@'%'",
            "DROP USER other@'%'",
            "SG0252",
            "other",
        ),
        (
            "CREATE ROLE clerks; GRANT DELETE ON shop.* TO clerks; CREATE USER bob@'%'; GRANT clerks TO bob@'%'",
            "DROP USER bob@'%'; DROP ROLE clerks",
            "SG0252",
            "bob",
        ),
        (
            "REVOKE BINLOG ADMIN, GRANT OPTION ON *.* FROM segue_admin@'%'",
            "GRANT ALL PRIVILEGES ON *.* TO segue_admin@'%' WITH GRANT OPTION",
            "SG0242",
            "BINLOG ADMIN",
        ),
    ] {
        source.run(change).await.unwrap_or_else(|e| panic!("{change}: {e}"));
        let found = findings(&turn).await;
        assert!(refused(&found, code, word), "{change}: {found:?}");
        source.run(back).await.unwrap_or_else(|e| panic!("{back}: {e}"));
    }
    source.run("GRANT SELECT ON tenant.* TO shop@'%'").await.unwrap();
    let found = findings(&turn).await;
    assert!(found.iter().any(|f| f.code == "SG0251" && f.text.contains("tenant")), "{found:?}");
    source.run("DROP USER shop@'%'").await.unwrap();
    assert!(refused(&findings(&turn).await, "SG0250", "shop"));
    target.run("CREATE SCHEMA shop").await.unwrap();
    assert!(refused(&findings(&turn).await, "SG0208", "shop"));
}

#[tokio::test]
async fn refuses_servers_without_a_log_or_with_a_loop() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let silent = turn.pair.another("silent", &["--server-id=8", "--gtid-domain-id=8"]).await;
    let looping = turn
        .pair
        .another(
            "looping",
            &[
                "--server-id=9",
                "--gtid-domain-id=9",
                "--log-bin=b",
                "--binlog-format=ROW",
                "--log-slave-updates",
            ],
        )
        .await;
    let mut settings = settings(&turn, "run-1");
    settings.plan = turn.pair.plan(silent.address, looping.address);
    let found = MariaReplica::new(settings).preflight().await;
    assert!(refused(&found, "SG0231", "source"), "{found:?}");
    assert!(refused(&found, "SG0233", "target"), "{found:?}");
}
