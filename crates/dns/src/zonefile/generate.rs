//! `$GENERATE`: records by number (BIND's manual, "$GENERATE").

use super::problem::Wrong;

/// Most records of one directive; a longer range is a mistake of the writer.
const RECORDS_MAX: u32 = 1 << 20;
/// Longest number, in digits.
const WIDTH_MAX: u32 = 128;

/// The numbers of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    start: u32,
    stop: u32,
    step: u32,
}

impl Range {
    /// Reads `1-10` or `0-30/2`.
    pub(super) fn read(text: &str) -> Result<Self, Wrong> {
        let bad = || Wrong(format!("`{text}` is no range like 1-10 or 0-30/2"));
        let (numbers, step) = text.split_once('/').unwrap_or((text, "1"));
        let (start, stop) = numbers.split_once('-').ok_or_else(bad)?;
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
            let value = plain.then(|| text.parse::<u32>().ok()).flatten();
            value.filter(|value| i32::try_from(*value).is_ok()).ok_or_else(bad)
        };
        let range = Self { start: number(start)?, stop: number(stop)?, step: number(step)? };
        if range.start > range.stop || range.step == 0 {
            return Err(bad());
        }
        if (range.stop - range.start) / range.step >= RECORDS_MAX {
            return Err(format!("`{text}` makes more than {RECORDS_MAX} records").into());
        }
        Ok(range)
    }

    /// Returns its numbers.
    pub(super) fn numbers(self) -> impl Iterator<Item = u32> {
        (self.start..=self.stop).step_by(self.step as usize)
    }
}

/// Writes `template` with `number` in the place of `$`.
///
/// `${offset,width,base}` adds to the number and formats it; `$$` and `\$` are a dollar.
pub(super) fn fill(template: &[u8], number: u32) -> Result<Vec<u8>, Wrong> {
    let mut filled = Vec::with_capacity(template.len() + 8);
    let mut rest = template;
    while let Some((octet, after)) = rest.split_first() {
        rest = after;
        match octet {
            b'$' if rest.first() == Some(&b'$') => {
                filled.push(b'$');
                rest = &rest[1..];
            }
            b'$' if rest.first() == Some(&b'{') => {
                let end = rest.iter().position(|octet| *octet == b'}').ok_or("`${` without `}`")?;
                filled.extend(formatted(&String::from_utf8_lossy(&rest[1..end]), number)?.bytes());
                rest = &rest[end + 1..];
            }
            b'$' => filled.extend(number.to_string().bytes()),
            b'\\' => {
                filled.push(b'\\');
                if let Some((escaped, after)) = rest.split_first() {
                    filled.push(*escaped);
                    rest = after;
                }
            }
            _ => filled.push(*octet),
        }
    }
    Ok(filled)
}

/// Formats as `offset[,width[,base]]` says.
fn formatted(modifier: &str, number: u32) -> Result<String, Wrong> {
    let bad = || Wrong(format!("`{{{modifier}}}` is not offset, width and base"));
    let mut parts = modifier.split(',');
    let offset: i64 = parts.next().and_then(|part| part.parse().ok()).ok_or_else(bad)?;
    let width: u32 = parts.next().map_or(Ok(0), |part| part.parse().map_err(|_| bad()))?;
    let base = parts.next().unwrap_or("d");
    if parts.next().is_some() || width > WIDTH_MAX {
        return Err(bad());
    }
    let value = i64::from(number) + offset;
    let value = i32::try_from(value).map_err(|_| bad())?;
    let wide = width as usize;
    Ok(match base {
        "d" => format!("{value:0wide$}"),
        "o" => format!("{value:0wide$o}"),
        "x" => format!("{value:0wide$x}"),
        "X" => format!("{value:0wide$X}"),
        "n" => nibbles(value as u32, width),
        "N" => nibbles(value as u32, width).to_uppercase(),
        _ => return Err(bad()),
    })
}

/// Hex digits from the lowest on, with dots between; the width counts both.
fn nibbles(value: u32, width: u32) -> String {
    let (mut rest, mut width, mut text) = (value, width, String::new());
    loop {
        text.push(char::from_digit(rest & 15, 16).unwrap_or('0'));
        rest >>= 4;
        width = width.saturating_sub(1);
        if rest == 0 && width == 0 {
            return text;
        }
        text.push('.');
        width = width.saturating_sub(1);
        if rest == 0 && width == 0 {
            return text;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fills_numbers_in() {
        for (template, number, wanted) in [
            ("host$", 7, "host7"),
            ("$.0.0.10", 7, "7.0.0.10"),
            ("h${-1}", 7, "h6"),
            ("h${10,4}", 7, "h0017"),
            ("h${0,3,x}", 255, "h0ff"),
            ("h${0,0,X}", 255, "hFF"),
            ("h${0,4,o}", 8, "h0010"),
            ("${0,7,n}", 0x1a2b, "b.2.a.1"),
            ("$$\\$", 7, "$\\$"),
        ] {
            let filled = fill(template.as_bytes(), number).unwrap();
            assert_eq!(String::from_utf8(filled).unwrap(), wanted, "{template}");
        }
        for bad in ["${", "${}", "${1,2,q}", "${x}", "${2147483647}", "${0,1000}"] {
            assert!(fill(bad.as_bytes(), 7).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_ranges() {
        assert_eq!(Range::read("1-3").unwrap().numbers().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(Range::read("0-5/2").unwrap().numbers().collect::<Vec<_>>(), [0, 2, 4]);
        for bad in ["3-1", "1", "1-", "1-3/0", "a-b", "1-3000000000", "0-2000000"] {
            assert!(Range::read(bad).is_err(), "{bad}");
        }
    }
}
