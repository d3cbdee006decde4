//! A number as a pattern: nginx compares no numbers, but it matches regular expressions.

/// Returns a pattern, without anchors, of all whole numbers of as many digits as `least` has,
/// and not below it.
pub(super) fn at_least(least: u64) -> String {
    let digits = least.to_string().into_bytes();
    let mut ways = Vec::new();
    for (place, digit) in digits.iter().enumerate() {
        let before = String::from_utf8_lossy(&digits[..place]);
        let after = digits.len() - place - 1;
        match digit {
            b'9' => {}
            b'8' => ways.push(format!("{before}9[0-9]{{{after}}}")),
            _ => ways.push(format!("{before}[{}-9][0-9]{{{after}}}", (digit + 1) as char)),
        }
    }
    ways.push(least.to_string());
    ways.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matcher for the few forms that are written: digits, `[a-b]`, `{n}`.
    fn matches(way: &str, number: &str) -> bool {
        let (mut way, mut number) = (way.as_bytes(), number.as_bytes());
        while !way.is_empty() {
            let (low, high, rest) = match way {
                [b'[', low, b'-', high, b']', rest @ ..] => (*low, *high, rest),
                [digit, rest @ ..] => (*digit, *digit, rest),
                [] => return false,
            };
            let (times, rest) = match rest {
                [b'{', times, b'}', rest @ ..] => (usize::from(times - b'0'), rest),
                rest => (1, rest),
            };
            let Some((here, more)) = number.split_at_checked(times) else { return false };
            if !here.iter().all(|digit| (low..=high).contains(digit)) {
                return false;
            }
            (way, number) = (rest, more);
        }
        number.is_empty()
    }

    #[test]
    fn matches_what_is_not_below_and_nothing_else() {
        for least in [1_000_u64, 1_999, 4_567, 8_989, 9_000, 9_999] {
            let pattern = at_least(least);
            for number in 1_000..=9_999_u64 {
                let matched = pattern.split('|').any(|way| matches(way, &number.to_string()));
                assert_eq!(matched, number >= least, "{number} by {pattern}");
            }
        }
    }
}
