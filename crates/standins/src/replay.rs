//! What visitors ask for: taken from the source's own access log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// So much of the log's end is read, bytes.
const READ: u64 = 8 << 20;
/// So many different pages are replayed.
const PAGES: usize = 2_000;

/// What a log says of its visitors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Visits {
    /// Paths of safe requests that were answered well, in their order.
    pub gets: Vec<String>,
    /// Safe requests a second, if it can be told.
    pub gets_per_second: Option<f64>,
    /// Requests a second that may write, if it can be told.
    pub posts_per_second: Option<f64>,
}

/// Reads the end of a log in common or combined format.
///
/// # Errors
/// If it cannot be read.
pub fn read(log: &Path) -> io::Result<Visits> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(READ);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(READ).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may have lost its beginning.
    Ok(visits(text.lines().skip(usize::from(from > 0))))
}

fn visits<'a>(lines: impl Iterator<Item = &'a str>) -> Visits {
    let mut all = Visits::default();
    let (mut gets, mut posts) = (0_u64, 0_u64);
    let mut seconds: BTreeMap<i64, ()> = BTreeMap::new();
    for line in lines {
        let Some(seen) = Seen::of(line) else { continue };
        seconds.insert(seen.second, ());
        match seen.method {
            "GET" | "HEAD" => {
                gets += 1;
                let well = (200..400).contains(&seen.status) && seen.method == "GET";
                // A canary of a run is no visitor.
                if well && all.gets.len() < PAGES && !seen.path.contains("segue-canary") {
                    all.gets.push(seen.path.to_owned());
                }
            }
            _ => posts += 1,
        }
    }
    let ends = seconds.keys().next().zip(seconds.keys().next_back());
    if let Some((first, last)) = ends.filter(|(first, last)| last > first) {
        #[allow(clippy::cast_precision_loss)] // Seconds and lines of a few megabytes.
        let per_second = |count: u64| count as f64 / (last - first + 1) as f64;
        all.gets_per_second = Some(per_second(gets));
        all.posts_per_second = Some(per_second(posts));
    }
    all
}

struct Seen<'a> {
    second: i64,
    method: &'a str,
    path: &'a str,
    status: u16,
}

impl<'a> Seen<'a> {
    /// `1.2.3.4 - - [29/Nov/2026:14:00:01 +0000] "GET /a HTTP/1.1" 200 12 "-" "-"`
    fn of(line: &'a str) -> Option<Self> {
        let (_, rest) = line.split_once('[')?;
        let (time, rest) = rest.split_once("] \"")?;
        let time = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", time).ok()?;
        let second = time.to_timestamp().ok()?.as_second();
        let (request, rest) = rest.split_once("\" ")?;
        let mut words = request.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let status = rest.split(' ').next()?.parse().ok()?;
        path.starts_with('/').then_some(Self { second, method, path, status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_rates_are_read_from_a_combined_log() {
        let line = |second: u32, request: &str, status: u16| {
            format!(
                "127.0.0.1 - - [29/Nov/2026:14:00:{second:02} +0100] \"{request} HTTP/1.1\" {status} 5 \"-\" \"x y\""
            )
        };
        let lines = [
            line(0, "GET /a?b=c", 200),
            line(1, "POST /order", 201),
            line(2, "GET /missing", 404),
            line(3, "GET /healthz?segue-canary=1", 200),
            "no log line".to_owned(),
        ];
        let seen = visits(lines.iter().map(String::as_str));
        assert_eq!(seen.gets, ["/a?b=c"]);
        assert_eq!(seen.gets_per_second, Some(0.75));
        assert_eq!(seen.posts_per_second, Some(0.25));
    }

    #[test]
    fn a_log_of_one_second_has_no_rate() {
        let seen = visits(
            ["1.2.3.4 - - [29/Nov/2026:14:00:00 +0000] \"GET / HTTP/1.1\" 200 1"].into_iter(),
        );
        assert_eq!(seen.gets, ["/"]);
        assert_eq!(seen.gets_per_second, None);
    }
}
