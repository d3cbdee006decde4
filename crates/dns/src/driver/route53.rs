//! Amazon Route 53 (its API reference, 2013-04-01).
//!
//! A change batch is all or none. DELETE must name a set exactly as it is, TTL included, and
//! CREATE refuses what exists, so a batch of both is a compare-and-swap; UPSERT would be none,
//! and a batch that was split would be neither: what does not fit is refused. A batch is in
//! force at every name server once its change is INSYNC.

use super::reread::{keep_name_servers, wait_out};
use super::route53_xml::{self as xml, Page};
use super::{Capabilities, Driver, Late, Session, State, Swap, Tried, Unshown, Whole, apex};
use crate::change::Change;
use crate::codes;
use crate::message::Soa;
use crate::sets::{RecordSet, SetKey};
use crate::zone::Contents;
use async_trait::async_trait;
use domain::base::Rtype;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use segue_doors::api::{Answered, Api, Asked, secret_header};
use segue_doors::sigv4::{self, Signed, Signer, encoded};
use segue_model::plan::SecretRef;
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Values of one batch ("Quotas: ResourceRecord elements").
const VALUES_MAX: usize = 1_000;
/// Characters of all values of one batch ("Quotas: maximum number of characters").
const CHARACTERS_MAX: usize = 32_000;
/// Sets of one page.
const PAGE: usize = 300;
/// First pause before a throttled request is sent again; doubled up to the longest. Five
/// requests a second are allowed for a whole account.
const THROTTLED_FIRST: Duration = Duration::from_millis(400);
/// Longest such pause.
const THROTTLED_LONGEST: Duration = Duration::from_secs(5);
/// First pause between two questions whether a change is in force; doubled up to the longest.
const POLL_FIRST: Duration = Duration::from_millis(100);
/// Longest such pause.
const POLL_LONGEST: Duration = Duration::from_secs(3);
/// More sets than this are read with the whole zone, not one by one.
const ONE_BY_ONE: usize = 4;

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        driver: "route53",
        all_or_none: true,
        atomic_when_asked: false,
        swap: Swap::Compared,
        late: Late::WaitedFor,
        signs: true,
        ttl_min_s: 0,
        largest: "1000 values, 32000 characters",
        own_ns: true,
        remark: "alias, weighted and other routed sets are refused; servers take a change within a \
                 minute, each in its own time",
    }
}

/// A hosted zone.
#[derive(Debug)]
pub(super) struct Route53 {
    pub(super) zone: String,
    pub(super) url: String,
    pub(super) zone_id: String,
    pub(super) access_key: SecretRef,
    pub(super) secret_key: SecretRef,
}

#[async_trait]
impl Driver for Route53 {
    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn place(&self) -> String {
        format!("{} (hosted zone {})", self.url, self.zone_id)
    }

    fn by_hand(&self) -> String {
        format!(
            "with `aws route53 change-resource-record-sets --hosted-zone-id {}`: in one batch DELETE \
             each owned set as it is and CREATE it as the journal's `former` of this step shows it",
            self.zone_id
        )
    }

    fn takes_notify(&self) -> bool {
        false
    }

    async fn open(&self, op: &str, _until: Instant) -> Outcome<Box<dyn Session>> {
        Ok(Box::new(self.client(op)?))
    }

    async fn whole(&self, until: Instant) -> Outcome<Whole> {
        let op = format!("read zone `{}`", self.zone);
        self.client(&op)?.whole(&op, until).await
    }
}

impl Route53 {
    fn client(&self, op: &str) -> Outcome<Client> {
        let address = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let host = address.split('/').next().unwrap_or_default().to_owned();
        if host.is_empty() {
            let cause = format!("`{}` is no address", self.url);
            return Err(
                Fault::new(codes::API, FaultKind::Invalid, op, cause).hint("correct the plan")
            );
        }
        Ok(Client {
            api: Api::new(&self.url)?,
            host,
            zone: self.zone.clone(),
            sets: format!("/2013-04-01/hostedzone/{}/rrset", self.zone_id),
            access_key: segue_doors::secrets::read(&self.access_key)?,
            secret_key: segue_doors::secrets::read(&self.secret_key)?,
            listed: BTreeMap::new(),
        })
    }
}

struct Client {
    api: Api,
    host: String,
    zone: String,
    /// Path of the zone's record sets.
    sets: String,
    access_key: SecretString,
    secret_key: SecretString,
    /// Values as they were listed at the last reading.
    listed: BTreeMap<SetKey, Vec<String>>,
}

