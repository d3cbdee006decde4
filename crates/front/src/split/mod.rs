//! A split: which requests that read go to the target before it is promoted.
//!
//! The write side stays one. Only GET and HEAD on paths that the plan says do not write may
//! leave it, and of a visitor who wrote none: what it wrote may not have arrived over there.
//! A visitor keeps its place: its number among ten thousand comes from its address, or from
//! the cookie that it was given, and a larger share only moves visitors to the target.
//!
//! What the target does not answer well is asked at the source, so that nobody pays for the
//! trial; [`breaker`] ends it where that happens too often, [`trial`] counts it.

mod breaker;
mod cookie;
mod trial;
mod writers;

pub(crate) use trial::Outcome;

use crate::control::{SplitRoute, SplitStatus, Trial as TrialReport};
use breaker::Breaker;
use cookie::Ticket;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method};
use segue_model::Side;
use segue_model::harmless::below;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;
use trial::Trial;
use writers::Writers;

/// Places among which visitors are spread; a percent is a hundred of them.
pub(crate) const PLACES: u16 = 10_000;

/// The split of one unit.
pub(crate) struct Split {
    route: SplitRoute,
    /// Tells its cookies from those of another split.
    tag: u32,
    breaker: Breaker,
    trial: Trial,
    writers: Writers,
}

/// What a split makes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Where it goes.
    pub(crate) side: Side,
    /// The visitor, for counting; none if this request is no part of the trial.
    pub(crate) counted: Option<u64>,
    /// A cookie for the visitor, if its answer may carry one.
    pub(crate) cookie: Option<Cookie>,
}

/// A cookie that an answer should carry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    value: HeaderValue,
    /// It may only go on an answer that no shared cache keeps.
    private: bool,
}

impl Split {
    /// Builds a split. One of the same id takes the visitors who wrote along, and where the
    /// source gets no visitors any more what was seen of it.
    pub(crate) fn new(route: SplitRoute, now_us: u64, former: Option<&Self>) -> Self {
        let former = former.filter(|former| former.route.id == route.id);
        let tag = hash(&route.id) as u32;
        let trial = Trial::begin(now_us, Duration::from_millis(route.warm_ms));
        let writers = former.map_or_else(Writers::default, |former| former.writers.clone());
        if let (100, Some(former)) = (route.percent, former) {
            trial.keep_source(&former.trial);
        }
        Self { tag, breaker: Breaker::default(), trial, writers, route }
    }

    /// Returns how long the target has for the head of an answer.
    pub(crate) fn slow(&self) -> Duration {
        Duration::from_millis(self.route.slow_ms)
    }

    /// Says whether another front stands before the target's backend.
    pub(crate) fn is_relayed(&self) -> bool {
        self.route.relayed
    }

    /// Says whether any request may go to the target.
    pub(crate) fn is_on(&self) -> bool {
        self.route.percent > 0 || !self.route.testers.is_empty()
    }

    /// Chooses a side for a request, and takes the split's cookie out of its head. Once the unit is at
    /// the target, or the split is over, that is all that it does.
    pub(crate) fn choose(&self, asked: Asked<'_>, headers: &mut HeaderMap, now_us: u64) -> Choice {
        let brought = cookie::take(headers, &self.route.cookie);
        let ticket = brought.as_deref().and_then(Ticket::read).filter(|t| t.tag == self.tag);
        let stay = |cookie| Choice { side: Side::Source, counted: None, cookie };
        if !self.is_on() || asked.now == Side::Target {
            let cookie = brought.map(|_| self.expire(asked.method.is_safe()));
            return Choice { side: asked.now, counted: None, cookie };
        }
        let visitor = hash(&asked.client);
        let wrote = ticket.is_some_and(|t| t.place >= PLACES) || self.writers.has(visitor);
        if !asked.method.is_safe() {
            self.writers.add(visitor);
            let known = ticket.is_some_and(|t| t.place >= PLACES);
            return stay((!known).then(|| self.pin(PLACES, false)));
        }
        let may_leave = asked.reads && below(&self.route.paths, asked.path);
        if self.route.testers.contains(&asked.client) && may_leave && !wrote {
            return Choice { side: Side::Target, counted: None, cookie: None };
        }
        if wrote || !may_leave {
            return stay(None);
        }
        let place = ticket.map_or_else(|| self.place(visitor), |ticket| ticket.place);
        let cookie = ticket.is_none().then(|| self.pin(place, true));
        let chosen = u64::from(place) < u64::from(self.route.percent) * u64::from(PLACES / 100);
        if chosen && !self.breaker.lets_through(now_us) {
            // No part of the trial: it is neither the control group's nor the target's.
            return Choice { side: Side::Source, counted: None, cookie };
        }
        let side = if chosen { Side::Target } else { Side::Source };
        Choice { side, counted: Some(visitor), cookie }
    }

