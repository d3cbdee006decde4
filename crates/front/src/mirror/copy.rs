//! A copy: asked at the target and, where it has to be, at the source.

use super::sample::fields;
use super::{Mirror, Room};
use crate::client::ToldOf;
use crate::clock;
use crate::routes::Site;
use crate::upstream::{Arriving, Fetch};
use http_body_util::BodyExt;
use segue_model::compare::{Answer, Reader, judge};
use segue_model::{Side, Sides};
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Longest wait for an answer and its body.
const LIMIT: Duration = Duration::from_secs(10);

/// What is asked.
pub(super) struct Copy {
    pub(super) site: Arc<Site>,
    /// The head of the request, as each side gets it.
    pub(super) heads: Sides<Vec<u8>>,
    /// Path and query.
    pub(super) url: String,
    /// Whether it is asked for no body.
    pub(super) bodiless: bool,
    /// Whom it is asked for, where servers are told.
    pub(super) caller: ToldOf,
    /// What it stands in until it is over.
    pub(super) _room: Room,
}

impl Copy {
    /// Asks and notes what is found. `first` is what the user got and how long its head took,
    /// microseconds; none if that says nothing about a copy.
    pub(super) async fn compare(self, mirror: Arc<Mirror>, first: Option<(Answer, u64)>) {
        // In this order: a hold that begins later ends it, one that began before lets none begin.
        let held = mirror.until_hold();
        if !Mirror::may(&self.site.gate) {
            return;
        }
        tokio::select! {
            biased;
            () = held.cancelled() => {
                mirror.ended.fetch_add(1, Ordering::Relaxed);
            }
            () = self.ask_both(&mirror, first) => {}
        }
    }

    async fn ask_both(&self, mirror: &Mirror, first: Option<(Answer, u64)>) {
        let first = match first {
            Some(first) => Some(first),
            None => self.ask(mirror, Side::Source).await,
        };
        let target = self.ask(mirror, Side::Target).await;
        let ratio = first.as_ref().zip(target.as_ref()).map(|((_, source), (_, target))| {
            #[allow(clippy::cast_precision_loss)] // Microseconds of seconds.
            let of = |us: u64| us.max(1) as f64;
            of(*target) / of(*source)
        });
        let [first, target] = [first, target].map(|one| one.map(|(answer, _)| answer));
        let mut found = judge(first.as_ref(), target.as_ref(), first.as_ref());
        let mut noisy = false;
        if !found.is_empty() && first.is_some() && target.is_some() {
            // What the source does not say twice is noise.
            let second = self.ask(mirror, Side::Source).await.map(|(answer, _)| answer);
            noisy = second.is_some() && second != first;
            found = judge(first.as_ref(), target.as_ref(), second.as_ref());
        }
        let mut tally = mirror.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.note(&self.url, found, noisy, ratio);
    }

    /// Asks a side; returns its answer and how long the head of it took, microseconds.
    async fn ask(&self, mirror: &Mirror, side: Side) -> Option<(Answer, u64)> {
        tokio::time::timeout(LIMIT, self.answer(mirror, side)).await.ok().flatten()
    }

    async fn answer(&self, mirror: &Mirror, side: Side) -> Option<(Answer, u64)> {
        let group = self.site.backends.get(side);
        let (choice, began_us) = (group.choose(), clock::now_us());
        let caller = self.caller.clone().filter(|_| group.introduces());
        let write = |into: &mut Vec<u8>| into.extend_from_slice(self.heads.get(side));
        let mut fetch = Fetch::begin(choice.pool.clone(), began_us, self.bodiless, caller, write);
        let response = poll_fn(|cx| fetch.poll(cx)).await.ok()?;
        let took_us = clock::now_us().saturating_sub(began_us);
        let (parts, mut arriving) = response.into_parts();
        let plan = &mirror.route.plan;
        let mut body = Reader::new(plan.body_bytes_max, &plan.noise);
        // What is left of a body that is too long stays with its connection, which is closed.
        while !body.is_over() {
            match arriving.frame().await {
                None => break,
                Some(Ok(frame)) => {
                    if let Some(part) = frame.data_ref() {
                        body.read(part);
                    }
                }
                Some(Err(_)) => return None,
            }
        }
        self.keep(&choice.pool, &parts.headers, parts.version, arriving);
        let headers = fields(&parts.headers, &plan.headers);
        Some((Answer { status: parts.status.as_u16(), headers, body: body.finish() }, took_us))
    }

    /// Leaves the connection to others, if it can be used again.
    fn keep(
        &self,
        pool: &crate::upstream::Pool,
        headers: &http::HeaderMap,
        version: http::Version,
        arriving: Arriving,
    ) {
        if !crate::proxy::closes(version, headers)
            && let Some(kept) = arriving.into_kept()
        {
            pool.put(kept, clock::now_us());
        }
    }
}