impl Client {
    /// Signs and sends a request; again while the account is throttled.
    async fn ask(
        &self,
        method: &Method,
        path: &str,
        query: &[(&str, &str)],
        body: &str,
        op: &str,
        until: Instant,
    ) -> Outcome<Answered> {
        let mut pause = THROTTLED_FIRST;
        loop {
            let answer = self.ask_once(method, path, query, body, op, until).await?;
            let busy = xml::error(&answer.body);
            let wait = matches!(
                busy.as_ref().map(|(code, _)| code.as_str()),
                Some("Throttling" | "ThrottlingException" | "PriorRequestNotComplete")
            ) || answer.status == StatusCode::TOO_MANY_REQUESTS;
            if !wait {
                return Ok(answer);
            }
            let rest = answer.rest(pause);
            if Instant::now() + rest >= until {
                let cause = format!("it answered {}: {}", answer.status, told(&answer));
                return Err(Fault::new(codes::API, FaultKind::Busy, self.at(op), cause)
                    .hint("nothing was changed; others use up the account's requests: try later"));
            }
            sleep(rest).await;
            pause = (pause * 2).min(THROTTLED_LONGEST);
        }
    }

    async fn ask_once(
        &self,
        method: &Method,
        path: &str,
        query: &[(&str, &str)],
        body: &str,
        op: &str,
        until: Instant,
    ) -> Outcome<Answered> {
        let date = sigv4::date(jiff::Timestamp::now());
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let query = query.join("&");
        let signer = Signer {
            access_key: self.access_key.expose_secret(),
            secret_key: self.secret_key.expose_secret(),
            region: "us-east-1",
            service: "route53",
        };
        let signed = Signed {
            method: method.as_str(),
            path,
            query: &query,
            headers: &[("host", &self.host), ("x-amz-date", &date)],
            body: body.as_bytes(),
        };
        let unusable = |cause: String| {
            Fault::new(codes::KEY, FaultKind::Invalid, format!("use the access key: {op}"), cause)
                .hint("compare the key with the one that Amazon showed")
        };
        let authorization =
            secret_header(&signer.authorization(&signed, &date)).map_err(unusable)?;
        let plain = |text: &str| {
            HeaderValue::from_str(text).map_err(|e| unusable(format!("as a header: {e}")))
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, plain(&self.host)?);
        headers.insert(HeaderName::from_static("x-amz-date"), plain(&date)?);
        headers.insert(AUTHORIZATION, authorization);
        let address = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let asked = Asked {
            method: method.clone(),
            path: &address,
            headers,
            body: body.as_bytes().to_vec(),
        };
        let answer = self.api.ask(asked, until).await;
        answer.map_err(|unanswered| {
            let fault = unanswered.fault(codes::API, op, self.api.base());
            if *method == Method::GET { fault.leaving(EffectLeft::None) } else { fault }
        })
    }

    fn at(&self, op: &str) -> String {
        format!("{op} at {}", self.api.base())
    }

    fn refused(&self, op: &str, answer: &Answered) -> Fault {
        let (kind, left, hint) = match answer.status {
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => (
                FaultKind::Denied,
                EffectLeft::None,
                "compare the keys, set the clock, and allow route53:ListResourceRecordSets, \
                 ChangeResourceRecordSets and GetChange",
            ),
            StatusCode::NOT_FOUND => {
                (FaultKind::Invalid, EffectLeft::None, "compare `zone_id` with the console's")
            }
            status if status.is_server_error() => (FaultKind::Busy, EffectLeft::Maybe, "try again"),
            _ => (FaultKind::Invalid, EffectLeft::None, "mend what it says, then try again"),
        };
        let cause = format!("it answered {}: {}", answer.status, told(answer));
        Fault::new(codes::API, kind, self.at(op), cause).leaving(left).hint(hint)
    }

    fn unreadable(&self, op: &str, cause: String) -> Fault {
        Fault::new(codes::API, FaultKind::Invalid, self.at(op), cause)
            .hint("this is no answer of Route 53 as Segue knows it")
    }

