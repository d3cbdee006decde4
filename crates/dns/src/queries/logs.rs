//! The query logs of a plan, and the shares they tell.

use super::dnstap::Frames;
use super::tail::{Piece, Tail};
use super::tally::{Asking, MINUTE_MS, Tally};
use super::{Time, bind, plain};
use crate::change::now_ms;
use async_trait::async_trait;
use segue_model::plan::{QueryLogFormat, QueryLogPlan, ZonePlan};
use segue_model::{Fault, FaultKind, Sample};
use segue_port::{Outcome, Sampler};
use serde::Serialize;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most pieces of one log that are read in one look: 64 MiB.
const PIECES_MAX: usize = 16;
/// Most resolvers that are told of one authority, the newest first.
const TOLD_MAX: usize = 32;
/// Time between two looks at the logs.
const EVERY: Duration = Duration::from_secs(1);
/// Zones of the clock differ by quarters of an hour, milliseconds.
const QUARTER_MS: i64 = 900_000;
/// Longest line of text that is kept until its end comes.
const LINE_MAX: usize = 64 * 1024;

/// The query logs of the zones of a plan.
#[derive(Debug)]
pub struct QueryLogs {
    authorities: Vec<Authority>,
    watched: Vec<IpAddr>,
}

#[derive(Debug)]
struct Authority {
    zone: String,
    provider: Option<String>,
    logs: Vec<Log>,
    tally: Tally,
}

#[derive(Debug)]
struct Log {
    file: PathBuf,
    tail: Tail,
    reader: Reader,
    /// Why it cannot be read; none if it can.
    why: Option<String>,
    /// From when on it was read without a gap, wall clock in milliseconds.
    since_ms: Option<u64>,
}

#[derive(Debug)]
enum Reader {
    Lines(Vec<u8>),
    Frames(Frames),
}

/// Who asked the name servers of one authority.
#[derive(Debug, Clone, Serialize)]
pub struct AuthorityQueries {
    /// The authority's name in the plan; none if it is the zone's only one.
    pub authority: Option<String>,
    /// Why a log of it cannot be read; empty if all can. An authority without a log in the plan
    /// says so here.
    pub unknown: Vec<String>,
    /// How much of the last minute its logs tell of, seconds.
    pub covered_s: u64,
    /// Questions of the last minute for owned names.
    pub queries: Option<u64>,
    /// Questions of the last minute for any name of the zone.
    pub zone_queries: Option<u64>,
    /// Which part of the zone's questions for owned names came here, percent; none if nobody
    /// asked, or a log of the zone cannot be read.
    pub queries_percent: Option<f64>,
    /// Resolvers that asked here in the last minute for any name of the zone.
    pub resolvers: Option<u64>,
    /// Which part of the resolvers of the last minute asked here last, percent.
    pub resolvers_percent: Option<f64>,
    /// When somebody asked here last, wall clock in milliseconds.
    pub last_ms: Option<u64>,
    /// Who asked here, the newest first; at most 32.
    pub asking: Vec<Asking>,
    /// How many more were seen than are told.
    pub more: u64,
    /// Questions from this machine; they are in no share.
    pub own_queries: u64,
}

/// Who asked the name servers of one zone.
#[derive(Debug, Clone, Serialize)]
pub struct ZoneQueries {
    /// The zone.
    pub zone: String,
    /// By authority, in the order of the plan.
    pub authorities: Vec<AuthorityQueries>,
}

impl QueryLogs {
    /// Builds readers of every query log of these zones; none if there is no log. `watched` are
    /// the plan's resolvers.
    pub fn of(zones: &[ZonePlan], watched: &[SocketAddr]) -> Option<Self> {
        let has_logs =
            |name: &str| zones.iter().any(|z| z.zone == name && !z.query_logs.is_empty());
        let meant = zones.iter().filter(|zone| has_logs(&zone.zone));
        let authorities: Vec<Authority> = meant
            .map(|zone| {
                let changed = zone.records.iter().filter(|set| set.data.source != set.data.target);
                let owned = changed.map(|set| plain(&set.name)).collect();
                let own = zone.servers.iter().filter_map(|server| own_address(*server)).collect();
                Authority {
                    zone: zone.zone.clone(),
                    provider: zone.provider.clone(),
                    logs: zone.query_logs.iter().map(Log::new).collect(),
                    tally: Tally::new(plain(&zone.zone), owned, own),
                }
            })
            .collect();
        let watched = watched.iter().map(SocketAddr::ip).collect();
        (!authorities.is_empty()).then_some(Self { authorities, watched })
    }

    /// Reads what has come.
    pub fn read(&mut self) {
        let (now_ms, _) = now_ms();
        for authority in &mut self.authorities {
            for log in &mut authority.logs {
                log.read(&mut authority.tally, now_ms);
            }
            authority.tally.forget(now_ms);
        }
    }

