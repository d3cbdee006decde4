//! What others write of the protocol by hand is what the front reads.

use segue_front::control::Request;
use serde_json::Value;

/// What the benchmark asks a front; it does not link this crate.
const BENCH: &str = include_str!("../../../../xtask/src/bench/front/requests.json");

#[test]
fn the_benchmark_speaks_the_present_protocol() {
    let asked: Vec<Value> = serde_json::from_str(BENCH).unwrap();
    assert!(asked.len() >= 3, "a claim, a route and a hold");
    for value in asked {
        let name = value["request"].clone();
        let request: Request = serde_json::from_value(value.clone())
            .unwrap_or_else(|error| panic!("{name} is no request any more: {error}"));
        // Written again, so that a field that nobody reads is found too.
        assert_eq!(serde_json::to_value(&request).unwrap(), value, "{name}");
    }
}
