//! A user's request that is copied once it is answered.

use super::copy::Copy;
use super::{Mirror, Room};
use crate::client::ToldOf;
use crate::routes::Site;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, RANGE};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use segue_model::Sides;
use segue_model::compare::{Answer, Reader};
use std::sync::Arc;

/// Fields that ask for less than the whole, or for nothing if it is known already.
pub(crate) const PARTIAL: [HeaderName; 6] = [
    RANGE,
    http::header::IF_MATCH,
    http::header::IF_NONE_MATCH,
    http::header::IF_MODIFIED_SINCE,
    http::header::IF_UNMODIFIED_SINCE,
    http::header::IF_RANGE,
];

/// What is kept of a request until its copy is asked.
pub(crate) struct Sample {
    pub(super) mirror: Arc<Mirror>,
    pub(super) copy: Copy,
    /// Whether what the user gets says what the copy would.
    tells: bool,
    first: Option<First>,
}

/// The user's answer.
struct First {
    status: u16,
    headers: Vec<(String, String)>,
    body: Reader,
    took_us: u64,
}

impl Sample {
    /// Begins with the heads of a copy for each side, and the room taken for it; `tells` if what the
    /// user gets will say what the copy would.
    pub(crate) fn new(
        (mirror, room): (Arc<Mirror>, Room),
        site: Arc<Site>,
        heads: Sides<Vec<u8>>,
        (url, bodiless, caller): (String, bool, ToldOf),
        tells: bool,
    ) -> Self {
        let copy = Copy { site, heads, url, bodiless, caller, _room: room };
        Self { mirror, copy, tells, first: None }
    }

    /// The head of the user's answer is there.
    pub(crate) fn answered<B>(&mut self, response: &Response<B>, took_us: u64) {
        let status = response.status();
        let whole = !matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED)
            && !response.headers().contains_key(CONTENT_ENCODING);
        let plan = &self.mirror.route.plan;
        self.first = (self.tells && whole).then(|| First {
            status: status.as_u16(),
            headers: fields(response.headers(), &plan.headers),
            body: Reader::new(plan.body_bytes_max, &plan.noise),
            took_us,
        });
    }

    /// A part of its body passes.
    pub(crate) fn read(&mut self, part: &Bytes) {
        if let Some(first) = &mut self.first {
            first.body.read(part);
        }
    }

    /// The answer has passed: the copy is asked.
    pub(crate) fn passed(self: Box<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Self { mirror, copy, first, .. } = *self;
        let first = first.map(|first| {
            let First { status, headers, body, took_us } = first;
            (Answer { status, headers, body: body.finish() }, took_us)
        });
        // No task of those that the front waits for at its end.
        drop(runtime.spawn(copy.compare(mirror, first)));
    }
}

/// Returns the fields that are compared.
pub(super) fn fields(headers: &HeaderMap, names: &[String]) -> Vec<(String, String)> {
    let value = |name: &String| {
        let values = headers.get_all(name.as_str()).iter();
        let values: Vec<_> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        (name.clone(), values.join(", "))
    };
    names.iter().map(value).collect()
}
