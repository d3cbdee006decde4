//! Durations as zone files write them: seconds, or numbers with units.

/// Seconds of each unit.
const UNITS: [(u8, u64); 5] =
    [(b'w', 604_800), (b'd', 86_400), (b'h', 3_600), (b'm', 60), (b's', 1)];

/// Reads `3600`, `1h`, `1h30m`; `None` if it is anything else, or more than 32 bits hold.
///
/// Units come in any order and case, as in BIND's manual ("TTLs"); a number without one stands
/// alone.
pub(super) fn seconds(raw: &[u8]) -> Option<u32> {
    let (mut total, mut number, mut units) = (0_u64, None, 0);
    for octet in raw {
        if octet.is_ascii_digit() {
            let digit = u64::from(octet - b'0');
            let grown = number.unwrap_or(0_u64).checked_mul(10)?.checked_add(digit)?;
            // So that nothing below can overflow.
            number = Some(grown).filter(|n| *n <= u64::from(u32::MAX));
            number?;
        } else {
            let unit = octet.to_ascii_lowercase();
            let (_, each) = UNITS.iter().find(|(name, _)| *name == unit)?;
            total = total.checked_add(number.take()?.checked_mul(*each)?)?;
            units += 1;
        }
    }
    match (number, units) {
        (Some(number), 0) => u32::try_from(number).ok(),
        (None, 1..) => u32::try_from(total).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn reads_units_and_nothing_else() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("3600", Some(3600)),
            ("1h30m", Some(5400)),
            ("1W2D3H4M5S", Some(788_645)),
            ("30m1h", Some(5400)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("99999999999999999999999", None),
            ("7102w", None),
            ("", None),
            ("h", None),
            ("1h30", None),
            ("1y", None),
            ("-1", None),
            ("A", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), wanted, "{text}");
        }
    }
}
