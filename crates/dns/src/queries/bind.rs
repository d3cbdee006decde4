//! Lines of BIND's category `queries`, as 9.18 writes them:
//!
//! ```text
//! 30-Nov-2026 03:44:50.123 queries: info: client @0x7f12 192.0.2.7#4242/key k (a.test): view v: query: a.test IN A -E(0)K (192.0.2.53)
//! ```
//!
//! Time, category and severity stand there as the channel says (`print-time` and so on). In a
//! name a blank is written `\032`, so no name can look like the words around it.

use super::{Query, Time, plain};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::net::IpAddr;

/// Reads a line; `None` if it tells of no question of the class IN.
pub(super) fn query(line: &str) -> Option<Query> {
    let (_, rest) = line.split_once("client ")?;
    let (who, asked) = rest.split_once(": query: ")?;
    let mut who = who.split(' ');
    let mut from = who.next()?;
    if from.starts_with('@') {
        from = who.next()?;
    }
    let (from, _) = from.split_once('#')?;
    let from: IpAddr = from.split('%').next()?.parse().ok()?;
    let mut asked = asked.split(' ');
    let (name, class, rtype) = (asked.next()?, asked.next()?, asked.next()?);
    (class == "IN").then(|| Query {
        at: time(line),
        from,
        name: plain(name),
        rtype: rtype.to_owned(),
    })
}

/// Reads when a line was written (`print-time` as `local`, `iso8601` or `iso8601-utc`).
pub(super) fn time(line: &str) -> Time {
    let mut words = line.splitn(3, ' ');
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let known = |ms: i64, make: fn(u64) -> Time| u64::try_from(ms).map_or(Time::Unknown, make);
    if first.ends_with('Z')
        && let Ok(at) = first.parse::<Timestamp>()
    {
        return known(at.as_millisecond(), Time::Utc);
    }
    let written = first
        .parse::<DateTime>()
        .or_else(|_| DateTime::strptime("%d-%b-%Y %H:%M:%S%.f", format!("{first} {second}")));
    match written.and_then(|at| at.to_zoned(TimeZone::UTC)) {
        Ok(at) => known(at.timestamp().as_millisecond(), Time::Local),
        Err(_) => Time::Unknown,
    }
}
