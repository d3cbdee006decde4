//! Fastly (its API reference, "Version" and "Backend"). A version that was activated is locked:
//! a change is a clone of the active version, which is validated and then activated as a whole.
//!
//! A clone that is not activated stays as a draft, and nothing takes it away: the API has no request
//! for that. So each says in its comment which run made it, of which version and for which backend,
//! and a further try takes the draft of the one before. Not if another version was activated
//! meanwhile: the draft lacks what that one changed. Nor one whose comment could not be written, as
//! it may be anybody's.

use super::vendor::{Body, Client, Vendor, escaped};
use crate::turns::turn;
use async_trait::async_trait;
use http::Method;
use http::header::HeaderName;
use secrecy::{ExposeSecret, SecretString};
use segue_model::{EffectLeft, Fault, FaultKind, RunId};
use segue_port::Outcome;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use tokio::time::Instant;

/// A backend of a Fastly service.
pub(super) struct Fastly {
    client: Client,
    service: String,
    backend: String,
}

#[derive(Deserialize)]
struct Version {
    number: u64,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    locked: bool,
    #[serde(default)]
    comment: Option<String>,
}

#[derive(Deserialize)]
struct Backend {
    address: String,
}

/// What a look at a version says; `msg` stands there if it is not `ok`.
#[derive(Deserialize)]
struct Validated {
    status: String,
    #[serde(default)]
    msg: Option<String>,
}

impl Fastly {
    pub(super) fn new(
        url: &str,
        service: &str,
        backend: &str,
        token: &SecretString,
    ) -> Outcome<Self> {
        let header = HeaderName::from_static("fastly-key");
        let client = Client::new(url, "Fastly", header, token.expose_secret())?;
        Ok(Self { client, service: service.to_owned(), backend: backend.to_owned() })
    }

    fn versions(&self) -> String {
        format!("/service/{}/version", escaped(&self.service))
    }

    fn backend(&self, version: u64) -> String {
        format!("{}/{version}/backend/{}", self.versions(), escaped(&self.backend))
    }

    async fn all(&self, op: &str, until: Instant) -> Outcome<Vec<Version>> {
        self.client.ask(op, Method::GET, &self.versions(), Body::None, until).await
    }

    /// Returns the draft of this run that is like the active version: the one that a former try
    /// left, or a new one.
    async fn draft(
        &self,
        op: &str,
        all: &[Version],
        active: u64,
        run: &RunId,
        until: Instant,
    ) -> Outcome<u64> {
        let mark = format!("Segue, run {run}: draft of version {active}, backend {}", self.backend);
        let left = all.iter().filter(|one| !one.active && !one.locked);
        let left = left.filter(|one| one.comment.as_deref() == Some(&mark));
        if let Some(draft) = left.map(|one| one.number).max() {
            return Ok(draft);
        }
        let path = format!("{}/{active}/clone", self.versions());
        let clone = self.client.ask::<Version>(op, Method::PUT, &path, Body::None, until);
        let clone = clone.await?.number;
        let comment = Body::Form(format!("comment={}", escaped(&mark)));
        let path = format!("{}/{clone}", self.versions());
        self.client.ask::<Value>(op, Method::PUT, &path, comment, until).await?;
        Ok(clone)
    }

    async fn active(&self, op: &str, until: Instant) -> Outcome<u64> {
        Self::active_of(&self.all(op, until).await?, op)
    }

    fn active_of(all: &[Version], op: &str) -> Outcome<u64> {
        all.iter().find(|version| version.active).map(|version| version.number).ok_or_else(|| {
            Fault::new("SG0173", FaultKind::NotFound, op, "no version of the service is active")
                .leaving(EffectLeft::None)
                .hint("activate a version of the service in Fastly's console")
        })
    }

    fn op(&self, what: &str) -> String {
        format!("{what} backend `{}` of Fastly service {}", self.backend, self.service)
    }
}

#[async_trait]
impl Vendor for Fastly {
    async fn origin(&self, until: Instant) -> Outcome<String> {
        let op = self.op("read");
        let active = self.active(&op, until).await?;
        let path = self.backend(active);
        let backend: Backend = self.client.ask(&op, Method::GET, &path, Body::None, until).await?;
        Ok(backend.address)
    }

    async fn set_origin(&self, origin: &str, run: &RunId, until: Instant) -> Outcome<()> {
        let op = self.op("change");
        // Two clones of one version would undo each other's changes.
        let _turn = turn(Path::new(&format!("fastly/{}", self.service))).await;
        let all = self.all(&op, until).await?;
        let active = Self::active_of(&all, &op)?;
        // A clone that is left behind by a fault is a draft: it is in force nowhere.
        let draft = |fault: Fault| fault.leaving(EffectLeft::None);
        let clone = self.draft(&op, &all, active, run, until).await.map_err(draft)?;
        let address = Body::Form(format!("address={}", escaped(origin)));
        let path = self.backend(clone);
        let written = self.client.ask::<Backend>(&op, Method::PUT, &path, address, until);
        written.await.map_err(draft)?;
        let path = format!("{}/{clone}/validate", self.versions());
        let validated = self.client.ask::<Validated>(&op, Method::GET, &path, Body::None, until);
        let validated = validated.await.map_err(draft)?;
        if validated.status != "ok" {
            let why = validated.msg.unwrap_or_default();
            let cause = format!("Fastly finds version {clone} invalid: {why}");
            return Err(Fault::new("SG0176", FaultKind::Invalid, op, cause)
                .leaving(EffectLeft::None)
                .hint("mend the service's active version in Fastly's console; then resume"));
        }
        // Whoever activated another version meanwhile would lose what he changed.
        let now = self.active(&op, until).await.map_err(draft)?;
        if now != active {
            let cause = format!("version {now} was activated while {active} was being changed");
            return Err(Fault::new("SG0176", FaultKind::Conflict, op, cause)
                .leaving(EffectLeft::None)
                .hint("let nobody else deploy the service meanwhile; it is tried again"));
        }
        let path = format!("{}/{clone}/activate", self.versions());
        let activated = self.client.ask::<Value>(&op, Method::PUT, &path, Body::None, until);
        activated.await.map(drop)
    }
}
