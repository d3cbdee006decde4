//! The judgement itself: a pure function from evidence to a verdict.

mod foreign;
mod traffic;
mod writes;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Findings listed for each question; the counts are complete.
const LISTED: usize = 20;

/// One line of `requests.jsonl`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Request {
    pub(crate) client: String,
    pub(crate) seq: Option<u64>,
    pub(crate) kind: Kind,
    pub(crate) intended_ms: u64,
    pub(crate) sent_ms: Option<u64>,
    pub(crate) latency_ms: f64,
    pub(crate) address: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) ok: bool,
    pub(crate) fail: Option<String>,
    pub(crate) resolver: String,
}

/// Kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Catalogue,
    Static,
    Account,
    Order,
    Upload,
    Login,
    Report,
    Events,
}

/// One line of `acks.jsonl`: a write that the shop acknowledged.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ack {
    pub(crate) kind: Kind,
    pub(crate) client: String,
    pub(crate) seq: Option<u64>,
    pub(crate) key: Option<String>,
    pub(crate) hash: Option<String>,
    pub(crate) at_ms: u64,
}

/// One line of `tenant.jsonl`: what a row of the tenant was set to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct TenantWrite {
    pub(crate) id: u64,
    pub(crate) revision: u64,
    pub(crate) body: String,
}

/// The last publishing of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) at_ms: u64,
    pub(crate) former_address: String,
    pub(crate) address: String,
}

/// An order of one of the ledger's clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) client: String,
    pub(crate) seq: u64,
    /// How many rows `order_lines` has for it.
    pub(crate) lines: u64,
}

/// What the write side holds.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) orders: Vec<Order>,
    /// Orders from before the load: expected and found.
    pub(crate) past_orders: Option<(u64, u64)>,
    /// Visits counted by client.
    pub(crate) visits: HashMap<String, u64>,
    /// Rows by key of a job.
    pub(crate) jobs: HashMap<String, u64>,
    /// BLAKE3 by key of an upload, for those that are there.
    pub(crate) uploads: HashMap<String, String>,
    /// Visits in the session file by token, for those that are there; nothing where the
    /// file is damaged.
    pub(crate) sessions: HashMap<String, Option<u64>>,
}

/// What belongs to others.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    pub(crate) tenant: Option<Tenant>,
    pub(crate) zone: Option<Zone>,
}

/// The foreign schema.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    /// What its own ledger says, in order of writing. The tenant may still write.
    pub(crate) writes: Vec<TenantWrite>,
    /// How many of the writes were in the ledger before the table was read.
    pub(crate) sure: usize,
    /// What its table holds.
    pub(crate) rows: Vec<TenantWrite>,
    /// Checksum of the table that nobody writes: at the start and now.
    pub(crate) archive: Option<(u64, Option<u64>)>,
    /// Whether a schema of its name appeared at the target.
    pub(crate) at_target: bool,
}

/// The zone before and after.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    pub(crate) before: Vec<String>,
    pub(crate) after: Vec<String>,
    pub(crate) owned: Vec<String>,
}

/// All that a verdict rests on.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) requests: Vec<Request>,
    pub(crate) acks: Vec<Ack>,
    /// Keys of acknowledged jobs; none if jobs are left out.
    pub(crate) jobs: Vec<String>,
    pub(crate) publish: Option<Publish>,
    pub(crate) held: Held,
    /// Orders that the side which is not the write side holds, if it can be asked.
    pub(crate) elsewhere: Option<HashSet<(String, u64)>>,
    pub(crate) foreign: Foreign,
}

/// The verdict, in the order in which scripts read it.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) requests: u64,
    pub(crate) failed_requests: u64,
    pub(crate) acknowledged_writes: u64,
    pub(crate) lost_writes: u64,
    pub(crate) doubled_writes: u64,
    pub(crate) out_of_order_per_client: u64,
    pub(crate) longest_request_ms: u64,
    pub(crate) foreign_bytes_changed: u64,
    /// Nothing if nothing was published.
    pub(crate) requests_at_former_address_after_publish: Option<u64>,
    pub(crate) detail: Detail,
}

/// What the figures are made of.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Detail {
    pub(crate) write_side: String,
    pub(crate) pass: bool,
    /// Questions that were left out on request.
    pub(crate) not_judged: Vec<String>,
    pub(crate) share_at_former_address_after_publish: Option<f64>,
    pub(crate) former_address_by_resolver: BTreeMap<String, u64>,
    pub(crate) kinds: BTreeMap<Kind, KindDetail>,
    pub(crate) fails: BTreeMap<String, u64>,
    pub(crate) first_failures: Vec<Failure>,
    pub(crate) acknowledged: BTreeMap<String, u64>,
    pub(crate) lost: Findings,
    pub(crate) doubled: Findings,
    pub(crate) out_of_order: Findings,
    pub(crate) foreign: Findings,
    /// Answers that promised a write whose acknowledgement is not in the ledger.
    pub(crate) ok_writes_without_ack: u64,
    /// Orders at the other side that the write side lacks.
    pub(crate) orders_only_at_the_other_side: Option<u64>,
    pub(crate) lines_cut_off: u64,
}

/// The requests of one kind.
#[derive(Debug, Default, Serialize)]
pub(crate) struct KindDetail {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// A failed request.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) intended_ms: u64,
    pub(crate) kind: Kind,
    pub(crate) client: String,
    pub(crate) seq: Option<u64>,
    pub(crate) address: Option<String>,
    pub(crate) fail: String,
}

/// A count with its first sentences.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Findings {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

impl Findings {
    /// Counts `weight` and keeps the sentence if there is room.
    fn add(&mut self, weight: u64, sentence: impl FnOnce() -> String) {
        self.count += weight;
        if weight > 0 && self.first.len() < LISTED {
            self.first.push(sentence());
        }
    }
}

/// Judges the evidence.
pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let mut detail = Detail::default();
    let longest = traffic::judge(evidence, &mut detail);
    writes::judge(evidence, &mut detail);
    foreign::judge(&evidence.foreign, &mut detail.foreign);
    let failed = detail.kinds.values().map(|kind| kind.failed).sum();
    let clean = [&detail.lost, &detail.doubled, &detail.out_of_order, &detail.foreign]
        .iter()
        .all(|findings| findings.count == 0);
    detail.pass = clean && failed == 0;
    Verdict {
        requests: evidence.requests.len() as u64,
        failed_requests: failed,
        acknowledged_writes: detail.acknowledged.values().sum(),
        lost_writes: detail.lost.count,
        doubled_writes: detail.doubled.count,
        out_of_order_per_client: detail.out_of_order.count,
        longest_request_ms: longest.ceil() as u64,
        foreign_bytes_changed: detail.foreign.count,
        requests_at_former_address_after_publish: evidence
            .publish
            .as_ref()
            .map(|_| detail.former_address_by_resolver.values().sum()),
        detail,
    }
}

#[cfg(test)]
mod tests;
