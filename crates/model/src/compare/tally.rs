//! The sum over many requests, in bounded room.

use super::Kind;
use serde::{Deserialize, Serialize};

/// Examples of each difference.
const EXAMPLES: usize = 5;

/// Differences that are told apart; headers and pairs of statuses are few.
const DIFFERENCES: usize = 64;

/// Times that are kept: those that came last.
const TIMES: usize = 4_096;

/// A kind of difference, with examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// In what.
    pub kind: Kind,
    /// In words: `200 at the source, 404 at the target`.
    pub text: String,
    /// Requests in which it was found.
    pub count: usize,
    /// Some of their URLs, values of their queries masked.
    pub examples: Vec<String>,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Requests that were asked.
    pub asked: usize,
    /// Those that were answered the same.
    pub same: usize,
    /// Those that the source does not answer the same twice; what stayed the same was compared.
    pub noisy: usize,
    /// What differs, the most frequent first.
    pub differences: Vec<Difference>,
    /// Median of the target's time as a multiple of the source's, for the same request; none
    /// without answers of both.
    pub time_ratio: Option<f64>,
    /// Bounds within which that median lies with 95 %; none below six requests.
    pub time_bounds: Option<(f64, f64)>,
}

/// Adds up what was found.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    all: Compared,
    ratios: Vec<f64>,
}

impl Tally {
    /// Notes what was found of a request, whether it is noisy, and the target's time as a multiple
    /// of the source's.
    pub fn note(&mut self, url: &str, found: Vec<(Kind, String)>, noisy: bool, ratio: Option<f64>) {
        self.all.same += usize::from(found.is_empty());
        self.all.noisy += usize::from(noisy);
        if let Some(ratio) = ratio {
            if self.ratios.len() < TIMES {
                self.ratios.push(ratio);
            } else {
                self.ratios[self.all.asked % TIMES] = ratio;
            }
        }
        self.all.asked += 1;
        for (kind, text) in found {
            self.differ(kind, text, url);
        }
    }

    fn differ(&mut self, kind: Kind, text: String, url: &str) {
        let all = &mut self.all.differences;
        let known = all.iter().position(|known| known.kind == kind && known.text == text);
        match known {
            Some(at) => {
                let known = &mut all[at];
                known.count += 1;
                let url = masked(url);
                if known.examples.len() < EXAMPLES && !known.examples.contains(&url) {
                    known.examples.push(url);
                }
            }
            None if all.len() < DIFFERENCES => {
                all.push(Difference { kind, text, count: 1, examples: vec![masked(url)] });
            }
            None => {}
        }
    }

    /// Returns the sum so far.
    pub fn compared(&self) -> Compared {
        let mut all = self.all.clone();
        all.differences.sort_by_key(|difference| std::cmp::Reverse(difference.count));
        (all.time_ratio, all.time_bounds) = median(self.ratios.clone());
        all
    }
}

/// Returns a path with its query's values masked: they may be secrets.
pub fn masked(url: &str) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
    let part = |part: &str| {
        part.split_once('=').map_or_else(|| "*".to_owned(), |(name, _)| format!("{name}=*"))
    };
    let masked: Vec<String> = query.split('&').map(part).collect();
    format!("{path}?{}", masked.join("&"))
}

/// Returns the median, and the bounds within which it lies with 95 %: those of a sign test, which
/// asks nothing of how times are distributed.
fn median(mut all: Vec<f64>) -> (Option<f64>, Option<(f64, f64)>) {
    all.sort_by(f64::total_cmp);
    let Some(middle) = all.get(all.len() / 2).copied() else { return (None, None) };
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let low = {
        let n = all.len() as f64;
        (n / 2.0 - 0.98 * n.sqrt()).floor().max(0.0) as usize
    };
    let bounds = (all.len() >= 6).then(|| (all[low], all[all.len() - 1 - low]));
    (Some(middle), bounds)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_few_has_no_bounds() {
        assert_eq!(median(Vec::new()), (None, None));
        assert_eq!(median(vec![2.0, 1.0, 4.0]), (Some(2.0), None));
        let (middle, bounds) = median((1..=101).map(f64::from).collect());
        let (low, high) = bounds.unwrap();
        assert_eq!(middle, Some(51.0));
        // The 41st and the 61st of 101, by the tables of the sign test.
        assert!((40.0..=42.0).contains(&low) && (60.0..=62.0).contains(&high), "{low} {high}");
    }

    #[test]
    fn room_is_bounded_and_the_latest_times_count() {
        let mut tally = Tally::default();
        for number in 0..3 * TIMES {
            let ratio = if number < TIMES { 9.0 } else { 1.0 };
            let found = vec![(Kind::Header, format!("header `{}`", number % (2 * DIFFERENCES)))];
            tally.note(&format!("/{number}?key=secret"), found, number % 2 == 0, Some(ratio));
        }
        assert_eq!(tally.ratios.len(), TIMES);
        let all = tally.compared();
        assert_eq!((all.asked, all.same, all.noisy), (3 * TIMES, 0, 3 * TIMES / 2));
        assert_eq!(all.time_ratio, Some(1.0));
        assert_eq!(all.differences.len(), DIFFERENCES);
        let first = &all.differences[0];
        assert_eq!((first.count, first.examples.len()), (96, EXAMPLES));
        assert!(first.examples.iter().all(|url| url.ends_with("?key=*")), "{first:?}");
        tally.note("/", Vec::new(), false, None);
        assert_eq!(tally.compared().same, 1);
    }
}
