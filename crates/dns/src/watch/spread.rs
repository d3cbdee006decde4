//! A published change while the run goes on: what every watched resolver holds of every set.

use super::{Change, Curve, Reached, Verdict};
use crate::message::{self, Answer};
use crate::sets::{RecordSet, SetKey};
use domain::base::iana::Rcode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Most sets that are watched; what is beyond is counted, not dropped in silence.
const SETS_MAX: usize = 64;
/// Most records of an answer that are told.
const TOLD_MAX: usize = 8;

/// What the step that published recorded, over all zones and providers of a unit.
#[derive(Debug, Clone)]
pub struct Published {
    at_ms: u64,
    changes: BTreeMap<SetKey, Change>,
}

/// The part of a publish step's output that is needed here.
#[derive(Deserialize)]
struct Recorded {
    former: Vec<RecordSet>,
    wanted: Vec<RecordSet>,
    negative_ttl_s: u32,
    published_at: u64,
}

impl Published {
    /// Reads the outputs of `publish`, one a zone and provider. A set that several providers
    /// serve counts from when the last of them had it, and with the longest of their TTLs.
    ///
    /// Returns `None` if one cannot be read or nothing changed: then nothing is known.
    pub fn read<'a>(outputs: impl IntoIterator<Item = &'a Value>) -> Option<Self> {
        let mut changes: BTreeMap<SetKey, Change> = BTreeMap::new();
        for output in outputs {
            let recorded = Recorded::deserialize(output).ok()?;
            let pairs = recorded.former.into_iter().zip(recorded.wanted);
            for (former, wanted) in pairs.filter(|(former, wanted)| former.data != wanted.data) {
                let change = Change {
                    former,
                    negative_ttl_s: recorded.negative_ttl_s,
                    wanted,
                    published_at_ms: recorded.published_at,
                };
                match changes.get_mut(&change.wanted.key) {
                    Some(known) => {
                        known.former.ttl = known.former.ttl.max(change.former.ttl);
                        known.negative_ttl_s = known.negative_ttl_s.max(change.negative_ttl_s);
                        known.published_at_ms = known.published_at_ms.max(change.published_at_ms);
                    }
                    None => drop(changes.insert(change.wanted.key.clone(), change)),
                }
            }
        }
        let at_ms = changes.values().map(|change| change.published_at_ms).max()?;
        Some(Self { at_ms, changes })
    }
}

/// What is seen of a published change.
#[derive(Debug)]
pub(crate) struct Spread {
    at_ms: u64,
    /// Wall clock of the first look.
    from_ms: Option<u64>,
    sets: BTreeMap<SetKey, Watched>,
    left_out: usize,
}

#[derive(Debug)]
struct Watched {
    change: Change,
    curve: Curve,
    seen: BTreeMap<SocketAddr, Seen>,
}

/// The newest answer of a resolver.
#[derive(Debug, Clone)]
struct Seen {
    answer: Option<RecordSet>,
    at_ms: u64,
}

impl Spread {
    pub(crate) fn new(published: &Published) -> Self {
        let changes = published.changes.iter().take(SETS_MAX);
        let sets = changes.map(|(key, change)| {
            let change = change.clone();
            (key.clone(), Watched { change, curve: Curve::default(), seen: BTreeMap::new() })
        });
        Self {
            at_ms: published.at_ms,
            from_ms: None,
            sets: sets.collect(),
            left_out: published.changes.len().saturating_sub(SETS_MAX),
        }
    }

    /// Returns the sets that are watched, in their order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SetKey> {
        self.sets.keys()
    }

    /// Takes what a resolver answered, or why it did not.
    pub(crate) fn take(
        &mut self,
        resolver: SocketAddr,
        key: &SetKey,
        answer: Result<&Answer, &str>,
        now_ms: u64,
    ) {
        let Some(set) = self.sets.get_mut(key) else { return };
        self.from_ms.get_or_insert(now_ms);
        let answer = answer.map_err(str::to_owned).and_then(|answer| read(answer, key));
        let verdict = set.change.judge(answer.as_ref().map_err(Clone::clone), now_ms);
        let after_ms = now_ms.saturating_sub(set.change.published_at_ms);
        set.curve.take(resolver, verdict, after_ms);
        set.seen.insert(resolver, Seen { answer: answer.ok(), at_ms: now_ms });
    }

    /// Tells what is known now.
    pub(crate) fn told(&self) -> SpreadTold {
        let sets: Vec<SetTold> = self.sets.values().map(Watched::told).collect();
        let mut verdicts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for verdict in self.sets.values().flat_map(|set| set.curve.last().values()) {
            *verdicts.entry(verdict.key()).or_default() += 1;
        }
        SpreadTold {
            published_at_ms: self.at_ms,
            watched_from_ms: self.from_ms,
            verdicts,
            sets,
            left_out: self.left_out,
        }
    }
}

