//! What a front tells of itself to others than its controller: figures and a log.

use crate::support::*;
use segue_model::plan::AccessLogPlan;
use std::sync::Arc;
use tempfile::TempDir;

/// Reads the value of a figure, by how its line begins.
fn value(text: &str, line: &str) -> Option<f64> {
    text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_and_log_say_what_visitors_met() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let folder = Arc::new(TempDir::new().unwrap());
    let mut options = options(folder.path(), free_address(), source.address);
    let (metrics, path) = (free_address(), folder.path().join("access.json"));
    options.metrics = Some(metrics);
    options.access_log = Some(AccessLogPlan { path: path.clone(), every: 1 });
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front.set_route(&source, &target, 64).await.unwrap();
    for _ in 0..3 {
        assert_eq!(get(front.address, "/").await.status, 200);
    }
    assert_eq!(get(front.address, "/known-to-target?key=secret").await.status, 404);
    // Answer times are of whole seconds.
    let mut text = String::new();
    until("the second is over", async || {
        text = get(metrics, "/metrics").await.body;
        let times = "segue_front_answer_seconds_count{unit=\"shop\",side=\"source\"}";
        value(&text, times) == Some(4.0)
    })
    .await;
    let line = |class: &str| {
        let labels = format!("{{unit=\"shop\",side=\"source\",class=\"{class}\"}}");
        value(&text, &format!("segue_front_requests_total{labels}"))
    };
    assert_eq!(
        (line("2xx"), line("4xx"), line("5xx")),
        (Some(3.0), Some(1.0), Some(0.0)),
        "{text}"
    );
    assert_eq!(value(&text, "segue_front_clients{unit=\"shop\",side=\"source\"}"), Some(1.0));
    assert_eq!(value(&text, "segue_front_at_target{unit=\"shop\"}"), Some(0.0));
    assert_eq!(value(&text, "segue_front_units"), Some(1.0));
    let all = "segue_front_answer_seconds_bucket{unit=\"shop\",side=\"source\",le=\"+Inf\"}";
    assert_eq!(value(&text, all), Some(4.0));
    assert_eq!(get(metrics, "/other").await.status, 404);
    let mut lines = String::new();
    until("the log is written", async || {
        lines = std::fs::read_to_string(&path).unwrap();
        lines.lines().count() == 4
    })
    .await;
    assert!(
        lines.contains("\"path\":\"/known-to-target\"") && !lines.contains("secret"),
        "{lines}"
    );
    assert!(lines.contains("\"unit\":\"shop\"") && lines.contains("\"status\":404"), "{lines}");
    front.stop().await;
}
