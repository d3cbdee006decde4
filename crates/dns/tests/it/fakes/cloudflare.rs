//! Cloudflare as its API reference describes it: records with ids, batches that are one
//! transaction in its records and reach its name servers record by record, limits of TTLs,
//! records and requests.

use super::edge::{Edge, Patch};
use super::http::{Answer, Asked, serve};
use super::{Sets, sets_of};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const ZONE_ID: &str = "023e105f4ecef8ad9ca31a8372d0c353";
pub(crate) const TOKEN: &str = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY";

/// Lowest TTL, seconds; one below it is refused.
pub(crate) const TTL_MIN: u32 = 60;
/// Records of a batch.
const BATCH_MAX: usize = 200;
/// How long each further record takes to reach a name server.
const FOLLOWS: Duration = Duration::from_millis(150);

/// A stand-in with one name server.
#[derive(Clone)]
pub(crate) struct Cloudflare {
    pub(crate) address: SocketAddr,
    pub(crate) edge: Edge,
    inside: Arc<Mutex<Inside>>,
}

struct Inside {
    records: Vec<Record>,
    next: usize,
    /// Requests that are still refused with 429.
    refuse: usize,
    refused: usize,
}

#[derive(Clone)]
struct Record {
    id: String,
    name: String,
    rtype: String,
    /// Presentation format, names with their dot.
    text: String,
    ttl: u32,
    proxied: bool,
}

impl Cloudflare {
    pub(crate) async fn start(zone: &str) -> Self {
        let mut sets = sets_of(zone);
        let mut records = Vec::new();
        for ((name, rtype), (ttl, texts)) in &mut sets {
            *ttl = (*ttl).max(TTL_MIN);
            // The zone's own SOA and NS are Cloudflare's and are not among its records.
            if name == "example.test" && ["SOA", "NS"].contains(&rtype.as_str()) {
                continue;
            }
            for text in texts {
                records.push(Record {
                    id: format!("{:032x}", records.len() + 1),
                    name: name.clone(),
                    rtype: rtype.clone(),
                    text: text.clone(),
                    ttl: *ttl,
                    proxied: false,
                });
            }
        }
        let edge = Edge::start(sets).await;
        let next = records.len() + 1;
        let inside = Arc::new(Mutex::new(Inside { records, next, refuse: 0, refused: 0 }));
        let (state, follow) = (inside.clone(), edge.clone());
        let address = serve(move |asked| state.lock().unwrap().answer(asked, &follow)).await;
        Self { address, edge, inside }
    }

    /// Lets the next requests be refused for their number.
    pub(crate) fn refuse(&self, requests: usize) {
        self.inside.lock().unwrap().refuse = requests;
    }

    /// Returns how many were.
    pub(crate) fn refused(&self) -> usize {
        self.inside.lock().unwrap().refused
    }

    /// Puts a name behind Cloudflare's own proxy.
    pub(crate) fn proxy(&self, name: &str) {
        let mut inside = self.inside.lock().unwrap();
        inside.records.iter_mut().filter(|r| r.name == name).for_each(|r| r.proxied = true);
    }
}

impl Record {
    fn shown(&self) -> Value {
        let undotted = |text: &str| text.strip_suffix('.').unwrap_or(text).to_owned();
        let words: Vec<&str> = self.text.split(' ').collect();
        let mut shown = json!({
            "id": self.id, "name": self.name, "type": self.rtype, "ttl": self.ttl,
            "proxied": self.proxied, "proxiable": true, "content": undotted(&self.text),
            "settings": {}, "meta": {}, "tags": [],
        });
        match self.rtype.as_str() {
            "MX" => {
                shown["priority"] = words[0].parse::<u16>().unwrap().into();
                shown["content"] = undotted(words[1]).into();
            }
            "SRV" => {
                shown["data"] = json!({
                    "priority": words[0].parse::<u16>().unwrap(),
                    "weight": words[1].parse::<u16>().unwrap(),
                    "port": words[2].parse::<u16>().unwrap(),
                    "target": undotted(words[3]),
                });
            }
            "CAA" => {
                let value = self.text.splitn(3, ' ').nth(2).unwrap().trim_matches('"').to_owned();
                let flags: u16 = words[0].parse().unwrap();
                shown["data"] = json!({ "flags": flags, "tag": words[1], "value": value });
            }
            _ => {}
        }
        shown
    }

