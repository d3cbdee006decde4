//! PowerDNS by its HTTP API (its manual, "Zones", "RRset"). One PATCH is all or none, and
//! nobody who asks ever sees half of it. It compares nothing, so values are read again right
//! before; where an edit in those milliseconds must be noticed, its DNSUPDATE (`update`) does.
//!
//! Within a PATCH order counts: an alias that takes the place of an address is refused unless
//! the address goes first.

use super::reread::{as_expected, keep_name_servers, wait_out};
use super::{Capabilities, Driver, Late, Session, State, Swap, Tried, Unshown, Whole, apex, pick};
use crate::change::Change;
use crate::codes;
use crate::message::Soa;
use crate::sets::{self, RecordSet, SetKey};
use crate::zone::Contents;
use async_trait::async_trait;
use domain::base::Rtype;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use secrecy::ExposeSecret;
use segue_doors::api::{Answered, Api, Asked, secret_header};
use segue_model::plan::SecretRef;
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;
use tokio::time::Instant;

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        driver: "powerdns",
        all_or_none: true,
        atomic_when_asked: true,
        swap: Swap::ReadAgain,
        late: Late::WaitedFor,
        signs: true,
        ttl_min_s: 0,
        largest: "no limit of its own",
        own_ns: true,
        remark: "it would delete a zone's last NS: refused here",
    }
}

/// A PowerDNS server with its API.
#[derive(Debug)]
pub(super) struct Powerdns {
    pub(super) zone: String,
    pub(super) url: String,
    pub(super) server: String,
    pub(super) key: SecretRef,
}

#[async_trait]
impl Driver for Powerdns {
    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn place(&self) -> String {
        self.url.clone()
    }

    fn takes_keys(&self) -> bool {
        true
    }

    fn by_hand(&self) -> String {
        format!(
            "with `pdnsutil edit-zone {}` at {}: write each owned set as the journal's `former` of \
             this step shows it, then `pdns_control notify {}`",
            self.zone, self.url, self.zone
        )
    }

    async fn open(&self, op: &str, _until: Instant) -> Outcome<Box<dyn Session>> {
        Ok(Box::new(self.client(op)?))
    }

    async fn whole(&self, until: Instant) -> Outcome<Whole> {
        let op = format!("read zone `{}`", self.zone);
        self.client(&op)?.whole(None, &op, until).await
    }
}

impl Powerdns {
    fn client(&self, op: &str) -> Outcome<Client> {
        let key = segue_doors::secrets::read(&self.key)?;
        let key = secret_header(key.expose_secret()).map_err(|cause| {
            Fault::new(codes::KEY, FaultKind::Invalid, format!("use the API key: {op}"), cause)
                .hint("compare the key with `api-key` in pdns.conf")
        })?;
        // An id is the zone's name, its odd characters as `=XX` (manual, "zone_id").
        let mut id = String::new();
        for octet in format!("{}.", self.zone).bytes() {
            if octet.is_ascii_alphanumeric() || b"._-".contains(&octet) {
                id.push(char::from(octet));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(id, "={octet:02X}");
            }
        }
        Ok(Client {
            api: Api::new(&self.url)?,
            zone: self.zone.clone(),
            path: format!("/api/v1/servers/{}/zones/{id}", self.server),
            key,
        })
    }
}

struct Client {
    api: Api,
    zone: String,
    path: String,
    key: HeaderValue,
}

#[derive(Deserialize)]
struct Zone {
    rrsets: Vec<Rrset>,
}

#[derive(Deserialize)]
struct Rrset {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    ttl: u32,
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    content: String,
    #[serde(default)]
    disabled: bool,
}

impl Client {
    async fn ask(
        &self,
        method: Method,
        below: &str,
        body: Option<&Value>,
        op: &str,
        until: Instant,
    ) -> Outcome<Answered> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-api-key"), self.key.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let path = format!("{}{below}", self.path);
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let reads = method == Method::GET;
        let asked = Asked { method, path: &path, headers, body };
        let answer = self.api.ask(asked, until).await;
        answer.map_err(|unanswered| {
            let fault = unanswered.fault(codes::API, op, self.api.base());
            if reads { fault.leaving(EffectLeft::None) } else { fault }
        })
    }

    fn refused(&self, op: &str, answer: &Answered) -> Fault {
        let (kind, left, hint) = match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
                FaultKind::Denied,
                EffectLeft::None,
                "compare the key with `api-key`, and this machine's address with \
                 `webserver-allow-from` in pdns.conf",
            ),
            StatusCode::NOT_FOUND => {
                (FaultKind::Invalid, EffectLeft::None, "the server does not have this zone")
            }
            status if status.is_server_error() => {
                (FaultKind::Busy, EffectLeft::Maybe, "see the server's log, then try again")
            }
            _ => (FaultKind::Invalid, EffectLeft::None, "mend what it says, then try again"),
        };
        let cause = format!("it answered {}: {}", answer.status, answer.told());
        Fault::new(codes::API, kind, format!("{op} at {}", self.api.base()), cause)
            .leaving(left)
            .hint(hint)
    }

    async fn some(&self, only: &[SetKey], op: &str, until: Instant) -> Outcome<Contents> {
        Ok(self.whole(Some(only), op, until).await?.contents)
    }

    async fn whole(&self, only: Option<&[SetKey]>, op: &str, until: Instant) -> Outcome<Whole> {
        let answer = self.ask(Method::GET, "", None, op, until).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(op, &answer).leaving(EffectLeft::None));
        }
        let read = serde_json::from_slice(&answer.body).map_err(|e| e.to_string());
        let whole = read.and_then(|zone: Zone| whole(&self.zone, zone.rrsets, only));
        whole.map_err(|cause| {
            Fault::new(
                codes::API,
                FaultKind::Invalid,
                format!("{op} at {}", self.api.base()),
                cause,
            )
            .hint("this is no answer of PowerDNS as Segue knows it; read the zone by transfer")
        })
    }
}

