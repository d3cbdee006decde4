//! Cloudflare (its API reference, "DNS Records for a Zone", "Batch DNS Records").
//!
//! A batch is one transaction in Cloudflare's records, and reaches its name servers record by
//! record: who asks meanwhile may see half of it. Nothing is compared but record ids, so values
//! are read again right before. Deletes come before patches, patches before posts.

use super::reread::{as_expected, start_of, wait_out};
use super::{Capabilities, Driver, Late, Session, State, Swap, Tried, Unshown, Whole, apex};
use crate::change::Change;
use crate::codes;
use crate::sets::{self, RecordSet, SetKey};
use crate::zone::Contents;
use async_trait::async_trait;
use domain::base::Rtype;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use secrecy::ExposeSecret;
use segue_doors::api::{Answered, Api, Asked, secret_header};
use segue_model::plan::SecretRef;
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Records of one page.
const PAGE: usize = 1_000;
/// Pages that a zone has at most.
const PAGES_MAX: usize = 1_000;
/// What a TTL of 1 ("automatic") is served as, seconds.
const AUTOMATIC_S: u32 = 300;
/// Pause before a refused request (429) is sent again, if Cloudflare names none.
const LIMITED: Duration = Duration::from_secs(2);

pub(super) fn capabilities(ttl_min_s: u32) -> Capabilities {
    Capabilities {
        driver: "cloudflare",
        all_or_none: true,
        atomic_when_asked: false,
        swap: Swap::ReadAgain,
        late: Late::WaitedFor,
        signs: true,
        ttl_min_s,
        largest: "200 records, or 3500 on a paid plan",
        own_ns: false,
        remark: "name servers take a batch record by record; proxied records are refused; a TTL of \
                 `automatic` comes back as the 300 s that it is, and comments and tags of a \
                 record do not come back",
    }
}

/// A zone at Cloudflare.
#[derive(Debug)]
pub(super) struct Cloudflare {
    pub(super) zone: String,
    pub(super) url: String,
    pub(super) zone_id: String,
    pub(super) token: SecretRef,
    pub(super) batch_max: usize,
    pub(super) ttl_min_s: u32,
    pub(super) servers: Vec<SocketAddr>,
}

#[async_trait]
impl Driver for Cloudflare {
    fn capabilities(&self) -> Capabilities {
        capabilities(self.ttl_min_s)
    }

    fn place(&self) -> String {
        format!("{} (zone {})", self.url, self.zone_id)
    }

    fn by_hand(&self) -> String {
        format!(
            "in Cloudflare's dashboard, zone `{}`, DNS records: write each owned set as the \
             journal's `former` of this step shows it",
            self.zone
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
        let client = self.client(&op)?;
        let soa = start_of(&apex(&self.zone)?, &self.servers, &op, until).await?;
        let mut all: BTreeMap<SetKey, RecordSet> = BTreeMap::new();
        let mut unshown = Vec::new();
        for record in client.all(&op, until).await? {
            let Some((key, ttl, text)) = record.plain().map_err(|c| client.unreadable(&op, c))?
            else {
                unshown.push(record.unshown().map_err(|c| client.unreadable(&op, c))?);
                continue;
            };
            let one = sets::parse_provider(&key, ttl, &[text]);
            let one = one.map_err(|cause| client.unreadable(&op, cause))?;
            let set = all.entry(key).or_insert_with_key(|key| RecordSet::absent(key.clone()));
            set.ttl = ttl;
            set.data.extend(one.data);
        }
        Ok(Whole { contents: Contents { soa, sets: all }, unshown })
    }
}

impl Cloudflare {
    fn client(&self, op: &str) -> Outcome<Client> {
        let token = segue_doors::secrets::read(&self.token)?;
        let bearer = secret_header(&format!("Bearer {}", token.expose_secret()));
        let bearer = bearer.map_err(|cause| {
            Fault::new(codes::KEY, FaultKind::Invalid, format!("use the API token: {op}"), cause)
                .hint("compare the token with the one that Cloudflare showed")
        })?;
        Ok(Client {
            api: Api::new(&self.url)?,
            apex: self.zone.clone(),
            records: format!("/zones/{}/dns_records", self.zone_id),
            bearer,
            batch_max: self.batch_max,
            servers: self.servers.clone(),
        })
    }
}

struct Client {
    api: Api,
    apex: String,
    /// Path of the zone's records.
    records: String,
    bearer: HeaderValue,
    batch_max: usize,
    servers: Vec<SocketAddr>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    success: bool,
    #[serde(default)]
    errors: Vec<Told>,
    #[serde(default)]
    result: Value,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    message: String,
}

/// A record as Cloudflare has it.
#[derive(Debug, Clone, Deserialize)]
struct Record {
    id: String,
    #[serde(rename = "type")]
    rtype: String,
    name: String,
    #[serde(default)]
    content: String,
    ttl: u32,
    #[serde(default)]
    proxied: bool,
    #[serde(default)]
    priority: Option<u16>,
    #[serde(default)]
    data: Option<Map<String, Value>>,
}

impl Record {
    fn key(&self) -> Result<Option<SetKey>, String> {
        // A type that only Cloudflare knows is in no answer.
        let Ok(rtype) = Rtype::from_str(&self.rtype) else { return Ok(None) };
        Ok(Some(SetKey { name: sets::owner(&self.name)?, rtype }))
    }

