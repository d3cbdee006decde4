//! Whether each acknowledged write is there exactly once, and in order.

use super::{Ack, Detail, Evidence, Findings, Held, Kind, Order};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Fills in what concerns writes.
pub(super) fn judge(evidence: &Evidence, detail: &mut Detail) {
    for ack in &evidence.acks {
        let name = format!("{:?}", ack.kind).to_lowercase();
        *detail.acknowledged.entry(name).or_default() += 1;
    }
    if !evidence.jobs.is_empty() {
        detail.acknowledged.insert("job".to_owned(), evidence.jobs.len() as u64);
    }
    orders(evidence, detail);
    jobs(&evidence.jobs, &evidence.held, detail);
    let lost = &mut detail.lost;
    uploads(&evidence.acks, &evidence.held, lost);
    sessions(&evidence.acks, &evidence.held, lost);
    visits(&evidence.acks, &evidence.held, lost);
    detail.ok_writes_without_ack = without_ack(evidence);
}

fn orders(evidence: &Evidence, detail: &mut Detail) {
    let held = &evidence.held;
    let mut by_number = HashMap::<(&str, u64), Vec<&Order>>::new();
    for order in &held.orders {
        by_number.entry((&order.client, order.seq)).or_default().push(order);
    }
    let acked = |ack: &&Ack| ack.kind == Kind::Order;
    for ack in evidence.acks.iter().filter(acked) {
        let seq = ack.seq.unwrap_or_default();
        let Some(rows) = by_number.get(&(ack.client.as_str(), seq)) else {
            detail.lost.add(1, || {
                format!("order {}/{seq}, acknowledged at {}, is not there", ack.client, ack.at_ms)
            });
            continue;
        };
        let bare = rows.iter().all(|order| order.lines == 0);
        detail.lost.add(u64::from(bare), || format!("order {}/{seq} has no lines", ack.client));
    }
    let mut doubled: Vec<_> = by_number.iter().filter(|(_, rows)| rows.len() > 1).collect();
    doubled.sort_by_key(|(number, _)| **number);
    for ((client, seq), rows) in doubled {
        let ids: Vec<_> = rows.iter().map(|order| order.id).collect();
        detail.doubled.add(rows.len() as u64 - 1, || {
            format!("order {client}/{seq} is there {} times: ids {ids:?}", rows.len())
        });
    }
    if let Some((expected, found)) = held.past_orders {
        let sentence = || format!("{found} of {expected} orders from before the load are there");
        detail.lost.add(expected.saturating_sub(found), sentence);
        detail.doubled.add(found.saturating_sub(expected), sentence);
    }
    order_of(evidence, &mut detail.out_of_order);
    detail.orders_only_at_the_other_side = evidence.elsewhere.as_ref().map(|elsewhere| {
        let only = elsewhere
            .iter()
            .filter(|(client, seq)| !by_number.contains_key(&(client.as_str(), *seq)));
        only.count() as u64
    });
}

/// A client sent its order n + 1 after n was answered, so acknowledged numbers must grow
/// with the ids.
fn order_of(evidence: &Evidence, out_of_order: &mut Findings) {
    let acked: HashSet<(&str, u64)> = evidence
        .acks
        .iter()
        .filter(|ack| ack.kind == Kind::Order)
        .map(|ack| (ack.client.as_str(), ack.seq.unwrap_or_default()))
        .collect();
    let mut orders: Vec<_> = evidence
        .held
        .orders
        .iter()
        .filter(|order| acked.contains(&(order.client.as_str(), order.seq)))
        .collect();
    orders.sort_by_key(|order| order.id);
    let mut last = BTreeMap::<&str, &Order>::new();
    for order in orders {
        if let Some(before) = last.insert(&order.client, order)
            && before.seq > order.seq
        {
            out_of_order.add(1, || {
                format!(
                    "client {}: order {} (id {}) comes before order {} (id {})",
                    order.client, before.seq, before.id, order.seq, order.id
                )
            });
        }
    }
}

fn jobs(acknowledged: &[String], held: &Held, detail: &mut Detail) {
    for key in acknowledged {
        let rows = held.jobs.get(key).copied().unwrap_or(0);
        detail.lost.add(u64::from(rows == 0), || format!("job {key} is not there"));
    }
    let mut doubled: Vec<_> = held.jobs.iter().filter(|(_, rows)| **rows > 1).collect();
    doubled.sort();
    for (key, rows) in doubled {
        detail.doubled.add(rows - 1, || format!("job {key} is there {rows} times"));
    }
}

fn uploads(acks: &[Ack], held: &Held, lost: &mut Findings) {
    for ack in acks.iter().filter(|ack| ack.kind == Kind::Upload) {
        let key = ack.key.as_deref().unwrap_or_default();
        match held.uploads.get(key) {
            None => lost.add(1, || format!("upload {key} is not there")),
            Some(hash) => lost.add(u64::from(Some(hash) != ack.hash.as_ref()), || {
                format!("upload {key} holds other bytes than were acknowledged")
            }),
        }
    }
}

/// The session of a login is there and has counted the acknowledged visits since.
fn sessions(acks: &[Ack], held: &Held, lost: &mut Findings) {
    let mut current = BTreeMap::<&str, &str>::new();
    let mut visits = BTreeMap::<(&str, &str), u64>::new();
    for ack in acks {
        if ack.kind == Kind::Login {
            let token = ack.key.as_deref().unwrap_or_default();
            current.insert(&ack.client, token);
            visits.insert((&ack.client, token), 0);
        } else if ack.kind == Kind::Account
            && let Some(token) = current.get(ack.client.as_str())
        {
            *visits.entry((&ack.client, token)).or_default() += 1;
        }
    }
    for ((client, token), visits) in visits {
        match held.sessions.get(token) {
            None => lost.add(1, || format!("the session file of {client} is not there")),
            Some(None) => lost.add(1, || format!("the session file of {client} is damaged")),
            Some(Some(counted)) => lost.add(visits.saturating_sub(*counted), || {
                format!("session file of {client}: {visits} visits acknowledged, {counted} counted")
            }),
        }
    }
}

fn visits(acks: &[Ack], held: &Held, lost: &mut Findings) {
    let mut acknowledged = BTreeMap::<&str, u64>::new();
    for ack in acks.iter().filter(|ack| ack.kind == Kind::Account) {
        *acknowledged.entry(&ack.client).or_default() += 1;
    }
    for (client, visits) in acknowledged {
        let counted = held.visits.get(client).copied().unwrap_or(0);
        lost.add(visits.saturating_sub(counted), || {
            format!("client {client}: {visits} visits acknowledged, {counted} counted")
        });
    }
}

/// Counts good answers to writes beyond the acknowledgements: more than none says that the
/// ledger's writer was killed.
fn without_ack(evidence: &Evidence) -> u64 {
    let writes = |kind| matches!(kind, Kind::Order | Kind::Upload | Kind::Login | Kind::Account);
    let good = evidence.requests.iter().filter(|request| request.ok && writes(request.kind));
    (good.count() as u64).saturating_sub(evidence.acks.len() as u64)
}
