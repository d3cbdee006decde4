//! How a published change spreads: what resolvers answer, until when they may, and who overstays.
//!
//! **Invariant.** A resolver is asked as a client asks it (RD set), for one name never more often
//! than once a second, and what it does not say is not guessed.

mod curve;
mod spread;
mod verdict;

pub use curve::{Curve, Reached};
pub(crate) use spread::Spread;
pub use spread::{Published, ResolverTold, SetTold, SpreadTold};
pub use verdict::{Change, Verdict};

use crate::change::now_ms;
use crate::exchange::ask;
use crate::message;
use crate::sets::{self, RecordSet, SetKey};
use domain::base::Rtype;
use domain::base::iana::Rcode;
use futures_util::future::join_all;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Longest wait for a resolver.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Shortest time between two questions to one resolver.
pub const EVERY_LEAST: Duration = Duration::from_secs(1);
/// Most resolvers that are asked.
pub const RESOLVERS_MAX: usize = 500;

/// What is watched.
#[derive(Debug, Clone)]
pub struct Question {
    /// Owner name, in full.
    pub name: String,
    /// Record type.
    pub rtype: String,
    /// The data before; none if the set did not exist.
    pub former: Vec<String>,
    /// The TTL before, seconds; of the zone's negative answers if the set did not exist.
    pub former_ttl_s: u32,
    /// The data after; none if the set was taken away.
    pub wanted: Vec<String>,
    /// When the last authoritative server had it, wall clock in milliseconds; now if unknown.
    pub published_at_ms: Option<u64>,
    /// Whom to ask.
    pub resolvers: Vec<SocketAddr>,
    /// Time between two questions to one resolver.
    pub every: Duration,
    /// How long to watch.
    pub time: Duration,
}

/// One verdict, as it comes.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The resolver.
    pub resolver: SocketAddr,
    /// What it holds.
    pub verdict: Verdict,
    /// Milliseconds since the change was published.
    pub after_ms: u64,
}

impl Question {
    /// Reads the change that is watched.
    ///
    /// # Errors
    /// `SG0301` if name, type or data cannot be used, or there is nobody to ask.
    pub fn change(&self) -> Outcome<Change> {
        let op = format!("watch `{} {}`", self.name, self.rtype);
        let bad = |cause: String, hint: &str| {
            Fault::new(crate::codes::PLAN, FaultKind::Invalid, op.clone(), cause).hint(hint)
        };
        if self.resolvers.is_empty() || self.resolvers.len() > RESOLVERS_MAX {
            let cause = format!("{} resolvers", self.resolvers.len());
            return Err(bad(cause, "name 1 to 500 of them"));
        }
        let name = sets::owner(&self.name).map_err(|cause| bad(cause, "write the name in full"))?;
        let rtype = Rtype::from_str(&self.rtype)
            .map_err(|_| bad(format!("`{}` is no record type", self.rtype), "such as A or MX"))?;
        let key = SetKey { name, rtype };
        let former = sets::parse(&key, self.former_ttl_s, &self.former)?;
        let wanted = sets::parse(&key, 0, &self.wanted)?;
        if former.data == wanted.data {
            let cause = "the former and the new data are the same".to_owned();
            return Err(bad(cause, "nobody could tell who has which"));
        }
        Ok(Change {
            former,
            negative_ttl_s: self.former_ttl_s,
            wanted,
            published_at_ms: self.published_at_ms.unwrap_or_else(|| now_ms().0),
        })
    }
}

/// Watches until every resolver has the new data, or the time is over. `told` gets every
/// verdict that is another one than before.
///
/// # Errors
/// As [`Question::change`]. A resolver that fails is no error: it is a verdict.
pub async fn watch(question: &Question, mut told: impl FnMut(&Seen, &Curve)) -> Outcome<Curve> {
    let change = question.change()?;
    let every = question.every.max(EVERY_LEAST);
    let end = Instant::now() + question.time;
    let mut curve = Curve::default();
    let mut next = Instant::now();
    loop {
        let asked = question.resolvers.iter().map(|resolver| one(&change, *resolver));
        for seen in join_all(asked).await {
            if curve.take(seen.resolver, seen.verdict.clone(), seen.after_ms) {
                told(&seen, &curve);
            }
        }
        next += every;
        if curve.is_everywhere() || next > end {
            return Ok(curve);
        }
        sleep_until(next).await;
    }
}

async fn one(change: &Change, resolver: SocketAddr) -> Seen {
    let answer = answer(change, resolver).await;
    let (now_ms, _) = now_ms();
    let verdict = change.judge(answer.as_ref().map_err(Clone::clone), now_ms);
    Seen { resolver, verdict, after_ms: now_ms.saturating_sub(change.published_at_ms) }
}

async fn answer(change: &Change, resolver: SocketAddr) -> Result<RecordSet, String> {
    let key = &change.wanted.key;
    let mut draft = message::query(&key.name, key.rtype).map_err(|e| e.to_string())?;
    // It shall find the answer, as it does for clients.
    draft.header_mut().set_rd(true);
    let answers = ask(resolver, vec![draft], Instant::now() + ANSWER_MAX).await;
    let answers = answers.map_err(|trouble| trouble.fault("ask", resolver).cause)?;
    let answer = answers.first().ok_or("no answer")?;
    match answer.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => Ok(message::read_cached(answer, key)),
        rcode => Err(format!("it answered {rcode}")),
    }
}
