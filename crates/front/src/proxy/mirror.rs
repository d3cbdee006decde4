//! The copy of a request, as it will be asked.

use super::Conn;
use super::headers::{self, Added, MIRROR};
use crate::client::ToldOf;
use crate::mirror::{Mirror, PARTIAL, Room, Sample};
use crate::routes::Site;
use http::header::{ACCEPT_ENCODING, COOKIE};
use http::{HeaderValue, Method, Request};
use segue_model::Sides;
use std::sync::Arc;

/// A request that is to be copied.
pub(super) struct Chosen {
    pub(super) mirror: Arc<Mirror>,
    pub(super) site: Arc<Site>,
    room: Room,
}

impl Chosen {
    /// Prepares the copy of a request that is about to go to its backend.
    pub(super) fn prepare<B>(
        self,
        conn: &Conn,
        request: &Request<B>,
        added: &Added,
        caller: ToldOf,
    ) -> Box<Sample> {
        let Self { mirror, site, room } = self;
        let mut copy = Request::new(());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        let headers = copy.headers_mut();
        let mut tells = true;
        for name in PARTIAL {
            tells &= headers.remove(name).is_none();
        }
        if !mirror.route().plan.cookies {
            tells &= headers.remove(COOKIE).is_none();
        }
        // Two servers do not compress alike.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(MIRROR, HeaderValue::from_static("1"));
        let run = conn.front().claim();
        let heads = Sides::from_fn(|side| {
            let mut copy = copy.clone();
            if let (true, Some(run)) = (*mirror.route().relayed.get(side), &run) {
                headers::for_front(copy.headers_mut(), side, run.as_str());
            }
            let mut head = Vec::with_capacity(512);
            headers::write(&mut head, &copy, added, conn);
            head
        });
        let url = request.uri().path_and_query().map_or("/", |url| url.as_str());
        let url = url.chars().take(URL_MAX).collect();
        let what = (url, *request.method() == Method::HEAD, caller);
        Box::new(Sample::new((mirror, room), site, heads, what, tells))
    }
}

/// Longest URL that is told, characters.
const URL_MAX: usize = 1_024;

/// Chooses whether a request that goes to the source is copied.
pub(super) fn choose<B>(site: &Arc<Site>, request: &Request<B>) -> Option<Box<Chosen>> {
    let mirror = site.mirror.load();
    let mirror = mirror.as_ref()?;
    let (method, path) = (request.method(), request.uri().path());
    let room = mirror.chooses(&site.gate, method, path, request.headers())?;
    Some(Box::new(Chosen { mirror: mirror.clone(), site: site.clone(), room }))
}