    /// Reads a record as it is posted.
    fn posted(id: String, of: &Map<String, Value>) -> Result<Self, Told> {
        let text = |name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let rtype = text("type");
        let field = |name: &str| of.get("data").and_then(|data| data.get(name));
        let number = |name: &str| field(name).and_then(Value::as_u64);
        let word = |name: &str| field(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let missing = |name: &str| Told(9101, format!("{name} is a required data field."));
        let data = match rtype.as_str() {
            "CNAME" | "NS" | "PTR" => format!("{}.", text("content")),
            "MX" => {
                let priority = of.get("priority").and_then(Value::as_u64);
                format!("{} {}.", priority.ok_or_else(|| missing("priority"))?, text("content"))
            }
            "SRV" => format!(
                "{} {} {} {}.",
                number("priority").ok_or_else(|| missing("priority"))?,
                number("weight").ok_or_else(|| missing("weight"))?,
                number("port").ok_or_else(|| missing("port"))?,
                word("target").ok_or_else(|| missing("target"))?
            ),
            "CAA" => format!(
                "{} {} \"{}\"",
                number("flags").ok_or_else(|| missing("flags"))?,
                word("tag").ok_or_else(|| missing("tag"))?,
                word("value").ok_or_else(|| missing("value"))?
            ),
            "A" if text("content").parse::<std::net::Ipv4Addr>().is_err() => {
                return Err(Told(
                    9005,
                    "Content for A record must be a valid IPv4 address.".into(),
                ));
            }
            _ => text("content"),
        };
        let ttl = of.get("ttl").and_then(Value::as_u64).unwrap_or(1);
        let ttl = ttl_of(u32::try_from(ttl).unwrap())?;
        Ok(Self { id, name: text("name"), rtype, text: data, ttl, proxied: false })
    }
}

fn ttl_of(ttl: u32) -> Result<u32, Told> {
    if ttl == 1 || (TTL_MIN..=86_400).contains(&ttl) {
        return Ok(ttl);
    }
    Err(Told(9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.".into()))
}

struct Told(u64, String);

fn refused(status: u16, told: &Told) -> Answer {
    let body = json!({
        "success": false, "messages": [], "result": null,
        "errors": [{ "code": told.0, "message": told.1 }],
    });
    (status, (status == 429).then_some(1), body.to_string())
}

fn done(result: &Value) -> Answer {
    let body = json!({ "success": true, "errors": [], "messages": [], "result": result });
    (200, None, body.to_string())
}

impl Inside {
    fn answer(&mut self, asked: &Asked, edge: &Edge) -> Answer {
        if self.refuse > 0 {
            self.refuse -= 1;
            self.refused += 1;
            let text = "You have exceeded the rate limit.".to_owned();
            return refused(429, &Told(10_429, text));
        }
        if asked.header("authorization") != format!("Bearer {TOKEN}") {
            return refused(403, &Told(10_000, "Authentication error".into()));
        }
        let records = format!("/zones/{ZONE_ID}/dns_records");
        match (asked.method.as_str(), asked.path.strip_prefix(&records)) {
            ("GET", Some("")) => self.list(asked),
            ("POST", Some("/batch")) => self.batch(asked, edge),
            _ => refused(404, &Told(7003, "Could not route to the requested resource.".into())),
        }
    }

    fn list(&self, asked: &Asked) -> Answer {
        let number = |name: &str| asked.value(name).and_then(|n| n.parse::<usize>().ok());
        let (page, size) = (number("page").unwrap_or(1), number("per_page").unwrap_or(100));
        let shown = self.records.iter().skip((page - 1) * size).take(size).map(Record::shown);
        done(&Value::Array(shown.collect()))
    }

    fn batch(&mut self, asked: &Asked, edge: &Edge) -> Answer {
        let body: Value = match serde_json::from_slice(&asked.body) {
            Ok(body) => body,
            Err(e) => return refused(400, &Told(6007, e.to_string())),
        };
        let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        let (deletes, patches, posts) = (list("deletes"), list("patches"), list("posts"));
        if deletes.len() + patches.len() + posts.len() > BATCH_MAX {
            let text = "Batch exceeds the maximum number of operations.".to_owned();
            return refused(400, &Told(9207, text));
        }
        let (before, next) = (self.records.clone(), self.next);
        if let Err(told) = self.apply(&deletes, &patches, &posts) {
            // One transaction.
            (self.records, self.next) = (before, next);
            return refused(400, &told);
        }
        self.follow(&before, edge);
        done(&json!({ "deletes": deletes, "patches": patches, "posts": posts }))
    }

    fn apply(&mut self, deletes: &[Value], patches: &[Value], posts: &[Value]) -> Result<(), Told> {
        let missing = || Told(81_044, "Record does not exist.".into());
        for delete in deletes {
            let place = self.records.iter().position(|record| delete["id"] == record.id);
            self.records.remove(place.ok_or_else(missing)?);
        }
        for patch in patches {
            let known = self.records.iter_mut().find(|record| patch["id"] == record.id);
            let known = known.ok_or_else(missing)?;
            known.ttl = ttl_of(u32::try_from(patch["ttl"].as_u64().unwrap()).unwrap())?;
        }
        for post in posts {
            let id = format!("{:032x}", self.next);
            self.next += 1;
            let record = Record::posted(id, post.as_object().unwrap())?;
            let mut here = self.records.iter().filter(|known| known.name == record.name);
            if here.any(|known| {
                (known.rtype == "CNAME") != (record.rtype == "CNAME")
                    || known.rtype == "CNAME" && record.rtype == "CNAME"
            }) {
                let text = "An A, AAAA, or CNAME record with that host already exists.";
                return Err(Told(81_053, text.into()));
            }
            let same = |known: &Record| {
                (&known.name, &known.rtype, &known.text)
                    == (&record.name, &record.rtype, &record.text)
            };
            if self.records.iter().any(same) {
                return Err(Told(81_058, "An identical record already exists.".into()));
            }
            self.records.push(record);
        }
        Ok(())
    }

    /// Lets the name server have each changed set by itself.
    fn follow(&self, before: &[Record], edge: &Edge) {
        let grouped = |records: &[Record]| {
            let mut sets = Sets::new();
            for record in records {
                let key = (record.name.clone(), record.rtype.clone());
                let ttl = if record.ttl == 1 { 300 } else { record.ttl };
                let set = sets.entry(key).or_insert((ttl, Vec::new()));
                set.1.push(record.text.clone());
            }
            sets
        };
        let (former, now) = (grouped(before), grouped(&self.records));
        let mut at = Instant::now();
        let keys: std::collections::BTreeSet<_> = former.keys().chain(now.keys()).collect();
        for key in keys.into_iter().filter(|key| former.get(*key) != now.get(*key)) {
            let patch: Patch = vec![(key.clone(), now.get(key).cloned())];
            edge.later(at, patch);
            at += FOLLOWS;
        }
    }
}