    /// Counts what came of a request of the trial. Testers take no part in it: what they try
    /// out ends nobody's split.
    pub(crate) fn count(&self, side: Side, visitor: Option<u64>, outcome: Outcome, now_us: u64) {
        let Some(visitor) = visitor else { return };
        if side == Side::Target {
            self.breaker.note(outcome.failed, now_us);
        }
        self.trial.count(side, visitor, outcome, now_us);
    }

    /// Puts a cookie on an answer, if it may carry it.
    pub(crate) fn put(cookie: Cookie, headers: &mut HeaderMap, secure: bool) {
        if cookie.private && !is_private(headers) {
            return;
        }
        let mut value = cookie.value;
        if secure {
            let text = [value.as_bytes(), b"; Secure"].concat();
            value = HeaderValue::from_bytes(&text).unwrap_or(value);
        }
        headers.append(SET_COOKIE, value);
    }

    /// Does what is due once a second.
    pub(crate) fn tick(&self, now_us: u64) {
        self.trial.tick(now_us);
    }

    /// Returns its state.
    pub(crate) fn status(&self, now_us: u64) -> SplitStatus {
        SplitStatus {
            id: self.route.id.clone(),
            percent: self.route.percent,
            open: self.breaker.is_open(now_us),
            opened: self.breaker.opened(),
            saved: self.trial.saved(),
        }
    }

    /// Returns what was seen of both sides.
    pub(crate) fn report(&self, now_us: u64) -> TrialReport {
        self.trial.report(&self.route.id, self.route.percent, now_us)
    }

    fn place(&self, visitor: u64) -> u16 {
        (hash(&(&self.route.id, visitor)) % u64::from(PLACES)) as u16
    }

    fn pin(&self, place: u16, private: bool) -> Cookie {
        let ticket = Ticket { tag: self.tag, place };
        Cookie { value: cookie::set(&self.route.cookie, ticket), private }
    }

    /// The end of a cookie; what only reads may be answered by a shared cache next time.
    fn expire(&self, private: bool) -> Cookie {
        Cookie { value: cookie::expire(&self.route.cookie), private }
    }
}

/// What a split needs to know of a request.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    /// The side that takes the unit's requests.
    pub(crate) now: Side,
    /// A GET or HEAD without a body that does not leave HTTP.
    pub(crate) reads: bool,
    /// The visitor's address.
    pub(crate) client: IpAddr,
}