/// Reads the zone's SOA and other sets: all, or some.
fn whole(zone: &str, rrsets: Vec<Rrset>, only: Option<&[SetKey]>) -> Result<Whole, String> {
    let apex = sets::owner(zone)?;
    let (mut soa, mut all, mut unshown) = (None, BTreeMap::new(), Vec::new());
    let mut none = |rrset: &Rrset, what, answered| {
        let (name, rtype) = (sets::owner(&rrset.name)?, rrset.rtype.clone());
        unshown.push(Unshown { name, rtype, what, answered });
        Ok::<(), String>(())
    };
    for rrset in rrsets {
        // It answers for ALIAS and LUA with data of other types, which it makes up.
        let Ok(rtype) = Rtype::from_str(&rrset.rtype) else {
            none(&rrset, "of a type that only PowerDNS knows", true)?;
            continue;
        };
        let key = SetKey { name: sets::owner(&rrset.name)?, rtype };
        // What is not asked for may be written in a way that nobody here reads.
        let asked = only.is_none_or(|only| only.contains(&key)) || rtype == Rtype::SOA;
        if !asked {
            continue;
        }
        if only.is_some() && rrset.records.iter().any(|record| record.disabled) {
            return Err(format!("`{key}` has a disabled record, which could not be put back"));
        }
        if rrset.records.iter().any(|record| record.disabled) {
            none(&rrset, "partly or wholly disabled", false)?;
        }
        let shown = rrset.records.into_iter().filter(|record| !record.disabled);
        let texts: Vec<String> = shown.map(|record| record.content).collect();
        let set = sets::parse_provider(&key, rrset.ttl, &texts)?;
        if key.rtype == Rtype::SOA && key.name == apex {
            soa = set.data.first().and_then(|data| Soa::of(set.ttl, data));
        } else if set.exists() {
            all.insert(key, set);
        }
    }
    let contents = Contents { soa: soa.ok_or("the zone has no SOA")?, sets: all };
    Ok(Whole { contents, unshown })
}

fn replaced(set: &RecordSet) -> Value {
    let records: Vec<Value> =
        set.texts().into_iter().map(|text| json!({ "content": text, "disabled": false })).collect();
    json!({
        "name": set.key.name.fmt_with_dot().to_string(),
        "type": set.key.rtype.to_string(),
        "ttl": set.ttl,
        "changetype": if set.exists() { "REPLACE" } else { "DELETE" },
        "records": records,
    })
}

#[async_trait]
impl Session for Client {
    async fn state(&mut self, keys: &[SetKey], op: &str, until: Instant) -> Outcome<State> {
        Ok(pick(&self.some(keys, op, until).await?, keys))
    }

    async fn change(&mut self, change: &Change, op: &str, until: Instant) -> Outcome<Tried> {
        keep_name_servers(&self.zone, change, op)?;
        let keys: Vec<SetKey> = change.former.iter().map(|set| set.key.clone()).collect();
        let contents = self.some(&keys, op, until).await?;
        if !as_expected(&pick(&contents, &keys), change) {
            return Ok(Tried::Moved);
        }
        let differing = change.former.iter().zip(&change.wanted).filter(|(a, b)| a != b);
        let mut wanted: Vec<&RecordSet> = differing.map(|(_, wanted)| wanted).collect();
        // Deletions first.
        wanted.sort_by_key(|set| set.exists());
        let mut rrsets: Vec<Value> = wanted.into_iter().map(replaced).collect();
        if let Some(minimum) = change.minimum_from(contents.soa.minimum) {
            let key = SetKey { name: apex(&self.zone)?, rtype: Rtype::SOA };
            let data = [contents.soa.next(Some(minimum))].into();
            rrsets.push(replaced(&RecordSet { key, ttl: contents.soa.ttl, data }));
        }
        let body = json!({ "rrsets": rrsets });
        let answer = self.ask(Method::PATCH, "", Some(&body), op, until).await?;
        if answer.status != StatusCode::NO_CONTENT {
            // A success of another kind came from something before the server.
            let fault = self.refused(op, &answer);
            let odd = answer.status.is_success();
            return Err(if odd { fault.leaving(EffectLeft::Maybe) } else { fault });
        }
        self.again(op, until).await?;
        Ok(Tried::Acknowledged)
    }

    /// Its own schedule tells secondaries within a second or so; this tells them now.
    async fn again(&mut self, op: &str, until: Instant) -> Outcome<()> {
        // Only a hint: the read-back decides. A zone that is not of kind `Primary` refuses it.
        let told = self.ask(Method::PUT, "/notify", None, op, until).await;
        if let Err(fault) = told {
            tracing::debug!(zone = self.zone, %fault, "notify");
        }
        Ok(())
    }

    async fn close_off(&mut self, op: &str, until: Instant) -> Outcome<()> {
        wait_out(op, until).await
    }
}
