//! Route 53 as its API reference describes it: batches that are all or none, exact deletions,
//! changes that are PENDING until every name server has them, throttling, and
//! `PriorRequestNotComplete` while a former batch of the zone is being taken.

use super::edge::{Edge, Patch};
use super::http::{Answer, Asked, serve};
use super::{Sets, sets_of};
use quick_xml::Reader;
use quick_xml::events::Event;
use segue_doors::sigv4::{Signed, Signer};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const ZONE_ID: &str = "Z1D633PJN98FT9";
pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// How long a name server takes at most to follow.
const FOLLOWS: Duration = Duration::from_millis(80);
/// How long a batch keeps its zone busy.
const TAKING: Duration = Duration::from_millis(5);

/// A stand-in with two name servers.
#[derive(Clone)]
pub(crate) struct Route53 {
    pub(crate) address: SocketAddr,
    pub(crate) edges: Vec<Edge>,
    inside: Arc<Mutex<Inside>>,
}

struct Inside {
    sets: Sets,
    /// Names of address sets that are aliases of a balancer.
    aliases: Vec<String>,
    /// Requests a second of the account.
    rate: usize,
    asked: Vec<Instant>,
    busy_until: Instant,
    /// When each change is at every name server.
    changes: BTreeMap<String, Instant>,
    /// How often each error was given.
    errors: BTreeMap<&'static str, usize>,
    batches: usize,
}

struct Change {
    action: String,
    key: (String, String),
    set: (u32, Vec<String>),
    routed: bool,
}

impl Route53 {
    pub(crate) async fn start(zone: &str, rate: usize) -> Self {
        let sets = sets_of(zone);
        let edges = vec![Edge::start(sets.clone()).await, Edge::start(sets.clone()).await];
        let inside = Arc::new(Mutex::new(Inside {
            sets,
            aliases: Vec::new(),
            rate,
            asked: Vec::new(),
            busy_until: Instant::now(),
            changes: BTreeMap::new(),
            errors: BTreeMap::new(),
            batches: 0,
        }));
        let (state, follow) = (inside.clone(), edges.clone());
        let address = serve(move |asked| state.lock().unwrap().answer(asked, &follow)).await;
        Self { address, edges, inside }
    }

    /// Returns how often an error was given.
    pub(crate) fn errors(&self, code: &str) -> usize {
        self.inside.lock().unwrap().errors.get(code).copied().unwrap_or(0)
    }

    /// Makes the addresses of a name an alias of a balancer.
    pub(crate) fn alias(&self, name: &str) {
        self.inside.lock().unwrap().aliases.push(name.to_owned());
    }

    /// Returns how many batches were taken.
    pub(crate) fn batches(&self) -> usize {
        self.inside.lock().unwrap().batches
    }
}

