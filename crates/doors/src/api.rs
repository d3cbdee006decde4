//! HTTP APIs of vendors: one exchange at a time, within a deadline, bounded in size.
//!
//! **Invariant.** Keys travel in headers that are marked sensitive, over TLS or within this
//! machine; no header and no body ever stands in an error.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use segue_model::{EffectLeft, Fault, FaultKind};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Most octets of an answer.
const BODY_MAX: usize = 64 << 20;
/// Shortest and longest time that an API's wish to be left alone is followed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3_600));
/// Octets of an error's text that are shown.
const TOLD_MAX: usize = 400;

/// An API under one address.
#[derive(Debug, Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
}

/// A request without its address.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: Method,
    /// Path and query below the API's address.
    pub path: &'a str,
    /// Its headers; secret ones marked so.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Its status.
    pub status: StatusCode,
    /// How long the API wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Its body.
    pub body: Bytes,
}

impl Answered {
    /// Returns how long to wait before asking again: what the API says, within reason, else
    /// `pause`.
    pub fn rest(&self, pause: Duration) -> Duration {
        self.retry_after.unwrap_or(pause).clamp(RETRY.0, RETRY.1)
    }

    /// Returns the first of its body as text, for an error.
    pub fn told(&self) -> String {
        let end = self.body.len().min(TOLD_MAX);
        String::from_utf8_lossy(&self.body[..end]).trim().to_owned()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Unanswered {
    /// In words.
    pub cause: String,
    /// What the request may have left behind.
    pub left: EffectLeft,
}

impl Unanswered {
    /// Makes a fault of it.
    pub fn fault(self, code: &str, op: &str, base: &str) -> Fault {
        let kind = match self.left {
            EffectLeft::None => FaultKind::Unreachable,
            _ => FaultKind::Timeout,
        };
        Fault::new(code, kind, format!("{op} at {base}"), self.cause)
            .leaving(self.left)
            .hint("check the address in the plan, and that this machine may connect to it")
    }
}

/// Returns a header's value that no log shows.
///
/// # Errors
/// If the secret holds what no header may.
pub fn secret_header(value: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| "the secret holds characters that no header may have".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

impl Api {
    /// Takes an API's address. Nothing is sent yet.
    ///
    /// # Errors
    /// If TLS cannot be set up: no root certificates on this machine, as a rule.
    pub fn new(base: &str) -> Result<Self, Fault> {
        // Another part of the program may have done so before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("segue/", env!("CARGO_PKG_VERSION")));
        if base.starts_with("http://") {
            // Only within this machine, where no proxy has any business.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| {
            Fault::new("SG0886", FaultKind::Unsupported, format!("connect to {base}"), all(&e))
                .hint("install the root certificates: apt-get install ca-certificates")
        })?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned() })
    }

    /// Returns the API's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request and returns the answer.
    ///
    /// # Errors
    /// If there is none within the deadline, or it is too big.
    pub async fn ask(&self, asked: Asked<'_>, until: Instant) -> Result<Answered, Unanswered> {
        let until = until.min(Instant::now() + ANSWER_MAX);
        let address = format!("{}{}", self.base, asked.path);
        let request = self
            .client
            .request(asked.method, address)
            .headers(asked.headers)
            .body(asked.body)
            .send();
        let lost = |cause: String| Unanswered { cause, left: EffectLeft::Maybe };
        let answer = match timeout_at(until, request).await {
            Err(_) => return Err(lost("no answer in time".into())),
            Ok(Err(e)) if e.is_connect() || e.is_builder() => {
                return Err(Unanswered { cause: all(&e), left: EffectLeft::None });
            }
            Ok(Err(e)) => return Err(lost(all(&e))),
            Ok(Ok(answer)) => answer,
        };
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = timeout_at(until, whole(answer)).await;
        let body = body.map_err(|_| lost("the answer did not end in time".into()))?;
        Ok(Answered {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            body: body.map_err(lost)?,
        })
    }
}

async fn whole(mut answer: reqwest::Response) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    while let Some(part) = answer.chunk().await.map_err(|e| all(&e))? {
        if body.len() + part.len() > BODY_MAX {
            return Err(format!("the answer has more than {BODY_MAX} octets"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}

/// Returns an error with its causes, without the address, which may hold what is not ours to
/// show.
fn all(error: &reqwest::Error) -> String {
    let mut text = String::from(match () {
        () if error.is_connect() => "no connection",
        () if error.is_timeout() => "no answer in time",
        () => "the exchange broke",
    });
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