    async fn page(&self, from: &[(&str, &str)], op: &str, until: Instant) -> Outcome<Page> {
        let answer = self.ask(&Method::GET, &self.sets, from, "", op, until).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(op, &answer).leaving(EffectLeft::None));
        }
        xml::page(&answer.body).map_err(|cause| self.unreadable(op, cause))
    }

    /// Reads every set, also those that are no plain ones.
    async fn all(&self, op: &str, until: Instant) -> Outcome<Vec<xml::Listed>> {
        let most = PAGE.to_string();
        let (mut all, mut next) = (Vec::new(), None::<(String, String)>);
        loop {
            let mut query = vec![("maxitems", most.as_str())];
            if let Some((name, rtype)) = &next {
                query.extend([("name", name.as_str()), ("type", rtype.as_str())]);
            }
            // Names of a signed query are sorted; these are.
            let page = self.page(&query, op, until).await?;
            all.extend(page.sets);
            match page.next {
                Some(behind) if next.as_ref() != Some(&behind) => next = Some(behind),
                Some(_) => return Err(self.unreadable(op, "its pages go round in circles".into())),
                None => return Ok(all),
            }
        }
    }

    async fn whole(&self, op: &str, until: Instant) -> Outcome<Whole> {
        let apex = apex(&self.zone)?;
        let (mut soa, mut sets, mut unshown) = (None, BTreeMap::new(), Vec::new());
        for listed in self.all(op, until).await? {
            let set = listed.plain().map_err(|cause| self.unreadable(op, cause))?;
            // What is answered by rules has no data that could be told.
            let Some(set) = set else {
                let key = listed.key().map_err(|cause| self.unreadable(op, cause))?;
                unshown.push(Unshown {
                    name: key.name,
                    rtype: key.rtype.to_string(),
                    what: "an alias, or routed by weight, region or health",
                    answered: true,
                });
                continue;
            };
            if set.key.rtype == Rtype::SOA && set.key.name == apex {
                soa = set.data.first().and_then(|data| Soa::of(set.ttl, data));
            } else {
                sets.insert(set.key.clone(), set);
            }
        }
        let soa = soa.ok_or_else(|| self.unreadable(op, "the zone has no SOA".into()))?;
        Ok(Whole { contents: Contents { soa, sets }, unshown })
    }

    /// Reads one set by asking for the first at or behind its name.
    async fn one(&mut self, key: &SetKey, op: &str, until: Instant) -> Outcome<RecordSet> {
        let (name, rtype) = (key.name.fmt_with_dot().to_string(), key.rtype.to_string());
        let query = [("maxitems", "1"), ("name", name.as_str()), ("type", rtype.as_str())];
        for listed in self.page(&query, op, until).await?.sets {
            if listed.key().map_err(|cause| self.unreadable(op, cause))? != *key {
                continue;
            }
            self.listed.insert(key.clone(), listed.values().to_vec());
            return listed.plain().map_err(|cause| self.unreadable(op, cause))?.ok_or_else(|| {
                let cause = format!("`{key}` is an alias or is routed by weight, region or health");
                Fault::new(codes::ELSEWHERE, FaultKind::Unsupported, self.at(op), cause)
                    .hint("make it a plain set, or leave it out of the plan; nothing was changed")
            });
        }
        Ok(RecordSet::absent(key.clone()))
    }

    /// Waits until every name server has a change.
    async fn in_force(&self, id: &str, op: &str, until: Instant) -> Outcome<()> {
        let path = format!("/2013-04-01/change/{}", id.trim_start_matches("/change/"));
        let mut pause = POLL_FIRST;
        loop {
            let answer = self.ask(&Method::GET, &path, &[], "", op, until).await;
            let answer = answer.map_err(|fault| fault.leaving(EffectLeft::Done))?;
            match xml::status(&answer.body).as_deref() {
                Some("INSYNC") => return Ok(()),
                Some(_) => {}
                None => return Err(self.refused(op, &answer).leaving(EffectLeft::Done)),
            }
            if Instant::now() + pause >= until {
                let cause = format!("change {id} is still pending");
                return Err(Fault::new(codes::BEHIND, FaultKind::Timeout, self.at(op), cause)
                    .leaving(EffectLeft::Done)
                    .hint("the zone has the change; try again, it is waited for"));
            }
            sleep(pause).await;
            pause = (pause * 2).min(POLL_LONGEST);
        }
    }
}

fn told(answer: &Answered) -> String {
    match xml::error(&answer.body) {
        Some((code, message)) => format!("{code}: {message}"),
        None => answer.told(),
    }
}