impl Inside {
    fn error(&mut self, status: u16, code: &'static str, message: &str) -> Answer {
        *self.errors.entry(code).or_default() += 1;
        let body = format!(
            "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"https://route53.amazonaws.com/doc/\
             2013-04-01/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}\
             </Message></Error><RequestId>1</RequestId></ErrorResponse>"
        );
        (status, None, body)
    }

    fn answer(&mut self, asked: &Asked, edges: &[Edge]) -> Answer {
        let now = Instant::now();
        self.asked.retain(|at| now.duration_since(*at) < Duration::from_secs(1));
        if self.asked.len() >= self.rate {
            return self.error(400, "Throttling", "Rate exceeded");
        }
        self.asked.push(now);
        if !signed(asked) {
            let text = "The request signature we calculated does not match";
            return self.error(403, "SignatureDoesNotMatch", text);
        }
        let zone = format!("/2013-04-01/hostedzone/{ZONE_ID}/rrset");
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", path) if path == zone => self.list(asked),
            ("POST", path) if path == zone => self.batch(asked, edges),
            ("GET", path) => match path.strip_prefix("/2013-04-01/change/") {
                Some(id) => self.change(id),
                None => self.error(404, "NoSuchHostedZone", "No hosted zone found"),
            },
            _ => self.error(404, "NoSuchHostedZone", "No hosted zone found"),
        }
    }

    fn change(&mut self, id: &str) -> Answer {
        let Some(due) = self.changes.get(id) else {
            return self.error(404, "NoSuchChange", "Could not find resource");
        };
        let status = if Instant::now() < *due { "PENDING" } else { "INSYNC" };
        (200, None, info("GetChangeResponse", id, status))
    }

    fn list(&mut self, asked: &Asked) -> Answer {
        let most: usize = asked.value("maxitems").and_then(|n| n.parse().ok()).unwrap_or(300);
        let from = asked.value("name").map(|name| {
            let name = name.trim_end_matches('.').to_owned();
            (reversed(&name), asked.value("type").unwrap_or_default())
        });
        let mut all: Vec<_> = self.sets.iter().collect();
        // Names are sorted by their labels, the last first.
        all.sort_by_key(|((name, rtype), _)| (reversed(name), rtype.clone()));
        let behind = all.into_iter().filter(|((name, rtype), _)| {
            from.as_ref().is_none_or(|from| (reversed(name), rtype.clone()) >= *from)
        });
        let behind: Vec<_> = behind.collect();
        let mut body = String::from(
            "<?xml version=\"1.0\"?>\n<ListResourceRecordSetsResponse xmlns=\"https://route53.\
             amazonaws.com/doc/2013-04-01/\"><ResourceRecordSets>",
        );
        for ((name, rtype), (ttl, values)) in behind.iter().take(most.min(300)) {
            let alias = rtype == "A" && self.aliases.contains(name);
            let name = name.replace('*', "\\052");
            if alias {
                let _ = write!(
                    body,
                    "<ResourceRecordSet><Name>{name}.</Name><Type>{rtype}</Type><AliasTarget>\
                     <HostedZoneId>Z35SXDOTRQ7X7K</HostedZoneId><DNSName>balancer.provider.test.\
                     </DNSName><EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget>\
                     </ResourceRecordSet>"
                );
                continue;
            }
            let _ = write!(
                body,
                "<ResourceRecordSet><Name>{name}.</Name><Type>{rtype}</Type><TTL>{ttl}</TTL>\
                 <ResourceRecords>"
            );
            for value in values {
                let value = quick_xml::escape::escape(value);
                let _ = write!(body, "<ResourceRecord><Value>{value}</Value></ResourceRecord>");
            }
            body.push_str("</ResourceRecords></ResourceRecordSet>");
        }
        body.push_str("</ResourceRecordSets>");
        match behind.get(most.min(300)) {
            None => body.push_str("<IsTruncated>false</IsTruncated>"),
            Some(((name, rtype), _)) => {
                let _ = write!(
                    body,
                    "<IsTruncated>true</IsTruncated><NextRecordName>{name}.</NextRecordName>\
                     <NextRecordType>{rtype}</NextRecordType>"
                );
            }
        }
        body.push_str("<MaxItems>300</MaxItems></ListResourceRecordSetsResponse>");
        (200, None, body)
    }

    fn batch(&mut self, asked: &Asked, edges: &[Edge]) -> Answer {
        let now = Instant::now();
        if now < self.busy_until {
            let text = "The request was rejected because Route 53 was still processing a prior \
                        request.";
            return self.error(400, "PriorRequestNotComplete", text);
        }
        let changes = changes(&String::from_utf8_lossy(&asked.body));
        let values: usize = changes.iter().map(|change| change.set.1.len()).sum();
        let characters: usize =
            changes.iter().flat_map(|change| &change.set.1).map(String::len).sum();
        if values > 1_000 || characters > 32_000 {
            let text = "Number of records limit of 1000 exceeded.";
            return self.error(400, "InvalidChangeBatch", text);
        }
        let mut sets = self.sets.clone();
        for change in &changes {
            if let Err(text) = apply(&mut sets, change) {
                return self.error(400, "InvalidChangeBatch", &text);
            }
        }
        if let Some(text) = wrong(&sets) {
            return self.error(400, "InvalidChangeBatch", &text);
        }
        self.batches += 1;
        let id = format!("C{}", self.batches);
        let patch: Patch =
            changes.iter().map(|c| (c.key.clone(), sets.get(&c.key).cloned())).collect();
        let mut due = now;
        for (number, edge) in (1..).zip(edges) {
            let at = now + FOLLOWS * number / 2;
            edge.later(at, patch.clone());
            due = due.max(at);
        }
        self.changes.insert(id.clone(), due);
        self.busy_until = now + TAKING;
        self.sets = sets;
        (200, None, info("ChangeResourceRecordSetsResponse", &format!("/change/{id}"), "PENDING"))
    }
}

