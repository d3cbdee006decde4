//! bunny.net (its API reference, "Get Pull Zone" and "Update Pull Zone"): what an update does not
//! name stays as it is.

use super::vendor::{Body, Client, Vendor};
use async_trait::async_trait;
use http::Method;
use http::header::HeaderName;
use secrecy::{ExposeSecret, SecretString};
use segue_model::RunId;
use segue_port::Outcome;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

/// A pull zone of bunny.net.
pub(super) struct Bunny {
    client: Client,
    pull_zone: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PullZone {
    #[serde(default)]
    origin_url: Option<String>,
}

impl Bunny {
    pub(super) fn new(url: &str, pull_zone: u64, token: &SecretString) -> Outcome<Self> {
        let header = HeaderName::from_static("accesskey");
        let client = Client::new(url, "bunny.net", header, token.expose_secret())?;
        Ok(Self { client, pull_zone })
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        body: Body,
        until: Instant,
    ) -> Outcome<T> {
        let verb = if method == Method::GET { "read" } else { "change" };
        let op = format!("{verb} pull zone {} of bunny.net", self.pull_zone);
        self.client.ask(&op, method, &format!("/pullzone/{}", self.pull_zone), body, until).await
    }
}

#[async_trait]
impl Vendor for Bunny {
    async fn origin(&self, until: Instant) -> Outcome<String> {
        let zone: PullZone = self.ask(Method::GET, Body::None, until).await?;
        // A zone of bunny's own storage has none, and so neither side's.
        Ok(zone.origin_url.unwrap_or_default())
    }

    async fn set_origin(&self, origin: &str, _run: &RunId, until: Instant) -> Outcome<()> {
        let body = Body::Json(json!({ "OriginUrl": origin }));
        self.ask::<Value>(Method::POST, body, until).await.map(drop)
    }
}