/// Refuses what does not fit into one batch.
fn fits(change: &[(&RecordSet, &RecordSet)], op: &str) -> Outcome<()> {
    let sets = || change.iter().flat_map(|(former, wanted)| [*former, *wanted]);
    let values: usize = sets().map(|set| set.data.len()).sum();
    let characters: usize = sets().flat_map(RecordSet::texts).map(|text| text.len()).sum();
    if values <= VALUES_MAX && characters <= CHARACTERS_MAX {
        return Ok(());
    }
    let cause = format!(
        "{values} values with {characters} characters; a batch holds {VALUES_MAX} and \
         {CHARACTERS_MAX}, and two batches are not one change"
    );
    Err(Fault::new(codes::TOO_BIG, FaultKind::Invalid, op, cause)
        .hint("nothing was changed; own fewer record sets of this zone in one unit"))
}

#[async_trait]
impl Session for Client {
    async fn state(&mut self, keys: &[SetKey], op: &str, until: Instant) -> Outcome<State> {
        self.listed.clear();
        let apex = apex(&self.zone)?;
        let start = SetKey { name: apex, rtype: Rtype::SOA };
        if keys.len() > ONE_BY_ONE {
            let mut known: BTreeMap<SetKey, Option<RecordSet>> = BTreeMap::new();
            for listed in self.all(op, until).await? {
                let Ok(key) = listed.key() else { continue };
                // What is not asked for may be written in a way that nobody here reads.
                if !keys.contains(&key) && key != start {
                    continue;
                }
                let plain = listed.plain().map_err(|cause| self.unreadable(op, cause))?;
                self.listed.insert(key.clone(), listed.values().to_vec());
                // Of several sets with rules the last one is as good as the first.
                known.insert(key, plain);
            }
            let mut take = |key: &SetKey| match known.remove(key) {
                None => Ok(RecordSet::absent(key.clone())),
                Some(Some(set)) => Ok(set),
                Some(None) => {
                    let cause = format!("`{key}` is an alias or is routed by weight or region");
                    Err(Fault::new(codes::ELSEWHERE, FaultKind::Unsupported, self.at(op), cause)
                        .hint("make it a plain set, or leave it out of the plan"))
                }
            };
            let soa = take(&start)?;
            let sets = keys.iter().map(&mut take).collect::<Outcome<Vec<_>>>()?;
            return Ok(stated(&soa, sets));
        }
        let soa = self.one(&start, op, until).await?;
        let mut sets = Vec::with_capacity(keys.len());
        for key in keys {
            sets.push(self.one(key, op, until).await?);
        }
        Ok(stated(&soa, sets))
    }

    async fn change(&mut self, change: &Change, op: &str, until: Instant) -> Outcome<Tried> {
        keep_name_servers(&self.zone, change, op)?;
        let pairs = change.former.iter().zip(&change.wanted).filter(|(a, b)| a != b);
        let pairs: Vec<_> = pairs.collect();
        fits(&pairs, op)?;
        let body = xml::batch(&apex(&self.zone)?, &pairs, &self.listed);
        let answer = self.ask(&Method::POST, &self.sets, &[], &body, op, until).await?;
        if answer.status == StatusCode::OK {
            let id = xml::change_id(&answer.body).ok_or_else(|| {
                self.unreadable(op, "it names no change".into()).leaving(EffectLeft::Done)
            })?;
            self.in_force(&id, op, until).await?;
            return Ok(Tried::Acknowledged);
        }
        match xml::error(&answer.body) {
            // "... but it was not found", "... values provided do not match", "already exists".
            Some((code, message))
                if code == "InvalidChangeBatch"
                    && ["not found", "do not match", "already exists"]
                        .iter()
                        .any(|words| message.contains(words)) =>
            {
                Ok(Tried::Moved)
            }
            _ => Err(self.refused(op, &answer)),
        }
    }

    async fn close_off(&mut self, op: &str, until: Instant) -> Outcome<()> {
        wait_out(op, until).await
    }
}

fn stated(soa: &RecordSet, sets: Vec<RecordSet>) -> State {
    let start = soa.data.first().and_then(|data| Soa::of(soa.ttl, data));
    State {
        serial: start.as_ref().map(|soa| soa.serial),
        // Without an SOA nothing is known: the longest that RFC 2308 section 5 advises.
        negative_ttl_s: start.map_or(10_800, |soa| soa.negative_ttl),
        minimum_s: None,
        sets,
    }
}
