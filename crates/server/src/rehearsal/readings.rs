//! Readings that a room gives: of what nothing in it measures, and of asked faults that cannot
//! be planted in its world.
//!
//! They exist only in the controller of a room, which is told where they stand.

use async_trait::async_trait;
use segue_model::{Sample, What};
use segue_port::{Outcome, Sampler};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Time between two readings: as often as the fastest trigger looks for one.
const EVERY: Duration = Duration::from_millis(250);
/// So many observations are said to stand behind a reading: more than any trigger asks for.
const COUNT: u64 = 1_000;

/// Readings of a room.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Readings {
    /// Of what nothing in the room measures: quiet values.
    pub given: Vec<Reading>,
    /// Asked faults: what is measured is said to be this instead.
    pub planted: Vec<Planted>,
}

/// A value that is put in the place of what is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planted {
    /// Of what.
    pub what: What,
    /// As whose; all that measure it if none is named.
    pub from: Option<String>,
    /// The value.
    pub value: f64,
}

/// One reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Of what.
    pub what: What,
    /// As whose.
    pub from: String,
    /// The value.
    pub value: f64,
}

impl Readings {
    fn read(file: &Path) -> Self {
        let text = std::fs::read(file).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes them for the room's controller.
    pub(crate) fn write(&self, file: &Path) -> std::io::Result<()> {
        let draft = file.with_extension("draft");
        std::fs::write(&draft, serde_json::to_vec(self)?)?;
        std::fs::rename(draft, file)
    }
}

/// Returns the sampler of a room's readings.
pub(crate) fn given(file: &Path) -> Arc<dyn Sampler> {
    Arc::new(Given(file.to_owned()))
}

struct Given(PathBuf);

#[async_trait]
impl Sampler for Given {
    fn name(&self) -> String {
        "room".into()
    }

    fn every(&self) -> Duration {
        EVERY
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let readings = Readings::read(&self.0);
        let sample = |reading: &Reading| Sample {
            what: reading.what,
            value: reading.value,
            count: COUNT,
            taken_at_ms: now_boot_ms,
            from: reading.from.clone(),
        };
        Ok(bent(readings.given.iter().map(sample).collect(), &readings.planted))
    }
}

/// Puts planted values in the place of measured ones.
fn bent(mut samples: Vec<Sample>, planted: &[Planted]) -> Vec<Sample> {
    for sample in &mut samples {
        let here = |one: &&Planted| {
            one.what == sample.what && one.from.as_ref().is_none_or(|from| *from == sample.from)
        };
        if let Some(one) = planted.iter().find(here) {
            sample.value = one.value;
            sample.count = COUNT;
        }
    }
    samples
}

/// A sampler whose values are replaced where a fault is planted.
pub(crate) struct Bent {
    inner: Arc<dyn Sampler>,
    file: PathBuf,
}

impl Bent {
    /// Wraps a sampler of a room's controller.
    pub(crate) fn wrap(inner: Arc<dyn Sampler>, file: &Path) -> Arc<dyn Sampler> {
        Arc::new(Self { inner, file: file.to_owned() })
    }
}

#[async_trait]
impl Sampler for Bent {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn every(&self) -> Duration {
        self.inner.every()
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let samples = self.inner.sample(now_boot_ms).await?;
        Ok(bent(samples, &Readings::read(&self.file).planted))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_model::Side;

    struct Two;

    #[async_trait]
    impl Sampler for Two {
        fn name(&self) -> String {
            "two".into()
        }
        fn every(&self) -> Duration {
            EVERY
        }
        async fn sample(&self, taken_at_ms: u64) -> Outcome<Vec<Sample>> {
            let one = |what| Sample { what, value: 1.0, count: 1, taken_at_ms, from: "two".into() };
            Ok(vec![one(What::CpuPercent(Side::Target)), one(What::RamPercent(Side::Target))])
        }
    }

    #[tokio::test]
    async fn a_planted_value_is_heard_instead_of_what_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("readings.json");
        let (cpu, custom) = (What::CpuPercent(Side::Target), What::Custom);
        let given_one = vec![Reading { what: custom, from: "custom:q".into(), value: 3.0 }];
        let planted = |what, from: Option<&str>, value| Planted {
            what,
            from: from.map(str::to_owned),
            value,
        };
        let both = vec![planted(cpu, None, 99.0), planted(custom, Some("custom:other"), 7.0)];
        Readings { given: given_one, planted: both }.write(&file).unwrap();
        let heard = Bent::wrap(Arc::new(Two), &file).sample(7).await.unwrap();
        let values: Vec<f64> = heard.iter().map(|sample| sample.value).collect();
        assert_eq!(values, [99.0, 1.0]);
        assert_eq!(heard[0].from, "two");
        let told = given(&file).sample(7).await.unwrap();
        assert_eq!(told[0].value, 3.0, "another one's fault");
    }
}