fn info(element: &str, id: &str, status: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<{element} xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">\
         <ChangeInfo><Id>{id}</Id><Status>{status}</Status><SubmittedAt>2026-11-30T00:00:00Z\
         </SubmittedAt></ChangeInfo></{element}>"
    )
}

fn reversed(name: &str) -> Vec<String> {
    name.split('.').rev().map(ToOwned::to_owned).collect()
}

/// Applies one change as it is documented.
fn apply(sets: &mut Sets, change: &Change) -> Result<(), String> {
    let (name, rtype) = &change.key;
    let what = format!("[name='{name}.', type='{rtype}']");
    if change.routed {
        return Err(format!("{what}: this stand-in has plain sets only"));
    }
    if !(name == "example.test" || name.ends_with(".example.test")) {
        return Err(format!("RRSet with DNS name {name}. is not permitted in zone example.test."));
    }
    let known = sets.get(&change.key);
    match change.action.as_str() {
        "CREATE" if known.is_some() => {
            Err(format!("Tried to create resource record set {what} but it already exists"))
        }
        "DELETE" => match known {
            None => Err(format!("Tried to delete resource record set {what} but it was not found")),
            Some((ttl, values)) => {
                let (mut have, mut named) = (values.clone(), change.set.1.clone());
                have.sort();
                named.sort();
                if *ttl != change.set.0 || have != named {
                    return Err(format!(
                        "Tried to delete resource record set {what} but the values provided do not \
                         match the current values"
                    ));
                }
                if name == "example.test" && rtype == "SOA" {
                    return Err("A HostedZone must contain exactly one SOA record.".into());
                }
                if name == "example.test" && rtype == "NS" {
                    return Err("A HostedZone must contain at least one NS record for the zone \
                                itself."
                        .into());
                }
                sets.remove(&change.key);
                Ok(())
            }
        },
        "CREATE" | "UPSERT" => {
            sets.insert(change.key.clone(), change.set.clone());
            Ok(())
        }
        other => Err(format!("Invalid action {other}")),
    }
}

fn wrong(sets: &Sets) -> Option<String> {
    for (name, rtype) in sets.keys() {
        let beside = sets.keys().any(|(other, kind)| other == name && kind != rtype);
        if rtype == "CNAME" && beside {
            return Some(format!(
                "RRSet of type CNAME with DNS name {name}. is not permitted as it conflicts with \
                 other records with the same DNS name in zone example.test."
            ));
        }
    }
    let start = ("example.test".to_owned(), "NS".to_owned());
    (!sets.contains_key(&start))
        .then(|| "A HostedZone must contain at least one NS record for the zone itself.".into())
}

/// Reads a batch.
fn changes(body: &str) -> Vec<Change> {
    let mut reader = Reader::from_str(body);
    let (mut path, mut text, mut all) = (Vec::new(), String::new(), Vec::<Change>::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                path.push(tag.local_name().as_ref().to_owned());
                text.clear();
                if path.last().is_some_and(|last| last == "Change") {
                    all.push(Change {
                        action: String::new(),
                        key: Default::default(),
                        set: Default::default(),
                        routed: false,
                    });
                }
            }
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(part) => {
                text.push_str(quick_xml::escape::resolve_predefined_entity(&part).unwrap());
            }
            Event::End(_) => {
                let last = path.pop().unwrap();
                let Some(change) = all.last_mut() else { continue };
                match last.as_str() {
                    "Action" => change.action = text.clone(),
                    "Name" => change.key.0 = text.trim_end_matches('.').to_owned(),
                    "Type" => change.key.1 = text.clone(),
                    "TTL" => change.set.0 = text.parse().unwrap(),
                    "Value" => change.set.1.push(text.clone()),
                    "SetIdentifier" | "AliasTarget" => change.routed = true,
                    _ => {}
                }
                text.clear();
            }
            Event::Eof => return all,
            _ => {}
        }
    }
}

/// Says whether the request was signed with the account's key, at about now.
fn signed(asked: &Asked) -> bool {
    let signer = Signer {
        access_key: ACCESS_KEY,
        secret_key: SECRET_KEY,
        region: "us-east-1",
        service: "route53",
    };
    let date = asked.header("x-amz-date");
    let what = Signed {
        method: &asked.method,
        path: &asked.path,
        query: &asked.query,
        headers: &[("host", asked.header("host")), ("x-amz-date", date)],
        body: &asked.body,
    };
    date.len() == 16 && asked.header("authorization") == signer.authorization(&what, date)
}