    /// Names what is no record.
    fn unshown(&self) -> Result<Unshown, String> {
        let what = match self.proxied {
            true => "proxied: it is answered with Cloudflare's own addresses",
            false => "of a type that only Cloudflare knows",
        };
        let (name, rtype) = (sets::owner(&self.name)?, self.rtype.clone());
        Ok(Unshown { name, rtype, what, answered: self.proxied })
    }

    /// Returns key, TTL and data; none for what is answered with Cloudflare's own addresses.
    fn plain(&self) -> Result<Option<(SetKey, u32, String)>, String> {
        let Some(key) = self.key()?.filter(|_| !self.proxied) else { return Ok(None) };
        let field = |name: &str| {
            let value = self.data.as_ref().and_then(|data| data.get(name));
            match value {
                Some(Value::String(text)) => Ok(text.clone()),
                Some(Value::Number(number)) => Ok(number.to_string()),
                _ => Err(format!("`{key}` has no `{name}`")),
            }
        };
        let text = match key.rtype {
            Rtype::MX => {
                let priority = self.priority.ok_or_else(|| format!("`{key}` has no priority"))?;
                format!("{priority} {}", self.content)
            }
            Rtype::SRV => {
                let parts = ["priority", "weight", "port", "target"].map(field);
                parts.into_iter().collect::<Result<Vec<_>, _>>()?.join(" ")
            }
            Rtype::CAA => {
                let value = field("value")?.replace('\\', "\\\\").replace('"', "\\\"");
                format!("{} {} \"{value}\"", field("flags")?, field("tag")?)
            }
            Rtype::TXT if !self.content.starts_with('"') => quoted(&self.content),
            _ => self.content.clone(),
        };
        let ttl = if self.ttl == 1 { AUTOMATIC_S } else { self.ttl };
        Ok(Some((key, ttl, text)))
    }
}

impl Client {
    fn at(&self, op: &str) -> String {
        format!("{op} at {}", self.api.base())
    }

    fn unreadable(&self, op: &str, cause: String) -> Fault {
        Fault::new(codes::API, FaultKind::Invalid, self.at(op), cause)
            .hint("this is no answer of Cloudflare as Segue knows it; nothing was changed")
    }

    /// Sends a request; again while the limit of requests is reached.
    async fn ask(
        &self,
        method: &Method,
        below: &str,
        body: Option<&Value>,
        op: &str,
        until: Instant,
    ) -> Outcome<Value> {
        loop {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, self.bearer.clone());
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let path = format!("{}{below}", self.records);
            let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
            let asked = Asked { method: method.clone(), path: &path, headers, body };
            let answer = self.api.ask(asked, until).await;
            let answer = answer.map_err(|none| {
                let fault = none.fault(codes::API, op, self.api.base());
                if *method == Method::GET { fault.leaving(EffectLeft::None) } else { fault }
            })?;
            let rest = answer.rest(LIMITED);
            let limited = answer.status == StatusCode::TOO_MANY_REQUESTS;
            if limited && Instant::now() + rest < until {
                sleep(rest).await;
                continue;
            }
            return self.result(op, &answer);
        }
    }

