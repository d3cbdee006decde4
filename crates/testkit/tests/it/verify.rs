//! Claims about `segue verify` at a terminal, beside a controller and under visitors.

use crate::admin;
use crate::run::Run;
use mysql_async::prelude::Queryable;
use segue_testkit::world::Side;
use serde_json::{Value, json};
use std::process::Output;

fn verify(run: &Run, json: bool, more: &[&str]) -> Output {
    let plan = run.segue.plan_file().display().to_string();
    let mut args = vec!["verify", plan.as_str()];
    args.extend(more);
    args.extend(json.then_some("--json"));
    run.segue.command(&args).output().unwrap()
}

fn told(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[tokio::test]
async fn a_terminal_verifies_beside_a_run_and_names_the_row_that_is_wrong() {
    let run = Run::synced();
    let output = verify(&run, true, &[]);
    let equal = told(&output);
    assert_eq!(output.status.code(), Some(0), "{equal:#}");
    assert_eq!((&equal["unit"], &equal["schema"]), (&json!("shop"), &json!("shop")), "{equal:#}");
    assert_eq!(equal["verified"]["differences"], json!([]));
    assert_eq!(equal["verified"]["one_moment"], json!(true), "{equal:#}");

    let mut target = admin(run.world.description(), Side::Target).await;
    target.query_drop("SET sql_log_bin = 0").await.unwrap();
    target
        .query_drop("UPDATE shop.customers SET address = CONCAT('x', address) WHERE id = 3")
        .await
        .unwrap();
    let output = verify(&run, true, &["--table", "customers", "--load", "50%"]);
    let wrong = told(&output);
    assert_eq!(output.status.code(), Some(3), "{wrong:#}");
    let differences = wrong["verified"]["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 1, "{wrong:#}");
    assert_eq!(differences[0]["object"], "table `customers`");
    assert_eq!(differences[0]["ranges"][0]["changed"], json!({ "count": 1, "first": ["3"] }));
    let output = verify(&run, false, &["--table", "customers"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("table `customers`: rows"), "{text}");
    assert!(text.contains("1 with other values: (3)"), "{text}");
    assert_eq!(output.status.code(), Some(3), "{text}");
    let output = verify(&run, false, &["--table", "nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("SG0291"), "{output:?}");
    target.disconnect().await.unwrap();
}
