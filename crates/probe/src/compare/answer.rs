//! One answer, as far as it is compared.

use super::Kind;
use crate::client::Answer;
use std::collections::HashMap;

/// What is looked at of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    status: u16,
    /// Those that are looked at, empty where the answer has none.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Taken {
    pub(super) fn of(answer: &Answer, headers: &[String]) -> Self {
        let value = |name: &String| {
            let values = answer.headers.get_all(name.as_str()).iter();
            let values: Vec<_> =
                values.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect();
            (name.clone(), values.join(", "))
        };
        Self {
            status: answer.status,
            headers: headers.iter().map(value).collect(),
            body: answer.body.to_vec(),
        }
    }
}

/// Returns in what the target differs from what the source says both times.
pub(super) fn differences(first: &Taken, target: &Taken, second: &Taken) -> Vec<(Kind, String)> {
    let mut found = Vec::new();
    if first.status == second.status && first.status != target.status {
        let text = format!("{} at the source, {} at the target", first.status, target.status);
        // Headers and body of another status are others.
        return vec![(Kind::Status, text)];
    }
    for ((a, b), there) in first.headers.iter().zip(&second.headers).zip(&target.headers) {
        if a == b && a != there {
            found.push((Kind::Header, format!("header `{}`", a.0)));
        }
    }
    if !same_body(first, target, second) {
        found.push((Kind::Body, "body".to_owned()));
    }
    found
}

/// A body is the same if it is what the source said once, or has every line that the source said
/// both times and as many lines as one of its answers.
fn same_body(first: &Taken, target: &Taken, second: &Taken) -> bool {
    if target.body == first.body || target.body == second.body {
        return true;
    }
    if first.body == second.body {
        return false;
    }
    let lines = |taken: &Taken| taken.body.iter().filter(|byte| **byte == b'\n').count();
    let own = lines(target);
    if own != lines(first) && own != lines(second) {
        return false;
    }
    let (once, twice, there) = (counted(&first.body), counted(&second.body), counted(&target.body));
    once.iter().all(|(line, count)| {
        let stays = (*count).min(twice.get(line).copied().unwrap_or(0));
        there.get(line).copied().unwrap_or(0) >= stays
    })
}

fn counted(body: &[u8]) -> HashMap<&[u8], usize> {
    let mut all = HashMap::new();
    for line in body.split(|byte| *byte == b'\n') {
        *all.entry(line).or_default() += 1;
    }
    all
}