    fn result(&self, op: &str, answer: &Answered) -> Outcome<Value> {
        let read: Result<Envelope, _> = serde_json::from_slice(&answer.body);
        if answer.status == StatusCode::OK {
            return match read {
                Ok(envelope) if envelope.success => Ok(envelope.result),
                Ok(envelope) => Err(self.unreadable(op, told(&envelope.errors))),
                Err(e) => Err(self.unreadable(op, e.to_string()).leaving(EffectLeft::Maybe)),
            };
        }
        let (kind, left, hint) = match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
                FaultKind::Denied,
                EffectLeft::None,
                "the token needs the permission DNS Write for this zone",
            ),
            StatusCode::TOO_MANY_REQUESTS => (
                FaultKind::Busy,
                EffectLeft::None,
                "others use up the account's requests: try later",
            ),
            status if status.is_server_error() => (FaultKind::Busy, EffectLeft::Maybe, "try again"),
            _ => (FaultKind::Invalid, EffectLeft::None, "mend what it says, then try again"),
        };
        let words = read.map_or_else(|_| answer.told(), |envelope| told(&envelope.errors));
        let cause = format!("it answered {}: {words}", answer.status);
        Err(Fault::new(codes::API, kind, self.at(op), cause).leaving(left).hint(hint))
    }

    async fn all(&self, op: &str, until: Instant) -> Outcome<Vec<Record>> {
        let mut all: Vec<Record> = Vec::new();
        for page in 1..=PAGES_MAX {
            let below = format!("?page={page}&per_page={PAGE}");
            let result = self.ask(&Method::GET, &below, None, op, until).await?;
            let records: Vec<Record> =
                serde_json::from_value(result).map_err(|e| self.unreadable(op, e.to_string()))?;
            let last = records.len() < PAGE;
            all.extend(records);
            if last {
                return Ok(all);
            }
        }
        Err(self.unreadable(op, format!("more than {PAGES_MAX} pages")))
    }

    /// Reads the records of some sets, each set with the ids of its data.
    async fn sets(&self, keys: &[SetKey], op: &str, until: Instant) -> Outcome<Vec<Kept>> {
        let mut kept: Vec<Kept> = keys.iter().map(Kept::none).collect();
        for record in self.all(op, until).await? {
            let Some(key) = record.key().map_err(|c| self.unreadable(op, c))? else { continue };
            let Some(of) = kept.iter_mut().find(|kept| kept.set.key == key) else { continue };
            let plain = record.plain().map_err(|cause| self.unreadable(op, cause))?;
            let Some((_, ttl, text)) = plain else {
                let cause = format!("`{key}` is proxied: resolvers see Cloudflare's own addresses");
                return Err(Fault::new(
                    codes::ELSEWHERE,
                    FaultKind::Unsupported,
                    self.at(op),
                    cause,
                )
                .hint("switch the origin instead, or turn the proxy off; nothing was changed"));
            };
            let one = sets::parse_provider(&key, ttl, &[text]);
            let one = one.map_err(|cause| self.unreadable(op, cause))?;
            if of.set.exists() && of.set.ttl != ttl {
                let cause = format!("records of `{key}` have TTLs of {} and {ttl} s", of.set.ttl);
                return Err(Fault::new(
                    codes::ELSEWHERE,
                    FaultKind::Unsupported,
                    self.at(op),
                    cause,
                )
                .hint("give them one TTL first: it could not be put back; nothing was changed"));
            }
            of.set.ttl = ttl;
            of.ids.extend(one.data.iter().map(|data| (data.clone(), record.id.clone())));
            of.set.data.extend(one.data);
        }
        Ok(kept)
    }
}

/// Writes a text without quotes as one or more texts of at most 255 octets.
fn quoted(content: &str) -> String {
    let texts: Vec<String> = content
        .as_bytes()
        .chunks(255)
        .map(|octets| {
            let plain = |octet: &u8| match octet {
                b'"' | b'\\' => format!("\\{}", char::from(*octet)),
                b' '..=b'~' => char::from(*octet).to_string(),
                _ => format!("\\{octet:03}"),
            };
            format!("\"{}\"", octets.iter().map(plain).collect::<String>())
        })
        .collect();
    texts.join(" ")
}

fn told(errors: &[Told]) -> String {
    let each: Vec<String> =
        errors.iter().map(|told| format!("{} ({})", told.message, told.code)).collect();
    if each.is_empty() { "it gave no reason".to_owned() } else { each.join("; ") }
}

/// A set and the id of the record that holds each of its data.
struct Kept {
    set: RecordSet,
    ids: Vec<(sets::Data, String)>,
}

impl Kept {
    fn none(key: &SetKey) -> Self {
        Self { set: RecordSet::absent(key.clone()), ids: Vec::new() }
    }
}