    /// Tells what is known now.
    pub fn told(&self) -> Vec<ZoneQueries> {
        let (now_ms, _) = now_ms();
        let mut zones: Vec<&str> = self.authorities.iter().map(|a| a.zone.as_str()).collect();
        zones.dedup();
        zones.into_iter().map(|zone| self.zone(zone, now_ms)).collect()
    }

    fn zone(&self, zone: &str, now_ms: u64) -> ZoneQueries {
        let here: Vec<&Authority> = self.authorities.iter().filter(|a| a.zone == zone).collect();
        // Where each resolver asked last.
        let mut newest: HashMap<IpAddr, (u64, usize)> = HashMap::new();
        for (place, authority) in here.iter().enumerate() {
            for (resolver, last_ms, _) in authority.tally.resolvers() {
                let known = newest.entry(resolver).or_insert((last_ms, place));
                if last_ms > known.0 {
                    *known = (last_ms, place);
                }
            }
        }
        newest.retain(|_, (last_ms, _)| *last_ms + MINUTE_MS > now_ms);
        let whole = here.iter().all(|authority| authority.unknown().is_empty());
        let all: u64 = here.iter().map(|authority| authority.tally.minute(now_ms).1).sum();
        let told = here.iter().enumerate().map(|(place, authority)| {
            let mut told = authority.told(&self.watched, now_ms);
            let last_here = newest.values().filter(|(_, at)| *at == place).count() as u64;
            if whole {
                told.queries_percent = told.queries.and_then(|part| percent(part, all));
                told.resolvers_percent = percent(last_here, newest.len() as u64);
            }
            told
        });
        ZoneQueries { zone: zone.to_owned(), authorities: told.collect() }
    }
}

/// Returns a share; of nothing there is none.
#[allow(clippy::cast_precision_loss)] // Questions of a minute.
fn percent(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 * 100.0 / all as f64)
}

/// Returns the address from which this machine would ask a server: what comes from there is ours.
fn own_address(server: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Nothing is sent by this.
    socket.connect(server).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

impl Authority {
    fn unknown(&self) -> Vec<String> {
        let why = |log: &Log| log.why.as_ref().map(|why| format!("{}: {why}", log.file.display()));
        match self.logs.is_empty() {
            true => vec!["the plan names no query log of it".to_owned()],
            false => self.logs.iter().filter_map(why).collect(),
        }
    }

    /// Returns how much of the last minute every log of it tells of, seconds.
    fn covered_s(&self, now_ms: u64) -> u64 {
        let covered = |log: &Log| {
            log.since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms).min(MINUTE_MS))
        };
        self.logs.iter().map(covered).min().unwrap_or(0) / 1000
    }

    fn told(&self, watched: &[IpAddr], now_ms: u64) -> AuthorityQueries {
        let unknown = self.unknown();
        let known = unknown.is_empty();
        let (zone_queries, queries) = self.tally.minute(now_ms);
        let mut asking: Vec<Asking> = self
            .tally
            .resolvers()
            .map(|(resolver, last_ms, queries)| Asking {
                resolver,
                last_ms,
                queries,
                watched: watched.contains(&resolver),
            })
            .collect();
        asking.sort_by_key(|asking| (std::cmp::Reverse(asking.last_ms), asking.resolver));
        let recent = asking.iter().filter(|asking| asking.last_ms + MINUTE_MS > now_ms).count();
        let more = asking.len().saturating_sub(TOLD_MAX) as u64 + self.tally.left_out();
        let last_ms = asking.first().map(|asking| asking.last_ms);
        asking.truncate(TOLD_MAX);
        AuthorityQueries {
            authority: self.provider.clone(),
            covered_s: self.covered_s(now_ms),
            queries: known.then_some(queries),
            zone_queries: known.then_some(zone_queries),
            queries_percent: None,
            resolvers: known.then_some(recent as u64),
            resolvers_percent: None,
            last_ms,
            asking,
            more,
            own_queries: self.tally.own_queries(),
            unknown,
        }
    }
}

impl Log {
    fn new(plan: &QueryLogPlan) -> Self {
        let (skips, reader) = match plan.format {
            QueryLogFormat::Bind => (true, Reader::Lines(Vec::new())),
            QueryLogFormat::Dnstap => (false, Reader::Frames(Frames::default())),
        };
        let file = plan.file.clone();
        let why = Some("it was not read yet".into());
        Self { tail: Tail::new(&file, skips), file, reader, why, since_ms: None }
    }

