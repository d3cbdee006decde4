//! What all vendors' APIs have in common.

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use segue_doors::api::{Answered, Api, Asked, secret_header};
use segue_model::{EffectLeft, Fault, FaultKind, RunId};
use segue_port::Outcome;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Pause before a refused request (429) is sent again, if the vendor names none.
const LIMITED: Duration = Duration::from_secs(2);

/// A CDN's origin as a setting.
#[async_trait]
pub(super) trait Vendor: Send + Sync {
    /// Reads the origin in force.
    async fn origin(&self, until: Instant) -> Outcome<String>;

    /// Writes the origin and puts it in force, for a run. A fault says what may be left behind.
    async fn set_origin(&self, origin: &str, run: &RunId, until: Instant) -> Outcome<()>;
}

/// An API with its token.
pub(super) struct Client {
    api: Api,
    vendor: &'static str,
    token: (HeaderName, HeaderValue),
}

/// What is sent along.
pub(super) enum Body {
    None,
    Form(String),
    Json(serde_json::Value),
}

impl Client {
    pub(super) fn new(
        url: &str,
        vendor: &'static str,
        header: HeaderName,
        token: &str,
    ) -> Outcome<Self> {
        let value = secret_header(token).map_err(|cause| {
            let op = format!("use the API token of {vendor}");
            Fault::new("SG0173", FaultKind::Invalid, op, cause)
                .hint("compare the token with the one that the vendor showed")
        })?;
        Ok(Self { api: Api::new(url)?, vendor, token: (header, value) })
    }

    /// Sends a request until it is answered with something else than 429, and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        op: &str,
        method: Method,
        path: &str,
        body: Body,
        until: Instant,
    ) -> Outcome<T> {
        let mut headers = HeaderMap::new();
        headers.insert(self.token.0.clone(), self.token.1.clone());
        let (kind, bytes) = match body {
            Body::None => (None, Vec::new()),
            Body::Form(text) => (Some("application/x-www-form-urlencoded"), text.into_bytes()),
            Body::Json(value) => (Some("application/json"), value.to_string().into_bytes()),
        };
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        loop {
            let asked = Asked {
                method: method.clone(),
                path,
                headers: headers.clone(),
                body: bytes.clone(),
            };
            let answer = self.api.ask(asked, until).await;
            let answer = answer.map_err(|e| e.fault("SG0173", op, self.api.base()))?;
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                let again = Instant::now() + answer.rest(LIMITED);
                if again < until {
                    sleep_until(again).await;
                    continue;
                }
            }
            if !answer.status.is_success() {
                return Err(self.refused(op, &answer));
            }
            return serde_json::from_slice(&answer.body).map_err(|e| self.unreadable(op, &e));
        }
    }

    fn refused(&self, op: &str, answer: &Answered) -> Fault {
        let cause = format!("{} answers {}: {}", self.vendor, answer.status, answer.told());
        let (kind, left, hint) = match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
                FaultKind::Denied,
                EffectLeft::None,
                "give the token of the plan the right to read and change this setting",
            ),
            StatusCode::NOT_FOUND => {
                (FaultKind::NotFound, EffectLeft::None, "correct the ids in the plan")
            }
            status if status.is_server_error() => {
                (FaultKind::Unreachable, EffectLeft::Maybe, "look at the vendor's status page")
            }
            _ => (FaultKind::Invalid, EffectLeft::None, "read what the vendor says about it"),
        };
        Fault::new("SG0173", kind, op, cause).leaving(left).hint(hint)
    }

    pub(super) fn unreadable(&self, op: &str, cause: &dyn std::fmt::Display) -> Fault {
        let cause = format!("the answer of {} cannot be read: {cause}", self.vendor);
        Fault::new("SG0173", FaultKind::Unsupported, op, cause)
            .leaving(EffectLeft::Maybe)
            .hint("look whether the address in the plan is that of the vendor's API")
    }
}

/// Returns a text as it stands in a form or a path.
pub(super) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
