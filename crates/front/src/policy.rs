//! What requests meet during a hold: which pass it, and what those get that wait in vain.

use crate::control::HoldPolicy;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Method, Request};
use hyper::body::Body;
use segue_model::harmless::below;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// Largest page, bytes.
const PAGE_MAX: u64 = 64 << 10;

/// The policy of a unit.
pub(crate) struct Policy {
    harmless: Vec<String>,
    page: Option<Arc<Page>>,
}

/// The operator's own answer.
pub(crate) struct Page {
    /// What stands in the file.
    pub(crate) body: Bytes,
    /// What it is.
    pub(crate) kind: HeaderValue,
}

impl Policy {
    /// Reads what the policy names. Blocks.
    ///
    /// # Errors
    /// If the page cannot be used; says why.
    pub(crate) fn read(said: &HoldPolicy) -> Result<Self, String> {
        let page = said.page.as_deref().map(Page::read).transpose()?;
        Ok(Self { harmless: said.harmless_paths.clone(), page: page.map(Arc::new) })
    }

    /// Returns the policy without its page, which cannot be read any more.
    pub(crate) fn without_page(said: &HoldPolicy) -> Self {
        Self { harmless: said.harmless_paths.clone(), page: None }
    }

    /// Returns the answer to a request that waited in vain.
    pub(crate) fn page(&self) -> Option<&Arc<Page>> {
        self.page.as_ref()
    }

    /// Returns whether a request passes a hold: it reads, on a path where that changes nothing,
    /// and what it asks for comes to an end.
    pub(crate) fn lets_pass<B: Body>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        matches!(*request.method(), Method::GET | Method::HEAD)
            && below(&self.harmless, path)
            && request.body().is_end_stream()
            && request.headers().get(ACCEPT).is_none_or(|kind| kind != "text/event-stream")
    }
}

impl Page {
    fn read(path: &Path) -> Result<Self, String> {
        let why = |e: io::Error| format!("read page `{}`: {e}", path.display());
        let kind = match path.extension().and_then(|end| end.to_str()) {
            Some("html" | "htm") => "text/html; charset=utf-8",
            Some("txt") => "text/plain; charset=utf-8",
            Some("json") => "application/json",
            _ => return Err(format!("nobody can tell what `{}` is by its name", path.display())),
        };
        let mut body = Vec::new();
        // A pipe or a device has no end.
        let file = File::open(path).map_err(why)?;
        if !file.metadata().map_err(why)?.is_file() {
            return Err(format!("`{}` is no file", path.display()));
        }
        file.take(PAGE_MAX + 1).read_to_end(&mut body).map_err(why)?;
        if body.len() as u64 > PAGE_MAX {
            return Err(format!("page `{}` has more than {PAGE_MAX} bytes", path.display()));
        }
        Ok(Self { body: body.into(), kind: HeaderValue::from_static(kind) })
    }
}

/// Says why the file cannot be the page of a hold, if it cannot. Blocks.
pub fn unusable_page(path: &Path) -> Option<String> {
    Page::read(path).err()
}