/// Says whether no shared cache keeps an answer (RFC 9111 5.2.2), as far as its head tells.
fn is_private(headers: &HeaderMap) -> bool {
    headers.contains_key(SET_COOKIE)
        || headers.get_all(CACHE_CONTROL).iter().any(|value| {
            let text = value.as_bytes().to_ascii_lowercase();
            [&b"private"[..], b"no-store"].iter().any(|w| text.windows(w.len()).any(|t| t == *w))
        })
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::header::COOKIE;
    use segue_model::Sides;
    use std::net::Ipv4Addr;

    fn route(percent: u8) -> SplitRoute {
        SplitRoute {
            id: "run-1-split-3".into(),
            percent,
            paths: vec!["/".into()],
            testers: vec![client(9_999)],
            cookie: "segue-split".into(),
            warm_ms: 0,
            relayed: false,
            slow_ms: 2_000,
        }
    }

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    fn get(split: &Split, number: u32, headers: &mut HeaderMap) -> Choice {
        at(split, Side::Source, number, headers)
    }

    fn at(split: &Split, now: Side, number: u32, headers: &mut HeaderMap) -> Choice {
        let (method, client) = (&Method::GET, client(number));
        split.choose(Asked { method, path: "/a", now, reads: true, client }, headers, 1)
    }

    fn side(split: &Split, number: u32) -> Side {
        get(split, number, &mut HeaderMap::new()).side
    }

    #[test]
    fn a_larger_share_only_moves_visitors_to_the_target() {
        let shares: Vec<Split> =
            [0, 5, 25, 50, 75, 100].iter().map(|p| Split::new(route(*p), 0, None)).collect();
        for number in 0..4_000 {
            let at = |split| side(split, number) == Side::Target;
            let moved: Vec<bool> = shares.iter().map(at).collect();
            assert!(moved.is_sorted(), "visitor {number}: {moved:?}");
        }
        for split in &shares {
            let moved = (0..4_000).filter(|n| side(split, *n) == Side::Target).count();
            let wanted = 40 * usize::from(split.route.percent);
            assert!(moved.abs_diff(wanted) < 130, "{moved} of 4000, {wanted} wanted");
        }
    }

    #[test]
    fn only_reading_leaves_the_write_side_and_never_of_one_who_wrote() {
        let mut plan = route(100);
        plan.paths = vec!["/static/".into()];
        let split = Split::new(plan, 0, None);
        let ask = |method: &Method, path: &str, reads, number| {
            let asked = Asked { method, path, now: Side::Source, reads, client: client(number) };
            split.choose(asked, &mut HeaderMap::new(), 1)
        };
        assert_eq!(ask(&Method::GET, "/static/a.css", true, 1).side, Side::Target);
        for (path, reads) in [
            ("/cart", true),
            ("/static/ws", false),
            ("/", true),
            // What a server may take for another path.
            ("/static/../cart", true),
            ("/static/..%2fcart", true),
            ("/static/%2E%2E/cart", true),
        ] {
            assert_eq!(ask(&Method::GET, path, reads, 1).side, Side::Source, "{path}");
        }
        let wrote = ask(&Method::POST, "/static/", false, 1);
        assert_eq!((wrote.side, wrote.counted), (Side::Source, None));
        assert_eq!(ask(&Method::GET, "/static/a.css", true, 1).side, Side::Source);
        assert_eq!(ask(&Method::GET, "/static/a.css", true, 2).side, Side::Target);
        // The next share knows it still, and another split does not.
        let next = Split::new(SplitRoute { percent: 50, ..split.route.clone() }, 1, Some(&split));
        assert!(next.writers.has(hash(&client(1))));
        let other = SplitRoute { id: "other".into(), ..split.route.clone() };
        assert!(!Split::new(other, 1, Some(&split)).writers.has(hash(&client(1))));
    }

    #[test]
    fn a_cookie_keeps_a_visitor_in_its_place_wherever_it_comes_from() {
        let split = Split::new(route(50), 0, None);
        let first = get(&split, 7, &mut HeaderMap::new());
        let mut answer = HeaderMap::new();
        answer.insert(CACHE_CONTROL, HeaderValue::from_static("Private, max-age=60"));
        Split::put(first.cookie.unwrap(), &mut answer, true);
        let set = answer[SET_COOKIE].to_str().unwrap().to_owned();
        assert!(set.ends_with("; Secure") && set.contains("HttpOnly"), "{set}");
        let pair = set.split(';').next().unwrap();
        for number in 0..200 {
            let mut headers = HeaderMap::new();
            let both = format!("a=1; {pair}; b=2");
            headers.insert(COOKIE, HeaderValue::from_str(&both).unwrap());
            let again = get(&split, number, &mut headers);
            assert_eq!((again.side, again.cookie), (first.side, None), "from {number}");
            assert_eq!(headers[COOKIE], "a=1; b=2", "the backend never sees it");
        }
        // Another split does not believe it.
        let other = Split::new(SplitRoute { id: "other".into(), ..route(50) }, 0, None);
        let sides: Vec<Side> = (0..200)
            .map(|number| {
                let mut headers = HeaderMap::new();
                headers.insert(COOKIE, HeaderValue::from_str(pair).unwrap());
                get(&other, number, &mut headers).side
            })
            .collect();
        assert!(sides.contains(&Side::Source) && sides.contains(&Side::Target));
    }

    #[test]
    fn what_a_shared_cache_may_keep_carries_no_cookie_and_the_end_takes_it_back() {
        let split = Split::new(route(50), 0, None);
        let cookie = get(&split, 7, &mut HeaderMap::new()).cookie.unwrap();
        let mut public = HeaderMap::new();
        public.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
        Split::put(cookie, &mut public, false);
        assert!(!public.contains_key(SET_COOKIE));
        let mut over = route(0);
        over.testers.clear();
        let over = Split::new(over, 0, None);
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("segue-split=1.2"));
        let choice = get(&over, 7, &mut headers);
        assert!(!headers.contains_key(COOKIE));
        let mut answer = HeaderMap::new();
        answer.insert(SET_COOKIE, HeaderValue::from_static("sid=1"));
        Split::put(choice.cookie.unwrap(), &mut answer, false);
        let last = answer.get_all(SET_COOKIE).iter().next_back().unwrap().to_str().unwrap();
        assert!(last.starts_with("segue-split=;") && last.contains("Max-Age=0"), "{last}");
        assert_eq!(get(&over, 7, &mut HeaderMap::new()).cookie, None);
    }

    #[test]
    fn a_unit_at_the_target_takes_back_what_a_split_gave_and_counts_nobody() {
        // One whose end did not come as far as the disk.
        let split = Split::new(route(100), 0, None);
        for number in [7, 9_999] {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_static("a=1; segue-split=1.2"));
            let choice = at(&split, Side::Target, number, &mut headers);
            assert_eq!((choice.side, choice.counted), (Side::Target, None));
            assert!(choice.cookie.is_some_and(|cookie| cookie.private));
            assert_eq!(headers[COOKIE], "a=1");
            let none = at(&split, Side::Target, number, &mut HeaderMap::new());
            assert_eq!((none.side, none.counted, none.cookie), (Side::Target, None, None));
        }
    }

    #[test]
    fn testers_see_the_target_before_anybody_else_and_count_for_nothing() {
        let split = Split::new(route(0), 0, None);
        let tester = get(&split, 9_999, &mut HeaderMap::new());
        assert_eq!((tester.side, tester.counted), (Side::Target, None));
        assert_eq!(side(&split, 1), Side::Source);
        let bad = Outcome { failed: true, cut: false, answer_us: None };
        for _ in 0..10 {
            split.count(Side::Target, tester.counted, bad, 1_000);
        }
        assert!(!split.status(2_000).open, "a tester ends nobody's split");
    }

    #[test]
    fn a_target_that_fails_gets_no_visitors_until_it_answers_again() {
        let split = Split::new(route(100), 0, None);
        let bad = Outcome { failed: true, cut: false, answer_us: None };
        for _ in 0..10 {
            split.count(Side::Target, Some(1), bad, 1_000);
        }
        assert!(split.status(2_000).open);
        let turned = get(&split, 1, &mut HeaderMap::new());
        assert_eq!((turned.side, turned.counted), (Side::Source, None));
    }

    #[test]
    fn at_a_hundred_percent_the_source_is_remembered_for_comparison() {
        let half = Split::new(route(50), 0, None);
        let good = Outcome { failed: false, cut: false, answer_us: Some(5_000) };
        half.count(Side::Source, Some(1), good, 10);
        let whole = Split::new(route(100), 20, Some(&half));
        let sides: Sides<u64> = {
            let report = whole.report(30);
            Sides::from_fn(|side| report.sides.get(side).cells)
        };
        assert_eq!((sides.source, sides.target), (1, 0));
    }
}