impl Watched {
    fn told(&self) -> SetTold {
        let former = &self.change.former;
        let resolvers = self.curve.last().iter().map(|(resolver, verdict)| {
            let seen = self.seen.get(resolver);
            let answer = seen.and_then(|seen| seen.answer.as_ref());
            ResolverTold {
                resolver: *resolver,
                verdict: verdict.clone(),
                answer: answer.map(|set| set.texts().into_iter().take(TOLD_MAX).collect()),
                ttl_s: answer.filter(|set| set.exists()).map(RecordSet::ttl_s),
                at_ms: seen.map_or(0, |seen| seen.at_ms),
            }
        });
        let asked = !self.seen.is_empty();
        SetTold {
            name: self.change.wanted.key.name.to_string(),
            rtype: self.change.wanted.rtype(),
            former_ttl_s: if former.exists() { former.ttl } else { self.change.negative_ttl_s },
            safe_after_ms: self.change.safe_after_ms(),
            reached: self.curve.reached(),
            eta_s: asked.then(|| self.curve.eta_s()).flatten(),
            everywhere: asked.then(|| self.curve.is_everywhere()),
            asked: self.seen.len(),
            there: self.curve.last().values().filter(|verdict| verdict.is_new()).count(),
            resolvers: resolvers.collect(),
        }
    }
}

fn read(answer: &Answer, key: &SetKey) -> Result<RecordSet, String> {
    match answer.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => Ok(message::read_cached(answer, key)),
        rcode => Err(format!("it answered {rcode}")),
    }
}

/// How far a published change has come at the resolvers that are watched.
#[derive(Debug, Clone, Serialize)]
pub struct SpreadTold {
    /// When the last authoritative server had it, wall clock in milliseconds.
    pub published_at_ms: u64,
    /// When the watch began; none before the first answer. What was there before that is
    /// reached then at the latest.
    pub watched_from_ms: Option<u64>,
    /// How many pairs of set and resolver stand how.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// By record set.
    pub sets: Vec<SetTold>,
    /// How many changed sets are not watched.
    pub left_out: usize,
}

impl SpreadTold {
    /// Leaves out who has the new data, and of the others all but `most`: what a journal needs.
    #[must_use]
    pub fn brief(mut self, most: usize) -> Self {
        let mut left = most;
        for set in &mut self.sets {
            set.resolvers.retain(|told| {
                let keeps = left > 0 && !told.verdict.is_new();
                left -= usize::from(keeps);
                keeps
            });
        }
        self
    }

    /// Returns which part of the answers is the former data, percent; none without answers.
    #[allow(clippy::cast_precision_loss)] // A few hundred.
    pub fn former_percent(&self) -> Option<f64> {
        let count =
            |keys: &[&str]| -> u64 { keys.iter().filter_map(|k| self.verdicts.get(k)).sum() };
        let former = count(&["within_ttl", "overstaying"]);
        let all = former + count(&["new", "other"]);
        (all > 0).then(|| former as f64 * 100.0 / all as f64)
    }

    /// Returns at how many of the shares of 50, 95 and 99 % every set has arrived.
    pub fn milestones(&self) -> usize {
        let arrived =
            |set: &SetTold| set.reached.iter().filter(|reached| reached.after_ms.is_some()).count();
        self.sets.iter().map(arrived).min().unwrap_or(0)
    }
}

/// How far one record set has come.
#[derive(Debug, Clone, Serialize)]
pub struct SetTold {
    /// Owner name in full, without its dot.
    pub name: String,
    /// Record type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// How long the former answer may be held, seconds.
    pub former_ttl_s: u32,
    /// From when on no honest resolver holds it, wall clock in milliseconds.
    pub safe_after_ms: u64,
    /// When 50, 95 and 99 % of the resolvers had the new data.
    pub reached: Vec<Reached>,
    /// In how many seconds the last honest resolver has it; none if nobody can tell.
    pub eta_s: Option<u64>,
    /// Whether every resolver has it; none before the first answer.
    pub everywhere: Option<bool>,
    /// How many resolvers were asked.
    pub asked: usize,
    /// How many of them have it.
    pub there: usize,
    /// What each resolver holds.
    pub resolvers: Vec<ResolverTold>,
}

/// What a resolver holds of one record set.
#[derive(Debug, Clone, Serialize)]
pub struct ResolverTold {
    /// Its address.
    pub resolver: SocketAddr,
    /// What that means.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The data it answered, at most eight records; none if it failed.
    pub answer: Option<Vec<String>>,
    /// What is left of the TTL in its answer, seconds.
    pub ttl_s: Option<u32>,
    /// When it said so, wall clock in milliseconds.
    pub at_ms: u64,
}
