//! LOC: where something stands (RFC 1876).

use super::problem::Wrong;
use super::scan::Scan;
use domain::base::scan::Scanner;

/// The equator and the prime meridian on the wire, in thousandths of an arc second.
const MIDDLE: u32 = 1 << 31;
/// Metres below the reference spheroid at which altitudes begin.
const BELOW_M: i64 = 100_000;
/// Size, horizontal and vertical precision where none is written: 1 m, 10 km, 10 m.
const PRECISION: [u8; 3] = [0x12, 0x16, 0x13];

/// Reads `52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m`.
pub(super) fn read(scan: &mut Scan<'_, '_>) -> Result<Vec<u8>, Wrong> {
    let latitude = angle(scan, 90, ["N", "S"])?;
    let longitude = angle(scan, 180, ["E", "W"])?;
    let altitude = altitude(&scan.ascii()?)?;
    let mut precision = PRECISION;
    for octet in &mut precision {
        if scan.continues() {
            *octet = size(&scan.ascii()?)?;
        }
    }
    let mut wire = vec![0];
    wire.extend(precision);
    for number in [latitude, longitude, altitude] {
        wire.extend(number.to_be_bytes());
    }
    Ok(wire)
}

/// Degrees, then perhaps minutes and seconds, then the side of the globe.
fn angle(scan: &mut Scan<'_, '_>, degrees_max: u32, sides: [&str; 2]) -> Result<u32, Wrong> {
    let bad = |word: &str| Wrong(format!("`{word}` is no part of a place on the globe"));
    let mut thousandths = 0;
    let mut parts = 0;
    loop {
        let word = scan.ascii()?;
        let side = sides.iter().position(|side| word.eq_ignore_ascii_case(side));
        if let Some(side) = side.filter(|_| parts > 0) {
            if thousandths > degrees_max * 3_600_000 {
                return Err(format!("more than {degrees_max} degrees").into());
            }
            return Ok(if side == 0 { MIDDLE + thousandths } else { MIDDLE - thousandths });
        }
        let (whole, part) = decimal(&word, 3).filter(|_| parts < 3).ok_or_else(|| bad(&word))?;
        let (max, each) = [(degrees_max, 3_600_000), (59, 60_000), (59, 1_000)][parts];
        let whole = u32::try_from(whole).ok().filter(|whole| *whole <= max);
        if parts < 2 && word.contains('.') {
            return Err(bad(&word));
        }
        thousandths += whole.ok_or_else(|| bad(&word))? * each + part;
        parts += 1;
    }
}

/// Splits a number with up to `digits` decimals into its whole and its part.
fn decimal(word: &str, digits: usize) -> Option<(u64, u32)> {
    let (whole, part) = word.split_once('.').unwrap_or((word, ""));
    let plain = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || whole.len() > 10 || part.len() > digits || !plain(whole) || !plain(part)
    {
        return None;
    }
    Some((whole.parse().ok()?, format!("{part:0<digits$}").parse().ok()?))
}

fn metres(word: &str) -> Option<(u64, u32)> {
    decimal(word.strip_suffix(['m', 'M']).unwrap_or(word), 2)
}

/// Centimetres above the point 100 km below the spheroid.
fn altitude(word: &str) -> Result<u32, Wrong> {
    let bad = || Wrong(format!("`{word}` is no altitude"));
    let (sign, number) = word.strip_prefix('-').map_or((1, word), |number| (-1, number));
    let (whole, part) = metres(number).ok_or_else(bad)?;
    let centimetres =
        i64::try_from(whole).ok().and_then(|whole| whole.checked_mul(100)).ok_or_else(bad)?;
    u32::try_from(BELOW_M * 100 + sign * (centimetres + i64::from(part))).map_err(|_| bad())
}

/// A length as a digit and a power of ten, in centimetres; what does not fit is cut off.
fn size(word: &str) -> Result<u8, Wrong> {
    let bad = || Wrong(format!("`{word}` is no size"));
    let (whole, part) = metres(word).ok_or_else(bad)?;
    let mut rest = whole * 100 + u64::from(part);
    if whole > 90_000_000 {
        return Err(bad());
    }
    let mut power = 0;
    while rest > 9 {
        rest /= 10;
        power += 1;
    }
    Ok((rest as u8) << 4 | power)
}
