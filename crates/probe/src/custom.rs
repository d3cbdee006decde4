//! Measures of the plan's own: a GET, a command, a query of a Prometheus server.

use crate::client::Line;
use async_trait::async_trait;
use segue_doors::process::Invocation;
use segue_model::plan::{CustomPlan, CustomSource};
use segue_model::{Fault, FaultKind, Sample, What};
use segue_port::{Outcome, Sampler};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest time one look may take.
const LIMIT: Duration = Duration::from_millis(1_800);

/// Takes the samples of one measure.
#[derive(Debug)]
pub struct CustomSampler {
    plan: CustomPlan,
}

impl CustomSampler {
    /// Builds the sampler of `Custom` under the origin `custom:NAME`.
    pub fn new(plan: CustomPlan) -> Arc<Self> {
        Arc::new(Self { plan })
    }

    async fn value(&self, op: &str) -> Outcome<f64> {
        match &self.plan.source {
            CustomSource::Http { address, host, path } => {
                // No answer is an answer here: what is asked does not work.
                let status = get(*address, host, path).await.map(|(status, _)| status);
                Ok(f64::from(u8::from(status == Ok(200))))
            }
            CustomSource::Command(words) => {
                let finished = Invocation::from_vector(words, LIMIT)?.run().await?;
                let said = String::from_utf8_lossy(&finished.stdout);
                match (said.trim().parse::<f64>(), finished.code()) {
                    (Ok(value), Some(0)) => Ok(value),
                    // A number of a command that failed says nothing.
                    (Ok(_), _) => Err(refused(op, &finished.last_words())),
                    (Err(_), code) => Ok(f64::from(u8::from(code == Some(0)))),
                }
            }
            CustomSource::Prometheus { address, query } => {
                let path = format!("/api/v1/query?query={}", encoded(query));
                let answer = get(*address, &address.to_string(), &path).await;
                let (status, body) = answer.map_err(|cause| refused(op, &cause))?;
                if status != 200 {
                    return Err(refused(op, &format!("status {status}")));
                }
                only_value(&body).map_err(|cause| refused(op, cause))
            }
        }
    }
}

fn refused(op: &str, cause: &str) -> Fault {
    Fault::new("SG0527", FaultKind::Invalid, op, cause)
        .hint("try it by hand; what depends on it has no data meanwhile")
}

async fn get(address: SocketAddr, host: &str, path: &str) -> Result<(u16, Vec<u8>), String> {
    let asked = async {
        let mut line = Line::open(address, None).await?;
        line.get(host, path, None, true).await
    };
    match timeout(LIMIT, asked).await {
        Ok(Ok(answer)) => Ok((answer.status, answer.body.to_vec())),
        Ok(Err(failure)) => Err(failure.to_string()),
        Err(_) => Err(format!("no answer within {} ms", LIMIT.as_millis())),
    }
}

/// Encodes a text for the query of a URL.
fn encoded(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                all.push(char::from(byte));
            }
            // Writing to a string does not fail.
            _ => drop(write!(all, "%{byte:02X}")),
        }
    }
    all
}

/// Returns the value of the only result of an instant query.
fn only_value(body: &[u8]) -> Result<f64, &'static str> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| "the answer is no JSON")?;
    if answer["status"] != "success" {
        return Err("the server did not understand the query");
    }
    let result = &answer["data"]["result"];
    let pair = match answer["data"]["resultType"].as_str() {
        Some("scalar") => result,
        Some("vector") => match result.as_array().map(Vec::as_slice) {
            Some([only]) => &only["value"],
            Some([]) => return Err("the query has no result"),
            _ => return Err("the query has several results: aggregate them, as with `sum`"),
        },
        _ => return Err("the query gives neither a vector nor a number"),
    };
    let value = pair[1].as_str().and_then(|text| text.parse::<f64>().ok());
    value.filter(|value| value.is_finite()).ok_or("the result is no number")
}

#[async_trait]
impl Sampler for CustomSampler {
    fn name(&self) -> String {
        format!("custom:{}", self.plan.name)
    }

    fn every(&self) -> Duration {
        Duration::from_millis(self.plan.every_ms)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let op = format!("take measure `{}`", self.plan.name);
        let value = self.value(&op).await?;
        Ok(vec![Sample {
            what: What::Custom,
            value,
            count: 1,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{encoded, only_value};

    #[test]
    fn encodes_everything_that_means_something_in_a_url() {
        assert_eq!(encoded("sum(up{a=\"b c\"})"), "sum%28up%7Ba%3D%22b%20c%22%7D%29");
    }

    #[test]
    fn takes_the_value_of_the_only_result() {
        let vector = |results: &str| {
            format!(
                "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{results}]}}}}"
            )
        };
        let one = "{\"metric\":{},\"value\":[1.5,\"7.25\"]}";
        assert_eq!(only_value(vector(one).as_bytes()), Ok(7.25));
        let scalar =
            "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[1,\"3\"]}}";
        assert_eq!(only_value(scalar.as_bytes()), Ok(3.0));
        for odd in ["", &format!("{one},{one}"), "{\"value\":[1,\"NaN\"]}"] {
            assert!(only_value(vector(odd).as_bytes()).is_err(), "{odd}");
        }
        assert!(only_value(b"{\"status\":\"error\"}").is_err());
        assert!(only_value(b"<html>").is_err());
    }
}
