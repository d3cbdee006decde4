//! When requests came, by an access log in common or combined format.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Longest line that is looked at, bytes; the time stands near its beginning.
const LINE_MAX: u64 = 64 << 10;
const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// What a log shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestTimes {
    /// Moments of requests, milliseconds since 1970.
    pub moments: Vec<u64>,
    /// Lines without a time.
    pub odd: u64,
    /// Whether the log is longer than what was read of its end.
    pub cut: bool,
}

/// Reads the times of requests from the last `most` bytes of a log. Blocks.
///
/// # Errors
/// If it cannot be read, or no line of it has a time.
pub fn request_times(path: &Path, most: u64) -> io::Result<RequestTimes> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut times = RequestTimes { cut: length > most, ..RequestTimes::default() };
    if times.cut {
        file.seek(SeekFrom::Start(length - most))?;
    }
    // What is written meanwhile does not count.
    let mut reader = BufReader::new(file.take(most.min(length)));
    let mut line = Vec::new();
    let mut first = times.cut;
    while read_line(&mut reader, &mut line)? {
        // The first line of a part has no beginning.
        if std::mem::take(&mut first) || line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match moment(&line) {
            Some(ms) => times.moments.push(ms),
            None => times.odd += 1,
        }
    }
    if times.moments.is_empty() && times.odd > 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no line has a time as the common or combined format writes it",
        ));
    }
    Ok(times)
}

/// Reads a line, of a very long one only the beginning; false at the end.
pub(crate) fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    if reader.take(LINE_MAX).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    while !line.ends_with(b"\n") {
        let mut rest = Vec::new();
        if reader.take(LINE_MAX).read_until(b'\n', &mut rest)? == 0 || rest.ends_with(b"\n") {
            break;
        }
    }
    Ok(true)
}

/// Returns the moment in `... [10/Oct/2000:13:55:36 -0700] ...`.
fn moment(line: &[u8]) -> Option<u64> {
    // Names of users may hold a bracket: the first that is followed by a time counts.
    let mut starts = line.iter().enumerate().filter(|(_, b)| **b == b'[').map(|(at, _)| at + 1);
    starts.find_map(|at| time(line.get(at..at + 26)?))
}

fn time(text: &[u8]) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to).filter(|part| part.iter().all(u8::is_ascii_digit))?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let separators = [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':'), (20, b' ')];
    if separators.iter().any(|(at, wanted)| text.get(*at) != Some(wanted)) {
        return None;
    }
    let month = MONTHS.iter().position(|name| text.get(3..6) == Some(*name))? as i64 + 1;
    let (day, year) = (number(0, 2)?, number(7, 11)?);
    let (hour, minute, second) = (number(12, 14)?, number(15, 17)?, number(18, 20)?);
    let east = match text.get(21)? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let offset = east * (number(22, 24)? * 3_600 + number(24, 26)? * 60);
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    u64::try_from(seconds.checked_mul(1_000)?).ok()
}

/// Returns the days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March end with the leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{moment, request_times};
    use std::io::Write;

    #[test]
    fn a_line_of_either_format_has_its_time() {
        let common = b"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 2326";
        assert_eq!(moment(common), Some(971_211_336_000));
        let combined =
            b"::1 - a[b [29/Feb/2024:00:00:00 +0100] \"GET /[x] HTTP/1.1\" 200 1 \"-\" \"-\"";
        assert_eq!(moment(combined), Some(1_709_161_200_000));
        assert_eq!(moment(b"127.0.0.1 - - [01/Jan/1970:00:00:00 +0000] x"), Some(0));
        for wrong in ["", "[", "[10/Foo/2000:13:55:36 -0700]", "[10/Oct/2000 13:55:36 -0700]"] {
            assert_eq!(moment(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn of_a_long_log_only_the_end_is_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for hour in 0..10 {
            writeln!(file, "1.2.3.4 - - [01/Jun/2026:{hour:02}:00:00 +0000] \"GET /\" 200 1")
                .unwrap();
        }
        let whole = request_times(file.path(), 1 << 20).unwrap();
        assert_eq!((whole.moments.len(), whole.odd, whole.cut), (10, 0, false));
        let end = request_times(file.path(), 150).unwrap();
        assert!(end.cut);
        assert_eq!(end.moments, whole.moments[8..]);
        std::fs::write(file.path(), "no log\nat all\n").unwrap();
        assert!(request_times(file.path(), 1 << 20).is_err());
    }
}
