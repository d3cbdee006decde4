//! Cloudflare as a CDN (its API reference, "DNS Records for a Zone"): resolvers see Cloudflare's own
//! addresses for a proxied record, and its content is where Cloudflare asks. So it is an origin and
//! no record set: nobody could read it back from a name server.

use super::vendor::{Body, Client, Vendor, escaped};
use async_trait::async_trait;
use http::Method;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use segue_model::{EffectLeft, Fault, FaultKind, RunId};
use segue_port::Outcome;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

/// A proxied record of a zone.
pub(super) struct Cloudflare {
    client: Client,
    records: String,
    name: String,
    rtype: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    result: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    content: String,
    #[serde(default)]
    proxied: bool,
}

impl Cloudflare {
    pub(super) fn new(
        url: &str,
        zone_id: &str,
        (name, rtype): (&str, &str),
        token: &SecretString,
    ) -> Outcome<Self> {
        let bearer = format!("Bearer {}", token.expose_secret());
        let client = Client::new(url, "Cloudflare", AUTHORIZATION, &bearer)?;
        let records = format!("/zones/{}/dns_records", escaped(zone_id));
        Ok(Self { client, records, name: name.to_owned(), rtype: rtype.to_owned() })
    }

    fn op(&self, what: &str) -> String {
        format!("{what} proxied record {} {}", self.name, self.rtype)
    }

    async fn record(&self, op: &str, until: Instant) -> Outcome<Record> {
        let (name, rtype) = (escaped(&self.name), escaped(&self.rtype));
        let path = format!("{}?name={name}&type={rtype}", self.records);
        let mut all: Listed = self.client.ask(op, Method::GET, &path, Body::None, until).await?;
        let count = all.result.len();
        match all.result.pop().filter(|record| count == 1 && record.proxied) {
            Some(record) => Ok(record),
            None => {
                let cause = match count {
                    1 => "it is not proxied: resolvers see its content".to_owned(),
                    count => format!("there are {count} of them; an origin is one"),
                };
                Err(Fault::new("SG0174", FaultKind::Conflict, op, cause)
                    .leaving(EffectLeft::None)
                    .hint("own a record that is not proxied as a record set of a [[zone]]"))
            }
        }
    }
}

#[async_trait]
impl Vendor for Cloudflare {
    async fn origin(&self, until: Instant) -> Outcome<String> {
        Ok(self.record(&self.op("read"), until).await?.content)
    }

    async fn set_origin(&self, origin: &str, _run: &RunId, until: Instant) -> Outcome<()> {
        let op = self.op("change");
        let id = self.record(&op, until).await?.id;
        let body = Body::Json(json!({ "content": origin }));
        let path = format!("{}/{}", self.records, escaped(&id));
        self.client.ask::<Value>(&op, Method::PATCH, &path, body, until).await.map(drop)
    }
}
