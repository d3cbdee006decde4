//! What an answer of a resolver says of a change: a pure function.

use crate::sets::RecordSet;
use serde::Serialize;

/// What a resolver holds of a record set that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The new data.
    New,
    /// The former data, and its TTL allows it still.
    WithinTtl {
        /// Seconds until no honest resolver holds it any more.
        left_s: u64,
    },
    /// The former data, though its TTL has run out everywhere.
    Overstaying {
        /// Seconds beyond.
        by_s: u64,
    },
    /// Data that is neither.
    Other {
        /// What it answered.
        data: String,
    },
    /// No answer that can be believed.
    Failing {
        /// Why.
        why: String,
    },
}

impl Verdict {
    /// Whether the resolver leads clients to the new data.
    pub fn is_new(&self) -> bool {
        *self == Self::New
    }

    /// Returns the word for it in what programs read.
    pub fn key(&self) -> &'static str {
        match self {
            Self::WithinTtl { .. } => "within_ttl",
            other => other.word(),
        }
    }

    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::WithinTtl { .. } => "within TTL",
            Self::Overstaying { .. } => "overstaying",
            Self::Other { .. } => "other",
            Self::Failing { .. } => "failing",
        }
    }
}

/// A change as those who watch it know it.
#[derive(Debug, Clone)]
pub struct Change {
    /// The data before, with its TTL.
    pub(crate) former: RecordSet,
    /// How long the absence of the set was kept, if it did not exist, seconds.
    pub(crate) negative_ttl_s: u32,
    /// The data after.
    pub(crate) wanted: RecordSet,
    /// When the last authoritative server had it, wall clock in milliseconds.
    pub(crate) published_at_ms: u64,
}

impl Change {
    /// Returns when no honest resolver holds the former answer, wall clock in milliseconds.
    pub fn safe_after_ms(&self) -> u64 {
        let kept_s = if self.former.exists() { self.former.ttl } else { self.negative_ttl_s };
        self.published_at_ms + u64::from(kept_s) * 1000
    }

    /// Judges what a resolver answered at `now_ms`.
    pub(crate) fn judge(&self, answer: Result<&RecordSet, String>, now_ms: u64) -> Verdict {
        let found = match answer {
            Ok(found) => found,
            Err(why) => return Verdict::Failing { why },
        };
        if found.data == self.wanted.data {
            return Verdict::New;
        }
        if found.data != self.former.data {
            let texts = found.texts().join(", ");
            let data = if found.exists() { texts } else { "nothing".to_owned() };
            return Verdict::Other { data };
        }
        let safe_after_ms = self.safe_after_ms();
        match safe_after_ms.checked_sub(now_ms) {
            // What it says of the rest cannot be more than what is left of the former TTL.
            Some(left_ms) if left_ms > 0 => {
                let left_s = left_ms.div_ceil(1000).min(u64::from(found.ttl).max(1));
                Verdict::WithinTtl { left_s }
            }
            _ => Verdict::Overstaying { by_s: (now_ms - safe_after_ms) / 1000 },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sets::{self, SetKey};
    use domain::base::Rtype;

    fn set(ttl: u32, data: &[&str]) -> RecordSet {
        let key = SetKey { name: sets::owner("shop.example.test").unwrap(), rtype: Rtype::A };
        let data: Vec<String> = data.iter().map(ToString::to_string).collect();
        sets::parse(&key, ttl, &data).unwrap()
    }

    fn change(former: &[&str]) -> Change {
        Change {
            former: set(300, former),
            negative_ttl_s: 60,
            wanted: set(60, &["192.0.2.2"]),
            published_at_ms: 1_000_000,
        }
    }

    #[test]
    fn tells_new_from_former_and_both_from_anything_else() {
        let change = change(&["192.0.2.1"]);
        let judge = |ttl, data: &[&str], now_ms| change.judge(Ok(&set(ttl, data)), now_ms);
        assert_eq!(judge(60, &["192.0.2.2"], 1_000_001), Verdict::New);
        assert_eq!(judge(300, &["192.0.2.1"], 1_100_000), Verdict::WithinTtl { left_s: 200 });
        // It asked late before the change, and says so.
        assert_eq!(judge(20, &["192.0.2.1"], 1_100_000), Verdict::WithinTtl { left_s: 20 });
        assert_eq!(judge(20, &["192.0.2.1"], 1_300_000), Verdict::Overstaying { by_s: 0 });
        assert_eq!(judge(300, &["192.0.2.1"], 1_307_500), Verdict::Overstaying { by_s: 7 });
        assert_eq!(judge(1, &["192.0.2.9"], 1_000_001).word(), "other");
        assert_eq!(judge(1, &[], 1_000_001), Verdict::Other { data: "nothing".into() });
        assert_eq!(change.judge(Err("SERVFAIL".into()), 0).word(), "failing");
    }

    #[test]
    fn absence_is_kept_as_long_as_the_zone_says() {
        let change = change(&[]);
        let nothing = set(0, &[]);
        assert_eq!(change.safe_after_ms(), 1_060_000);
        assert_eq!(change.judge(Ok(&nothing), 1_059_500), Verdict::WithinTtl { left_s: 1 });
        assert_eq!(change.judge(Ok(&nothing), 1_061_000), Verdict::Overstaying { by_s: 1 });
    }
}