/// Builds the batch that takes what is kept to what is wanted; how many records it has.
fn batch(kept: &[Kept], wanted: &[RecordSet]) -> Result<(Value, usize), String> {
    let (mut deletes, mut patches, mut posts) = (Vec::new(), Vec::new(), Vec::new());
    for (kept, wanted) in kept.iter().zip(wanted).filter(|(kept, wanted)| kept.set != **wanted) {
        for (data, id) in &kept.ids {
            if !wanted.data.contains(data) {
                deletes.push(json!({ "id": id }));
            } else if kept.set.ttl != wanted.ttl {
                patches.push(json!({ "id": id, "ttl": wanted.ttl }));
            }
        }
        for data in wanted.data.difference(&kept.set.data) {
            posts.push(posted(wanted, &data.text(wanted.key.rtype))?);
        }
    }
    let count = deletes.len() + patches.len() + posts.len();
    Ok((json!({ "deletes": deletes, "patches": patches, "posts": posts }), count))
}

/// Returns a record as Cloudflare wants it.
fn posted(set: &RecordSet, text: &str) -> Result<Value, String> {
    let mut record = json!({
        "type": set.key.rtype.to_string(),
        "name": set.key.name.to_string(),
        "ttl": set.ttl,
        "proxied": false,
    });
    // The root, which stands for "no such service", keeps its dot.
    let undotted = |name: &str| match name.strip_suffix('.') {
        None | Some("") => name.to_owned(),
        Some(bare) => bare.to_owned(),
    };
    let words: Vec<&str> = text.split(' ').collect();
    match (set.key.rtype, words.as_slice()) {
        (Rtype::A | Rtype::AAAA | Rtype::TXT, _) => record["content"] = text.into(),
        (Rtype::CNAME | Rtype::NS | Rtype::PTR, [name]) => {
            record["content"] = undotted(name).into()
        }
        (Rtype::MX, [priority, name]) => {
            record["content"] = undotted(name).into();
            record["priority"] = number(priority)?;
        }
        (Rtype::SRV, [priority, weight, port, target]) => {
            record["data"] = json!({
                "priority": number(priority)?,
                "weight": number(weight)?,
                "port": number(port)?,
                "target": undotted(target),
            });
        }
        (Rtype::CAA, [flags, tag, ..]) => {
            let value = text.splitn(3, ' ').nth(2).unwrap_or_default();
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = bare.unwrap_or(value).replace("\\\"", "\"").replace("\\\\", "\\");
            record["data"] = json!({ "flags": number(flags)?, "tag": tag, "value": value });
        }
        (rtype, _) => {
            return Err(format!("records of type {rtype} are not written there by Segue"));
        }
    }
    Ok(record)
}

fn number(text: &str) -> Result<Value, String> {
    text.parse::<u16>().map(Value::from).map_err(|_| format!("`{text}` is no number"))
}

#[async_trait]
impl Session for Client {
    async fn state(&mut self, keys: &[SetKey], op: &str, until: Instant) -> Outcome<State> {
        let soa = start_of(&apex(&self.apex)?, &self.servers, op, until).await?;
        let sets = self.sets(keys, op, until).await?;
        Ok(State {
            // Its name servers make serials of their own, long after a change.
            serial: None,
            negative_ttl_s: soa.negative_ttl,
            minimum_s: None,
            sets: sets.into_iter().map(|kept| kept.set).collect(),
        })
    }

    async fn change(&mut self, change: &Change, op: &str, until: Instant) -> Outcome<Tried> {
        let keys: Vec<SetKey> = change.former.iter().map(|set| set.key.clone()).collect();
        let kept = self.sets(&keys, op, until).await?;
        let state = State {
            serial: None,
            negative_ttl_s: 0,
            minimum_s: None,
            sets: kept.iter().map(|kept| kept.set.clone()).collect(),
        };
        if !as_expected(&state, change) {
            return Ok(Tried::Moved);
        }
        let (body, count) = batch(&kept, &change.wanted).map_err(|cause| {
            Fault::new(codes::ELSEWHERE, FaultKind::Unsupported, self.at(op), cause)
                .hint("nothing was changed; change this set by hand and leave it out of the plan")
        })?;
        if count > self.batch_max {
            let cause = format!(
                "{count} records; a batch holds {}, and two batches are not one change",
                self.batch_max
            );
            return Err(Fault::new(codes::TOO_BIG, FaultKind::Invalid, op, cause).hint(
                "nothing was changed; own fewer records in one unit, or say `batch_max` if the \
                 account's plan allows more",
            ));
        }
        self.ask(&Method::POST, "/batch", Some(&body), op, until).await?;
        Ok(Tried::Acknowledged)
    }

    async fn close_off(&mut self, op: &str, until: Instant) -> Outcome<()> {
        wait_out(op, until).await
    }
}