    fn read(&mut self, tally: &mut Tally, now_ms: u64) {
        let mut behind = true;
        for _ in 0..PIECES_MAX {
            let read = self.tail.read();
            let piece = match read {
                Ok(piece) => piece,
                Err(e) => {
                    self.why = Some(e.to_string());
                    return;
                }
            };
            let more = piece.more;
            if piece.skipped {
                self.since_ms = None;
            }
            let first = self.since_ms.is_none();
            match self.reader.take(piece, tally, first, now_ms) {
                Ok(from_ms) => {
                    self.since_ms.get_or_insert(from_ms);
                    self.why = None;
                }
                Err(why) => self.why = Some(why.to_owned()),
            }
            if !more {
                behind = false;
                break;
            }
        }
        if behind && self.why.is_none() {
            self.why = Some("it is still being read".into());
        }
    }
}

impl Reader {
    /// Counts what a piece tells and returns from when on it does. The `first` of a log may be
    /// old: lines of it that do not say when they were written are not counted.
    fn take(
        &mut self,
        piece: Piece,
        tally: &mut Tally,
        first: bool,
        now_ms: u64,
    ) -> Result<u64, &'static str> {
        let mut queries = Vec::new();
        // The newest moment of the text, for the zone of its clock.
        let mut newest = Time::Unknown;
        let mut oldest = Time::Unknown;
        let done = match self {
            Self::Frames(frames) => {
                if piece.fresh {
                    *frames = Frames::default();
                }
                frames.feed(&piece.bytes, &mut |query| {
                    if oldest == Time::Unknown {
                        oldest = query.at;
                    }
                    if tally.wants(&query) {
                        queries.push(query);
                    }
                })
            }
            Self::Lines(rest) => {
                if piece.fresh || piece.skipped {
                    rest.clear();
                }
                rest.extend_from_slice(&piece.bytes);
                // Begun in the middle, the first line is a part of one.
                let mut partial = piece.skipped;
                let end = rest.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
                for line in rest[..end].split(|octet| *octet == b'\n') {
                    if std::mem::take(&mut partial) || line.is_empty() {
                        continue;
                    }
                    let line = String::from_utf8_lossy(line);
                    if oldest == Time::Unknown {
                        oldest = bind::time(&line);
                    }
                    queries.extend(bind::query(&line).filter(|query| tally.wants(query)));
                }
                let last = rest[..end].trim_ascii_end().rsplit(|octet| *octet == b'\n').next();
                newest = last.map_or(Time::Unknown, |l| bind::time(&String::from_utf8_lossy(l)));
                rest.drain(..end);
                if rest.len() > LINE_MAX {
                    rest.clear();
                }
                Ok(())
            }
        };
        let clock = Clock::of(newest, piece.written_ms);
        for query in queries.iter().filter(|query| !first || query.at != Time::Unknown) {
            tally.take(query, clock.wall(query.at, piece.written_ms).min(now_ms));
        }
        done.map(|()| clock.wall(oldest, now_ms).min(now_ms))
    }
}

/// How far the clock of a text is ahead of that of 1970, which it does not say: the file was
/// written when its last line was.
struct Clock {
    ahead_ms: i64,
}

impl Clock {
    fn of(newest: Time, written_ms: u64) -> Self {
        let Time::Local(newest_ms) = newest else { return Self { ahead_ms: 0 } };
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let ahead = signed(newest_ms).saturating_sub(signed(written_ms));
        let quarters = ahead.saturating_add(QUARTER_MS / 2).div_euclid(QUARTER_MS);
        Self { ahead_ms: quarters.saturating_mul(QUARTER_MS) }
    }

    fn wall(&self, at: Time, unknown_ms: u64) -> u64 {
        match at {
            Time::Utc(ms) => ms,
            Time::Local(ms) => ms.saturating_add_signed(self.ahead_ms.saturating_neg()),
            Time::Unknown => unknown_ms,
        }
    }
}

/// Reads the query logs of a unit as they grow. It gives no samples: what it knows is told.
pub struct QuerySampler {
    logs: Arc<Mutex<QueryLogs>>,
}

impl QuerySampler {
    /// Builds the reader of a unit's query logs; none if its plan names none.
    pub fn of(zones: &[ZonePlan], watched: &[SocketAddr]) -> Option<Arc<Self>> {
        let logs = QueryLogs::of(zones, watched)?;
        Some(Arc::new(Self { logs: Arc::new(Mutex::new(logs)) }))
    }

    /// Tells what is known now.
    pub fn told(&self) -> Vec<ZoneQueries> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).told()
    }
}

#[async_trait]
impl Sampler for QuerySampler {
    fn name(&self) -> String {
        "queries".into()
    }

    fn every(&self) -> Duration {
        EVERY
    }

    async fn sample(&self, _: u64) -> Outcome<Vec<Sample>> {
        let logs = Arc::clone(&self.logs);
        let read = move || logs.lock().unwrap_or_else(PoisonError::into_inner).read();
        tokio::task::spawn_blocking(read).await.map_err(|e| {
            Fault::new(crate::codes::BUSY, FaultKind::Bug, "read the query logs", e)
                .hint("look into the controller's log; nothing was changed")
        })?;
        Ok(Vec::new())
    }
}
